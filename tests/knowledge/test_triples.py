"""The graph answers SPARQL; every name comes back as it went in."""

from __future__ import annotations

import sys

import pytest

from lorecraft.errors import DataError
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.graph import Graph
from lorecraft.knowledge.triples import PREFIXES, Store, iri, name_of


def asked(graph: Graph, query: str) -> list[list[str]]:
    return sorted(Store(graph).query(query)[1])


def test_what_is_told_and_what_follows_is_found(harbour: Graph) -> None:
    assert asked(harbour, "SELECT ?x { ?x r:length '12 m' }") == [["Gull"], ["Tern"]]
    assert asked(harbour, "SELECT ?x { e:Tern r:made_in ?x }") == [["Ostrin"]]
    assert asked(harbour, "SELECT ?x { ?x a c:Yard }") == [["Pell Yard"]]
    assert asked(harbour, "ASK { e:Pell%20Yard r:made_in ?x }") == [["no"]]


def test_every_edge_has_its_source(harbour: Graph) -> None:
    query = "SELECT ?f ?from { GRAPH ?f { e:Tern r:length ?x } ?f dct:source ?from }"
    assert asked(harbour, query) == [["f3", "book.md#3"]]
    query = "SELECT ?from ?by { GRAPH ?f { e:Tern r:made_in ?x } ?f prov:wasDerivedFrom ?from ; lore:rule ?by }"  # noqa: E501
    by = "made where the yard stands"
    assert asked(harbour, query) == [["f1", by], ["f2", by]]
    graphs = asked(harbour, "SELECT (COUNT(DISTINCT ?f) AS ?n) { GRAPH ?f { ?s ?p ?o } }")
    assert graphs == [[str(len(harbour.edges) + len(harbour.inferred))]]


def test_triples_can_be_constructed(harbour: Graph) -> None:
    columns, rows = Store(harbour).query("CONSTRUCT { ?b r:built ?y } WHERE { ?b r:built ?y }")
    assert columns == ["subject", "predicate", "object"]
    assert list(rows) == [["Tern", "built", "1990"]]


def test_odd_names_come_back_as_they_went_in(odd: Graph) -> None:
    query = "SELECT ?s ?r ?o ?f ?from { GRAPH ?f { ?s ?r ?o } ?f dct:source ?from }"
    expected = [[n, n, f"value {n}", f"id {n}", n] for n in odd.things]
    assert asked(odd, query) == sorted(expected)


def test_an_iri_keeps_letters_and_encodes_the_rest() -> None:
    assert iri("e", "수원 100% <a>") == PREFIXES["e"] + "수원%20100%25%20%3Ca%3E"
    assert name_of(iri("e", "a%20b")) == "a%20b"
    assert name_of("http://example.org/a%20b") == "http://example.org/a%20b"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT ?x { ?x r:length }", ["line 1, column 25", "\n    SELECT ?x { ?x r:length }\n"]),
        ("ASK {\n  ?x foo:length ?y }", ["line 2", "a prefix that is declared, or one of e:, r:"]),
        ("DELETE WHERE { ?s ?p ?o }", ["no SPARQL, line 1, column 10:"]),
        ("", ["no SPARQL, line 1"]),
        ("SELECT ?x { ?x r:length 'é" + "x" * 200 + "' ", ["line 1"]),
    ],
)
def test_a_mistake_in_a_query_is_shown_at_its_place(
    harbour: Graph, query: str, said: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        Store(harbour).query(query)
    for part in said:
        assert part in str(caught.value)


def test_a_query_that_fails_on_its_way_is_told(harbour: Graph) -> None:
    _, rows = Store(harbour).query("SELECT * { SERVICE <http://127.0.0.1:9/> { ?s ?p ?o } }")
    with pytest.raises(DataError, match="the query cannot be answered"):
        list(rows)


def test_names_that_the_graph_does_not_have_are_pointed_out(harbour: Graph) -> None:
    found = Store(harbour).strangers("SELECT * { e:Pel%20Yard r:stand_in ?x . ?x a c:Town }")
    assert found == [
        "no entity 'Pel Yard'; did you mean 'Pell Yard'?",
        "no relation 'stand_in'; did you mean 'stands_in'?",
    ]


def test_what_is_no_unicode_is_refused() -> None:
    graph = Graph([Fact("f1", "x", "", ("A", "is", "\ud800"), "line 1")], None)
    with pytest.raises(DataError, match="half a surrogate pair"):
        Store(graph)


def test_a_missing_library_is_named_with_its_extra(
    harbour: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyoxigraph", None)
    with pytest.raises(DataError, match=r"pip install 'lorecraft\[graph\]'"):
        Store(harbour)
