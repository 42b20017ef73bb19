"""Patterns as parts of other sentences: filled, without what opens and ends a sentence."""

from __future__ import annotations

import re

from lorecraft.data.world import Edge
from lorecraft.knowledge.ontology import OBJECT, SUBJECT, render

_VERB = re.compile(r"\b(?:is|was|does|did|has|had|can|could|will|would) \{subject\}")
_OBJECTIVE = {"he": "him", "she": "her"}


def filled(pattern: str, **values: str) -> str:
    """A pattern with its slots filled; an object or noun that opens it gets a capital."""
    text = _put(pattern, values)
    return text[:1].upper() + text[1:] if pattern.startswith((OBJECT, "{noun}")) else text


def statement(edge: Edge, object_: str) -> str:
    """A fact as a clause, without what ends and what opens a sentence."""
    pattern = edge.relation.statements[0].strip().rstrip(".。!")
    if pattern.startswith((SUBJECT, OBJECT)):
        return _put(pattern, {"subject": edge.subject, "object": object_})
    return lowered(render(pattern, edge.subject, object_))


def form(pronoun: str, pattern: str) -> str:
    """English "she" is "her" where no verb comes before: "How old is she?", "Who made her?"."""
    return pronoun if _VERB.search(pattern) else _OBJECTIVE.get(pronoun, pronoun)


def lowered(text: str) -> str:
    """With a small letter at its beginning; "I" is never small."""
    return text if re.match(r"I\b", text) else text[:1].lower() + text[1:]


def _put(pattern: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda slot: values[slot[1]], pattern)
