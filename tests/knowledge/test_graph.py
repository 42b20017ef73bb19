"""Facts as a graph: what there is, how it is linked, what follows."""

from __future__ import annotations

import pytest

from lorecraft.errors import DataError
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.graph import Graph, Node


def test_things_values_and_what_follows_are_counted(harbour: Graph) -> None:
    counts = harbour.counts()
    assert counts["classes"] == {"Boat": 2, "Yard": 0, "Dry Yard": 1, "Town": 2}
    assert counts["relations"]["length"] == 2
    assert counts["relations"]["made_in"] == 0
    assert counts["inferred"] == {"has_yard": 1, "made_in": 1}
    assert counts["linked"] == {"Tern": 3, "Gull": 1, "Pell Yard": 2, "Ostrin": 1, "Brelm": 0}
    assert harbour.untold == 1


def test_an_edge_knows_where_it_comes_from(harbour: Graph) -> None:
    assert harbour.edges[0].why == "f1 book.md#1"
    (made_in,) = (edge for edge in harbour.inferred if edge.relation == "made_in")
    assert (made_in.subject.name, made_in.object.name) == ("Tern", "Ostrin")
    assert made_in.why == "follows from f1 and f2 by made where the yard stands"


def test_the_shortest_way_goes_along_what_is_told_in_any_direction(harbour: Graph) -> None:
    way = harbour.path(harbour.node("Ostrin"), harbour.node("Gull"))
    assert way is not None
    assert [(edge.relation, forward) for edge, forward in way] == [
        ("stands_in", False),
        ("made_at", False),
        ("length", True),
        ("length", False),
    ]
    assert harbour.path(harbour.node("Ostrin"), harbour.node("Brelm")) is None
    assert harbour.path(harbour.node("Tern"), harbour.node("Tern")) == []


def test_the_same_value_of_two_types_is_two() -> None:
    assert Node("5", "Year", False) != Node("5", "Length", False)


def test_a_name_is_found_by_alias_case_and_punctuation(harbour: Graph) -> None:
    assert harbour.node("the tern.").name == "Tern"
    assert harbour.node("12 M") == Node("12 m", "Length", False)


def test_an_unknown_name_is_refused_with_the_nearest(harbour: Graph) -> None:
    with pytest.raises(DataError, match="nothing is called 'Ostrim'; did you mean 'Ostrin'"):
        harbour.node("Ostrim")


def test_without_an_ontology_subjects_are_the_things() -> None:
    facts = [
        Fact("f1", "A is by B.", "", ("A", "by", "B"), "line 1"),
        Fact("f2", "B is red.", "", ("B", "colour", "red"), "line 2"),
    ]
    graph = Graph(facts, None)
    assert graph.things == {"A": "", "B": ""}
    assert [edge.object.thing for edge in graph.edges] == [True, False]
    assert graph.inferred == []
