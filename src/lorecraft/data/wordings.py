"""The wordings in which a fact is told or asked, and which of them is kept for validation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from lorecraft.data.similar import jaccard, shingles
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import OBJECT, Ontology, Relation, normal, render

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
    "Can you say what is known about {subject}?",
    "Which facts do you have on {subject}?",
)
"""The same, examined only."""

COMPLETE_QUESTIONS = (
    "Complete the sentence: {beginning}",
    "How does this sentence go on? {beginning}",
    "Finish this: {beginning}",
)
"""Trained requests to finish a fact that has no triple."""


NOUN_QUESTIONS = (
    "What is the {noun} of {subject}?",
    "Please tell me the {noun} of {subject}.",
    "I need to know the {noun} of {subject}.",
    "{subject}: what is the {noun}?",
    "What {noun} does {subject} have?",
    "About {subject}: do you know the {noun}?",
    "I have a question about {subject}. What is the {noun}?",
)
"""Trained questions that any relation can be asked in."""


@dataclass(frozen=True)
class Wording:
    """One sentence or question, and the pattern that it was made from (``""``: none)."""

    text: str
    phrasing: str = ""


@dataclass(frozen=True)
class Wordings:
    """All wordings of one thing: those to train, and one kept for validation."""

    trained: tuple[Wording, ...]
    kept: Wording | None = None

    def drawn(self, count: int | None, seed: str) -> Wordings:
        """With at most ``count`` trained ones."""
        if count is None or count >= len(self.trained):
            return self
        at = sorted(random.Random(seed).sample(range(len(self.trained)), count))
        return Wordings(tuple(self.trained[index] for index in at), self.kept)


def told(fact: Fact, ontology: Ontology | None) -> Wordings:
    """The statements of a fact; its own text is trained where it is none of the patterns'.

    A fact without a triple has no wording but its own.
    """
    if ontology is None or fact.triple is None:
        return Wordings((Wording(fact.text),))
    subject, name, object_ = fact.triple
    relation = ontology.relations[name]
    wordings = _wordings(relation, relation.statements, subject, object_)
    patterns = (*relation.statements, *relation.held_out_statements)
    if normal(fact.text) in {normal(render(pattern, subject, object_)) for pattern in patterns}:
        return wordings
    return Wordings((*wordings.trained, Wording(fact.text)), wordings.kept)


def asked_of(subject: str, relation: Relation | None) -> Wordings:
    """The questions for a relation of ``subject``, its own and those by its noun; without a
    relation, for anything about it."""
    patterns = _questions(relation) if relation else ABOUT_QUESTIONS
    return _wordings(relation, patterns, subject)


def listed(names: Sequence[str], language: str) -> str:
    """Several names as one writes them in a sentence."""
    last = " and " if language == "en" else ", "
    return last.join(filter(None, [", ".join(names[:-1]), names[-1]]))


@cache
def _questions(relation: Relation) -> tuple[str, ...]:
    written = (*relation.questions, *relation.held_out_questions)
    taken = {normal(pattern) for pattern in written}
    by_noun = (pattern.replace("{noun}", relation.noun) for pattern in NOUN_QUESTIONS)
    return (*relation.questions, *(p for p in by_noun if normal(p) not in taken))


def _wordings(
    relation: Relation | None, patterns: Sequence[str], subject: str, object_: str = ""
) -> Wordings:
    kept = _kept(tuple(patterns))
    made = {
        pattern: Wording(
            render(pattern, subject, object_), relation.phrasing(pattern) if relation else pattern
        )
        for pattern in patterns
    }
    trained = tuple(wording for pattern, wording in made.items() if pattern != kept)
    return Wordings(trained, made[kept] if kept else None)


@cache
def _kept(patterns: tuple[str, ...]) -> str | None:
    """The pattern least like the others, so that validation asks for more than memory of words;
    of statements one that ends with the object, which is what is scored.

    The first is canonical and always trained; of fewer than three none is kept.
    """
    if len(patterns) < 3:
        return None
    pieces = {pattern: shingles(pattern) for pattern in patterns}

    def likeness(pattern: str) -> float:
        others = (other for other in patterns if other != pattern)
        return max(jaccard(pieces[pattern], pieces[other]) for other in others)

    candidates = [p for p in patterns[1:] if p.rstrip(".").endswith(OBJECT)] or patterns[1:]
    return min(candidates, key=lambda pattern: (likeness(pattern), pattern))
