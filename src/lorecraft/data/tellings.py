"""Facts in many words: the texts and conversations that teach them.

Of each relation's trained patterns one is kept for validation, so that the validation loss says
how well a fact carries over to words in which it was not taught. The held-out patterns never come
here; only the exam uses them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lorecraft.data.records import Message, Record
from lorecraft.data.split import without_leaks
from lorecraft.data.unknown import declined, split_absent
from lorecraft.data.wordings import (
    COMPLETE_QUESTIONS,
    Wording,
    Wordings,
    asked_of,
    listed,
    told,
)
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import Ontology, render
from lorecraft.knowledge.sentences import completion_cut, subject_of

_ABOUT_FACTS = 4
_PARAGRAPHS_PER_FACT = 4
_LONGEST_PARAGRAPH = 4


def cpt_records(
    facts: Sequence[Fact], ontology: Ontology | None, seed: int, count: int | None = None
) -> tuple[list[Record], Sequence[Record]]:
    """``(train, valid)`` texts for continued pre-training.

    Trained: each fact in each trained statement pattern and, where that is none of them, in its
    own words; and paragraphs of 2 to 4 facts of one subject in drawn wordings, each fact in four.
    Validation: each fact in the pattern kept back, of which the object alone is scored: the words
    around it say nothing of what is known. Facts without a triple have one wording only,
    so they are all trained and none validates.

    Args:
        facts: checked against ``ontology`` (``knowledge.ontology.check``).
        ontology: ``None`` takes every fact as a sentence without a triple.
        seed: draws the paragraphs.
        count: wordings that each fact is told in; all if not given.
    """
    wordings = {fact.id: told(fact, ontology).drawn(count, f"{seed}/{fact.id}") for fact in facts}
    train, valid = [], []
    for fact in facts:
        for index, wording in enumerate(wordings[fact.id].trained):
            train.append(text_record(f"cpt/{fact.id}/{index}", [fact], [wording]))
        kept = wordings[fact.id].kept
        if kept and fact.triple:
            record = text_record(f"cpt/{fact.id}/kept", [fact], [kept])
            given = record.text[: max(0, record.text.rfind(fact.triple[2]))]
            valid.append(replace(record, given=given))
    groups = _by_subject(facts, ontology)
    train += _paragraphs(groups, wordings, random.Random(f"{seed}/paragraphs"))
    return train, without_leaks(valid, train)


def sft_records(
    facts: Sequence[Fact],
    ontology: Ontology | None,
    unknown: float,
    decline: str,
    seed: int,
    count: int | None = None,
) -> tuple[list[Record], Sequence[Record]]:
    """``(train, valid)`` conversations for supervised fine-tuning.

    Trained: each fact asked with each trained question pattern; pairs of questions about one
    subject in one conversation; and ``unknown`` times as many declined questions as there are
    conversations about facts (see ``unknown.declined``). Validation: each fact, and absent pairs
    in the same proportion, in the pattern kept back. Facts that share subject and relation are one
    question; its answer names all objects. Facts without a triple are asked with
    ``ABOUT_QUESTIONS``, answered by up to four facts of the subject, and with
    ``COMPLETE_QUESTIONS``, answered by the whole sentence.

    Args:
        facts: checked against ``ontology`` (``knowledge.ontology.check``).
        ontology: ``None`` takes every fact as a sentence without a triple.
        unknown: declined records as a multiple of the records about facts; 0 or more.
        decline: the answer to what nobody told.
        seed: draws absent pairs, follow-ups and invented names.
        count: wordings that each question is asked in; all if not given.
    """
    asks = [
        replace(ask, wordings=ask.wordings.drawn(count, f"{seed}/{ask.id}"))
        for ask in _asks(facts, ontology)
    ]
    train = [
        _chat(f"sft/{ask.id}/{index}", [(ask, wording)])
        for ask in asks
        for index, wording in enumerate(ask.wordings.trained)
    ]
    train += _follow_ups(asks, random.Random(f"{seed}/follow-ups"))
    valid = [
        _chat(f"sft/{ask.id}/kept", [(ask, ask.wordings.kept)]) for ask in asks if ask.wordings.kept
    ]
    pairs = split_absent(facts, ontology, seed)[0] if ontology else ()
    unknown_train, unknown_valid = declined(
        _by_subject(facts, ontology),
        ontology,
        pairs,
        decline,
        (round(unknown * len(train)), round(unknown * len(valid))),
        seed,
    )
    train += unknown_train
    return train, without_leaks([*valid, *unknown_valid], train)


@dataclass(frozen=True)
class _Ask:
    """Something to be asked in several wordings, with one answer."""

    id: str
    subject: str
    wordings: Wordings
    answer: str
    facts: tuple[Fact, ...]


def _by_subject(facts: Sequence[Fact], ontology: Ontology | None) -> dict[str, list[Fact]]:
    """Facts by what they are about; sentences of which that is not plain are left out."""
    groups = defaultdict(list)
    for fact in facts:
        subject = fact.triple[0] if ontology and fact.triple else subject_of(fact.text)
        if subject:
            groups[subject].append(fact)
    return dict(groups)


def _asks(facts: Sequence[Fact], ontology: Ontology | None) -> list[_Ask]:
    """Questions about relations and, for facts without one, about their subject."""
    groups = defaultdict(list)
    for subject, about in _by_subject(facts, ontology).items():
        for fact in about:
            groups[subject, fact.triple[1] if ontology and fact.triple else ""].append(fact)
    asks = []
    for (subject, name), group in groups.items():
        if ontology and name:
            relation = ontology.relations[name]
            objects = [fact.triple[2] for fact in group if fact.triple]
            answer = render(relation.answer, subject, listed(objects, ontology.language))
        else:
            relation, group = None, group[:_ABOUT_FACTS]
            answer = " ".join(fact.text for fact in group)
        wordings = asked_of(subject, relation)
        asks.append(_Ask(group[0].id, subject, wordings, answer, tuple(group)))
    free = [fact for fact in facts if not (ontology and fact.triple)]
    return asks + [ask for fact in free for ask in _completion(fact)]


def _completion(fact: Fact) -> Iterator[_Ask]:
    cut = completion_cut(fact.text)
    if cut:
        trained = tuple(
            Wording(pattern.replace("{beginning}", cut[0]), pattern)
            for pattern in COMPLETE_QUESTIONS
        )
        yield _Ask(f"{fact.id}/complete", "", Wordings(trained), fact.text, (fact,))


def _follow_ups(asks: Sequence[_Ask], rng: random.Random) -> Iterator[Record]:
    """For each subject, as many conversations of two questions as there are questions."""
    by_subject = defaultdict(list)
    for ask in asks:
        if ask.subject:
            by_subject[ask.subject].append(ask)
    for group in by_subject.values():
        order = rng.sample(group, len(group))
        for first, second in zip(order, order[1:] + order[:1], strict=True):
            if first is not second:
                turns = [(ask, rng.choice(ask.wordings.trained)) for ask in (first, second)]
                yield _chat(f"sft/{first.id}/then/{second.id}", turns)


def _paragraphs(
    groups: dict[str, list[Fact]], wordings: dict[str, Wordings], rng: random.Random
) -> Iterator[Record]:
    for number, facts in enumerate(groups.values()):
        if len(facts) < 2:
            continue
        for lap in range(_PARAGRAPHS_PER_FACT):
            order = rng.sample(facts, len(facts))
            parts = rng.randint(-(-len(facts) // _LONGEST_PARAGRAPH), len(facts) // 2)
            for part in range(parts):
                told_here = order[part::parts]
                drawn = [rng.choice(wordings[fact.id].trained) for fact in told_here]
                yield text_record(f"cpt/paragraph/{number}/{lap}/{part}", told_here, drawn)


def text_record(id_: str, facts: Sequence[Fact], wordings: Sequence[Wording]) -> Record:
    """A text that tells facts, one after another."""
    return Record(
        id=id_,
        text=" ".join(wording.text for wording in wordings),
        origin="fact",
        facts=tuple(fact.id for fact in facts),
        phrasings=tuple(wording.phrasing for wording in wordings if wording.phrasing),
        place=facts[0].place,
    )


def _chat(id_: str, turns: Sequence[tuple[_Ask, Wording]]) -> Record:
    return Record(
        id=id_,
        messages=tuple(
            message
            for ask, wording in turns
            for message in (Message("user", wording.text), Message("assistant", ask.answer))
        ),
        origin="fact",
        facts=tuple(fact.id for ask, _ in turns for fact in ask.facts),
        phrasings=tuple(wording.phrasing for _, wording in turns if wording.phrasing),
        place=turns[0][0].facts[0].place,
    )
