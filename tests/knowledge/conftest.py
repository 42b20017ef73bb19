"""A small harbour whose relations say what follows, and names that are hard to write down."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.graph import Graph
from lorecraft.knowledge.ontology import Entity, Ontology, Relation, Rule

ODD = (
    'Say "hello"',
    "a < b & c > d",
    "two\nlines\tand a tab",
    "back\\slash 'quoted'",
    "수원 공장",
    "Ärger & Söhne",
    "دار السلام",
    "e:x%20y",
    "🛳 ferry",
    "</script><script>alert(1)</script>",
    "-leading.dots.",
)


def relation(name: str, domain: str, range_: str, **more: object) -> Relation:
    """With patterns of its own name."""
    statements = (f"{{subject}} {name} {{object}}.", f"{{object}}: {name} of {{subject}}.")
    plain = Relation(
        name, domain, range_, name, statements, (f"{{subject}} {name}?",), "{object}.", (), ()
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def told(*triples: tuple[str, str, str]) -> tuple[Fact, ...]:
    return tuple(
        Fact(f"f{number}", " ".join(triple), f"book.md#{number}", triple, f"line {number}")
        for number, triple in enumerate(triples, 1)
    )


@pytest.fixture
def harbour() -> Graph:
    relations = [
        relation("made_at", "Boat", "Yard", functional=True),
        relation("stands_in", "Yard", "Town", functional=True, inverse="has_yard"),
        relation("has_yard", "Town", "Yard"),
        relation("made_in", "Boat", "Town"),
        relation("length", "Boat", "Length"),
        relation("built", "Boat", "Year"),
    ]
    rule = Rule(
        "made where the yard stands",
        (("?boat", "made_at", "?yard"), ("?yard", "stands_in", "?town")),
        ("?boat", "made_in", "?town"),
    )
    entities = [
        Entity("Tern", "Boat", ("The Tern",)),
        Entity("Gull", "Boat"),
        Entity("Pell Yard", "Dry Yard"),
        Entity("Ostrin", "Town"),
        Entity("Brelm", "Town"),
    ]
    ontology = Ontology(
        ("Boat", "Yard", "Dry Yard", "Town"),
        {entity.name: entity for entity in entities},
        {each.name: each for each in relations},
        parents={"Dry Yard": "Yard"},
        rules=(rule,),
    )
    facts = told(
        ("Tern", "made_at", "Pell Yard"),
        ("Pell Yard", "stands_in", "Ostrin"),
        ("Tern", "length", "12 m"),
        ("Gull", "length", "12 m"),
        ("Tern", "built", "1990"),
    )
    return Graph((*facts, Fact("f9", "It rains.", "", None, "line 9")), ontology)


@pytest.fixture
def odd() -> Graph:
    """Every odd name as a thing, a relation, a class, a value, a fact's id and a source."""
    entities = {name: Entity(name, name) for name in ODD}
    relations = {name: relation(name, name, "Text") for name in ODD}
    facts = [
        Fact(f"id {name}", f"text {name}", name, (name, name, f"value {name}"), name)
        for name in ODD
    ]
    return Graph(facts, Ontology(ODD, entities, relations))
