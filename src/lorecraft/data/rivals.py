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


class Rivals:
    """Values that a relation might have had: other facts' objects, other things of its range."""

    def __init__(self, facts: Sequence[Fact], ontology: Ontology) -> None:
        self._ontology = ontology
        self._values: dict[str, dict[str, None]] = {}
        for fact in facts:
            if fact.triple:
                self._values.setdefault(fact.triple[1], {})[fact.triple[2]] = None
        for relation in ontology.relations.values():
            things = (thing.name for thing in ontology.of_class(relation.range))
            self._values.setdefault(relation.name, {}).update(dict.fromkeys(things))

    def of(self, relation: Relation, right: Sequence[str], subject: str) -> tuple[str, ...]:
        """All but the right ones and the subject itself."""
        known = {*right, subject}
        others = [value for value in self._values[relation.name] if value not in known]
        names = set(names_of(right, self._ontology))
        return tuple(name for name in names_of(others, self._ontology) if name not in names)
