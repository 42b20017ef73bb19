"""Questions that nobody can answer, and the honest answer to them."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from lorecraft.data.invented import Inventor
from lorecraft.data.records import Message, Record
from lorecraft.data.wordings import Wording, asked_of
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import Ontology, Relation, absent

Pair = tuple[str, str]

_INVENTED_EVERY = 4


def split_absent(
    facts: Sequence[Fact], ontology: Ontology, seed: int
) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """``(trained, examined)``: the absent ``(subject, relation name)`` pairs, half and half.

    Halved relation by relation, so that both sides ask about all of them.
    """
    pairs = list(absent(facts, ontology))
    random.Random(f"{seed}/absent").shuffle(pairs)
    pairs.sort(key=lambda pair: pair[1])
    return tuple(pairs[::2]), tuple(pairs[1::2])


def declined(
    subjects: Collection[str],
    ontology: Ontology | None,
    pairs: Sequence[Pair],
    decline: str,
    counts: tuple[int, int],
    seed: int,
) -> tuple[list[Record], list[Record]]:
    """``(train, valid)`` records that decline, ``counts`` of them.

    Three in four of the trained ones ask ``pairs``, lap after lap, each lap in the next pattern;
    every fourth asks a known relation of something that does not exist (all do, if there are no
    pairs). The valid ones ask each pair at most once, in the pattern kept back.

    Args:
        subjects: what the facts are about; invented names take their shape.
        ontology: ``None`` asks about invented things with ``ABOUT_QUESTIONS``.
        pairs: the absent pairs that may be trained.
        decline: the answer.
        counts: how many to train, how many to validate.
        seed: draws the order of the pairs and the invented names.
    """
    rng = random.Random(f"{seed}/unknown")
    order = [
        asked_of(subject, ontology.relations[name])
        for subject, name in rng.sample(pairs, len(pairs))
        if ontology
    ]
    invented = _Invented(subjects, ontology, rng)
    train = []
    for index in range(counts[0] if order or invented.possible else 0):
        if invented.possible and (not order or index % _INVENTED_EVERY == _INVENTED_EVERY - 1):
            wording = invented.question()
        else:
            turn = index - index // _INVENTED_EVERY if invented.possible else index
            lap, position = divmod(turn, len(order))
            choice = order[position].trained
            wording = choice[(lap + position) % len(choice)]
        train.append(_record(f"sft/unknown/{index}", wording, decline))
    kept = [wordings.kept for wordings in order if wordings.kept][: counts[1]]
    return train, [
        _record(f"sft/unknown/kept/{index}", wording, decline) for index, wording in enumerate(kept)
    ]


class _Invented:
    """Asks about things that do not exist."""

    def __init__(
        self, subjects: Collection[str], ontology: Ontology | None, rng: random.Random
    ) -> None:
        self._rng = rng
        self._shapes: list[tuple[str, Relation | None]] = []
        entities = ontology.entities if ontology else {}
        self._shapes += [(name, None) for name in subjects if name not in entities]
        for relation in ontology.relations.values() if ontology else ():
            of_class = [e.name for e in entities.values() if e.kind == relation.domain]
            self._shapes += [(name, relation) for name in of_class]
        self._inventor = Inventor([*subjects, *entities], ontology.names() if ontology else ())
        self.possible = bool(self._shapes)

    def question(self) -> Wording:
        shape, relation = self._rng.choice(self._shapes)
        name = self._inventor.name_like(shape, self._rng)
        return self._rng.choice(asked_of(name, relation).trained)


def _record(id_: str, wording: Wording, decline: str) -> Record:
    return Record(
        id=id_,
        messages=(Message("user", wording.text), Message("assistant", decline)),
        origin="unknown",
        phrasings=(wording.phrasing,),
        place="a question that nobody can answer",
    )
