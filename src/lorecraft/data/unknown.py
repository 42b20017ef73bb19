"""Questions that nobody can answer, and the honest answer to them."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from itertools import count, cycle, islice

from lorecraft.data.invented import Inventor
from lorecraft.data.records import Message, Record
from lorecraft.data.wordings import Wording, Wordings, asked_of
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import Ontology, Relation
from lorecraft.knowledge.shapes import absent

Pair = tuple[str, str]


def split_absent(
    facts: Sequence[Fact], ontology: Ontology, seed: int
) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """``(trained, examined)``: the absent ``(subject, relation name)`` pairs, two to one.

    Dealt out relation by relation, so that both sides ask about all of them.
    """
    pairs = list(absent(facts, ontology))
    random.Random(f"{seed}/absent").shuffle(pairs)
    pairs.sort(key=lambda pair: pair[1])
    trained = (pair for at, pair in enumerate(pairs) if at % 3 != 1)
    return tuple(trained), tuple(pairs[1::3])


def declined(
    subjects: Collection[str],
    ontology: Ontology | None,
    pairs: Sequence[Pair],
    decline: str,
    counts: tuple[int, int],
    seed: int,
) -> tuple[list[Record], list[Record]]:
    """``(train, valid)`` records that decline, ``counts`` of them.

    Of six trained ones, four ask ``pairs``, lap after lap, each lap in the next pattern; one asks a
    known thing for what is only said of another class (what a person weighs), since a model that
    declines few things often declines just those; one asks a known relation of something that does
    not exist. The valid ones ask each pair at most once, in the pattern kept back.

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
    untold = (wording for lap in count() for wording in _lap(order, lap))
    misplaced = _misplaced(subjects, ontology)
    invented = _Invented(subjects, ontology, rng)
    asks_pairs = (untold, bool(order))
    sources = [
        asks_pairs,
        (_drawn(misplaced, rng), bool(misplaced)),
        asks_pairs,
        asks_pairs,
        (invented.questions(), invented.possible),
        asks_pairs,
    ]
    turns = cycle([source for source, possible in sources if possible])
    asked = [next(source) for source in islice(turns, counts[0])]
    train = [_record(f"sft/unknown/{i}", wording, decline) for i, wording in enumerate(asked)]
    kept = [wordings.kept for wordings in order if wordings.kept][: counts[1]]
    return train, [
        _record(f"sft/unknown/kept/{index}", wording, decline) for index, wording in enumerate(kept)
    ]


def _lap(order: Sequence[Wordings], lap: int) -> Iterator[Wording]:
    """Every pair once, neighbours in different patterns."""
    for position, wordings in enumerate(order):
        yield wordings.trained[(lap + position) % len(wordings.trained)]


def _misplaced(subjects: Collection[str], ontology: Ontology | None) -> list[tuple[str, Relation]]:
    """Known things, each with the relations that are said of other classes."""
    if ontology is None:
        return []
    return [
        (entity.name, relation)
        for entity in ontology.entities.values()
        for relation in ontology.relations.values()
        if entity.name in subjects and not ontology.is_a(entity.kind, relation.domain)
    ]


def _drawn(pairs: Sequence[tuple[str, Relation]], rng: random.Random) -> Iterator[Wording]:
    while True:
        name, relation = rng.choice(pairs)
        yield rng.choice(asked_of(name, relation).trained)


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
            of_class = ontology.of_class(relation.domain) if ontology else []
            self._shapes += [(entity.name, relation) for entity in of_class]
        self._inventor = Inventor([*subjects, *entities], ontology.names() if ontology else ())
        self.possible = bool(self._shapes)

    def questions(self) -> Iterator[Wording]:
        """Without an end, if any are possible."""
        while self.possible:
            shape, relation = self._rng.choice(self._shapes)
            name = self._inventor.name_like(shape, self._rng)
            yield self._rng.choice(asked_of(name, relation).trained)


def _record(id_: str, wording: Wording, decline: str) -> Record:
    return Record(
        id=id_,
        messages=(Message("user", wording.text), Message("assistant", decline)),
        origin="unknown",
        phrasings=(wording.phrasing,),
        place="a question that nobody can answer",
    )
