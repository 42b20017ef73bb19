"""What a language model is given to tell: passages of documents, and the facts about each thing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lorecraft.data.records import Record
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.sentences import subject_of

_TOGETHER = 12
"""Facts about one thing that are told at once."""


@dataclass(frozen=True)
class Passage:
    """Something to be told: the text, where it stands, and the facts that it tells, if any."""

    id: str
    text: str
    place: str
    facts: tuple[str, ...] = ()


def to_tell(passages: Sequence[Record], facts: Sequence[Fact]) -> list[Passage]:
    """Passages of documents, and of the facts about each thing a few together."""
    about: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        about[fact.triple[0] if fact.triple else subject_of(fact.text) or fact.text].append(fact)
    groups = [
        (subject, those[start : start + _TOGETHER])
        for subject, those in about.items()
        for start in range(0, len(those), _TOGETHER)
    ]
    return [
        *(Passage(record.id, record.text, record.place) for record in passages),
        *(
            Passage(
                those[0].id,
                " ".join(fact.text for fact in those),
                f"facts about {subject}",
                tuple(fact.id for fact in those),
            )
            for subject, those in groups
        ),
    ]
