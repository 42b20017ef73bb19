"""Facts in many words: the texts and conversations that teach them.

Of each relation's trained patterns one is kept for validation, so that the validation loss says
how well a fact carries over to words in which it was not taught. The held-out patterns never come
here; only the exam uses them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from lorecraft.data.invented import Inventor
from lorecraft.data.records import Message, Origin, Record
from lorecraft.data.similar import jaccard, shingles
from lorecraft.data.split import without_leaks
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import Ontology, Relation, absent, normal, render
from lorecraft.knowledge.sentences import completion_cut, subject_of

ABOUT_QUESTIONS = (
    "Tell me about {subject}.",
    "What do you know about {subject}?",
    "What can you tell me about {subject}?",
    "Give me some facts about {subject}.",
    "I would like to know more about {subject}.",
    "Please describe {subject}.",
    "Do you know anything about {subject}?",
    "Say something about {subject}.",
)
"""Trained questions about the subject of a fact that has no triple."""

ABOUT_HELD_OUT = (
    "What should I know about {subject}?",
    "Can you tell me some facts about {subject}?",
    "I know nothing about {subject}. What can you say?",
)
"""The same, examined only."""

COMPLETE_QUESTIONS = (
    "Complete the sentence: {beginning}",
    "How does this sentence go on? {beginning}",
    "Finish this: {beginning}",
)
"""Trained requests to finish a fact that has no triple."""

_ABOUT_FACTS = 4
_PARAGRAPHS_PER_FACT = 4
_LONGEST_PARAGRAPH = 4
_INVENTED_EVERY = 4


def cpt_records(
    facts: Sequence[Fact], ontology: Ontology | None, seed: int
) -> tuple[list[Record], list[Record]]:
    """``(train, valid)`` texts for continued pre-training.

    Trained: each fact in each trained statement pattern and, where that is none of them, in its
    own words; and paragraphs of 2 to 4 facts of one subject in drawn patterns, each fact in four.
    Validation: each fact in the pattern kept back. Facts without a triple have one wording only,
    so they are all trained and none validates.

    Args:
        facts: checked against ``ontology`` (``knowledge.ontology.check``).
        ontology: ``None`` takes every fact as a sentence without a triple.
        seed: draws the paragraphs.
    """
    typed, free = _apart(facts, ontology)
    train = [_text(f"cpt/{fact.id}/own", fact.text, [fact]) for fact in free]
    valid = []
    for fact, relation in typed:
        trained, kept = _keep_one(relation.statements)
        for index, pattern in enumerate(relation.statements):
            record = _text(
                f"cpt/{fact.id}/{index}", _told(fact, pattern), [fact], relation.phrasing(pattern)
            )
            (valid if pattern == kept else train).append(record)
        patterns = (*relation.statements, *relation.held_out_statements)
        if normal(fact.text) not in {normal(_told(fact, pattern)) for pattern in patterns}:
            train.append(_text(f"cpt/{fact.id}/own", fact.text, [fact]))
    train += _paragraphs(typed, free, random.Random(f"{seed}/paragraphs"))
    return train, without_leaks(valid, train)


def sft_records(
    facts: Sequence[Fact], ontology: Ontology | None, unknown: float, decline: str, seed: int
) -> tuple[list[Record], list[Record]]:
    """``(train, valid)`` conversations for supervised fine-tuning.

    Trained: each fact asked with each trained question pattern; for each fact with a sibling, two
    questions about their subject in one conversation; and ``unknown`` times as many declined
    questions as there are conversations about facts. Three in four of those ask a trained absent
    pair (``split_absent``), every fourth asks about something that does not exist.
    Validation: each fact, and as large a share of trained absent pairs, in the pattern kept back.
    Facts that share subject and relation are one question; its answer names all objects. Facts
    without a triple are asked with ``ABOUT_QUESTIONS``, answered by up to four facts of the
    subject, and with ``COMPLETE_QUESTIONS``.

    Args:
        facts: checked against ``ontology`` (``knowledge.ontology.check``).
        ontology: ``None`` takes every fact as a sentence without a triple.
        unknown: declined records as a multiple of the records about facts; 0 or more.
        decline: the answer to what nobody told.
        seed: draws pairs, patterns and invented names.
    """
    typed, free = _apart(facts, ontology)
    asks = _asks(typed, ontology.language) if ontology else []
    asks += _about(free)
    train = [*_single(asks, kept=False), *_follow_ups(asks, random.Random(f"{seed}/follow-ups"))]
    train += _completions(free)
    valid = list(_single(asks, kept=True))
    pairs = split_absent(facts, ontology, seed)[0] if ontology else ()
    makers = _Unknown(facts, ontology, pairs, decline, random.Random(f"{seed}/unknown"))
    kept = makers.kept(round(unknown * len(valid)))
    train += makers.trained(round(unknown * len(train)))
    return train, without_leaks([*valid, *kept], train)


def split_absent(
    facts: Sequence[Fact], ontology: Ontology, seed: int
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """``(trained, examined)``: the absent ``(subject, relation name)`` pairs, half and half.

    Halved relation by relation, so that both sides ask about all of them.
    """
    pairs = list(absent(facts, ontology))
    random.Random(f"{seed}/absent").shuffle(pairs)
    pairs.sort(key=lambda pair: pair[1])
    return tuple(pairs[::2]), tuple(pairs[1::2])


@dataclass(frozen=True)
class _Ask:
    """Something to be asked in several ways, with its answer; ``kept`` is for validation."""

    id: str
    subject: str
    questions: tuple[tuple[str, str], ...]  # phrasing, question
    kept: tuple[str, str] | None
    answer: str
    facts: tuple[str, ...]


def _apart(
    facts: Sequence[Fact], ontology: Ontology | None
) -> tuple[list[tuple[Fact, Relation]], list[Fact]]:
    """Facts with their relation, and facts without one."""
    if ontology is None:
        return [], list(facts)
    typed = [(fact, ontology.relations[fact.triple[1]]) for fact in facts if fact.triple]
    return typed, [fact for fact in facts if not fact.triple]


def _keep_one(patterns: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """Patterns to train, and the one kept for validation: that which is least like the others.

    The first is canonical and always trained; of fewer than three none is kept.
    """
    if len(patterns) < 3:
        return tuple(patterns), None
    pieces = {pattern: shingles(pattern) for pattern in patterns}

    def likeness(pattern: str) -> float:
        others = (other for other in patterns if other != pattern)
        return max(jaccard(pieces[pattern], pieces[other]) for other in others)

    kept = min(patterns[1:], key=lambda pattern: (likeness(pattern), pattern))
    return tuple(pattern for pattern in patterns if pattern != kept), kept


def _told(fact: Fact, pattern: str) -> str:
    return render(pattern, fact.triple[0], fact.triple[2]) if fact.triple else fact.text


def _text(id_: str, text: str, facts: Sequence[Fact], *phrasings: str) -> Record:
    return Record(
        id=id_,
        text=text,
        origin="fact",
        facts=tuple(fact.id for fact in facts),
        phrasings=phrasings,
        place=facts[0].place,
    )


def _paragraphs(
    typed: Sequence[tuple[Fact, Relation]], free: Sequence[Fact], rng: random.Random
) -> Iterator[Record]:
    patterns = {fact.id: (rel, _keep_one(rel.statements)[0]) for fact, rel in typed}
    by_subject = defaultdict(list)
    for fact in [*(fact for fact, _ in typed), *free]:
        by_subject[fact.triple[0] if fact.id in patterns else subject_of(fact.text)].append(fact)
    for number, (subject, facts) in enumerate(by_subject.items()):
        if subject is None or len(facts) < 2:
            continue
        for round_ in range(_PARAGRAPHS_PER_FACT):
            order = rng.sample(facts, len(facts))
            parts = rng.randint(-(-len(facts) // _LONGEST_PARAGRAPH), len(facts) // 2)
            for part in range(parts):
                group, sentences, phrasings = order[part::parts], [], []
                for fact in group:
                    relation, choice = patterns.get(fact.id, (None, ()))
                    pattern = rng.choice(choice) if choice else ""
                    sentences.append(_told(fact, pattern) if pattern else fact.text)
                    phrasings += [relation.phrasing(pattern)] if relation else []
                id_ = f"cpt/paragraph/{number}/{round_}/{part}"
                yield _text(id_, " ".join(sentences), group, *phrasings)
