"""What an ontology says of its relations and rules, and cannot be."""

from __future__ import annotations

from collections.abc import Iterator

from lorecraft.knowledge.mistakes import nearest
from lorecraft.knowledge.ontology import Ontology, Relation, Rule


def contradictions(ontology: Ontology) -> Iterator[tuple[tuple[str, ...], str]]:
    """``(key, mistake)``, the keys as in ``ontology.yaml``."""
    for relation in ontology.relations.values():
        for key, mistake in _of_relation(relation, ontology):
            yield ("relations", relation.name, key), mistake
    for rule in ontology.rules:
        for variable in _two_sorted(rule, ontology):
            yield ("rules", rule.name), f"{variable} is a thing here and a value there"


def _of_relation(relation: Relation, ontology: Ontology) -> Iterator[tuple[str, str]]:
    """``(key, mistake)``: what a relation says of itself and cannot be."""
    domain, range_ = relation.domain, relation.range
    things = range_ in ontology.classes
    if relation.inverse:
        other = ontology.relations.get(relation.inverse)
        if other is None:
            known = nearest(relation.inverse, ontology.relations)
            yield "inverse", f"no relation '{relation.inverse}'{known}"
        elif not things:
            yield "inverse", f"a {range_} is no class, so nothing can be said of it"
        elif (other.domain, other.range) != (range_, domain):
            yield (
                "inverse",
                f"{other.name} leads from {other.domain} to {other.range}, "
                f"not from {range_} to {domain}",
            )
        elif other.inverse not in ("", relation.name):
            yield "inverse", f"{other.name} has {other.inverse} as its inverse"
    for key in ("transitive", "symmetric"):
        if getattr(relation, key) and domain != range_:
            yield key, f"leads from {domain} to {range_}; expected the same class at both ends"
    if relation.transitive and relation.functional:
        yield "transitive", "functional, so that the second step would be a second object"
    if relation.values and things:
        yield "values", f"the objects are of class {range_}; its entities are the values"


def _two_sorted(rule: Rule, ontology: Ontology) -> list[str]:
    """Variables that stand for a thing in one place and for a value in another."""
    things: set[str] = set()
    values: set[str] = set()
    for first, name, last in (*rule.conditions, rule.conclusion):
        if relation := ontology.relations.get(name):
            things.add(first)
            (things if relation.range in ontology.classes else values).add(last)
    return sorted(things & values)
