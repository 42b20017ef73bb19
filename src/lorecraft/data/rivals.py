"""What else an answer might have said: a right one says none of it."""

from __future__ import annotations

from collections.abc import Sequence

from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import Ontology, Relation


def names_of(values: Sequence[str], ontology: Ontology) -> tuple[str, ...]:
    """``values`` and their aliases, without repetition."""
    names = []
    for value in values:
        entity = ontology.entities.get(value)
        names += [value, *(entity.aliases if entity else ())]
    return tuple(dict.fromkeys(names))


def rivals(
    relation: Relation,
    right: Sequence[str],
    subject: str,
    facts: Sequence[Fact],
    ontology: Ontology,
) -> tuple[str, ...]:
    """Values that the relation might have had: other facts' objects, other things of its range."""
    told = [f.triple[2] for f in facts if f.triple and f.triple[1] == relation.name]
    things = [entity.name for entity in ontology.of_class(relation.range)]
    others = [v for v in dict.fromkeys(told + things) if v not in right and v != subject]
    return tuple(
        name for name in names_of(others, ontology) if name not in names_of(right, ontology)
    )
