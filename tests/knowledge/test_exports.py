"""The graph as a file, as other tools read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorecraft.errors import DataError
from lorecraft.knowledge.exports import export
from lorecraft.knowledge.graph import Graph
from lorecraft.knowledge.triples import PREFIXES, iri, name_of


def written(graph: Graph, folder: Path, suffix: str) -> Path:
    path = folder / f"graph{suffix}"
    export(graph, path)
    return path


@pytest.mark.parametrize(("suffix", "form"), [(".ttl", "turtle"), (".jsonld", "json-ld")])
def test_rdflib_reads_every_edge_with_its_source(
    harbour: Graph, odd: Graph, tmp_path: Path, suffix: str, form: str
) -> None:
    rdflib = pytest.importorskip("rdflib")
    for graph in (harbour, odd):
        read = rdflib.Graph().parse(written(graph, tmp_path, suffix), format=form)
        query = """
            PREFIX rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#>
            PREFIX dct: <http://purl.org/dc/terms/>
            SELECT ?s ?p ?o ?from WHERE {
              ?f rdf:subject ?s ; rdf:predicate ?p ; rdf:object ?o ; dct:source ?from . ?s ?p ?o }
        """
        found = {tuple(name_of(str(term)) for term in row) for row in read.query(query)}
        assert found == {
            (e.subject.name, e.relation, e.object.name, e.origin.source)  # type: ignore[union-attr]
            for e in graph.edges
        }


def test_what_follows_names_the_facts_that_it_follows_from(harbour: Graph, tmp_path: Path) -> None:
    rdflib = pytest.importorskip("rdflib")
    read = rdflib.Graph().parse(written(harbour, tmp_path, ".ttl"), format="turtle")
    derived = rdflib.URIRef(PREFIXES["prov"] + "wasDerivedFrom")
    fact = rdflib.URIRef(iri("f", "follows:Tern made_in Ostrin"))
    assert {name_of(str(o)) for o in read.objects(fact, derived)} == {"f1", "f2"}


def test_graphml_keeps_names_classes_and_sources(
    harbour: Graph, odd: Graph, tmp_path: Path
) -> None:
    networkx = pytest.importorskip("networkx")
    for graph in (harbour, odd):
        read = networkx.read_graphml(written(graph, tmp_path, ".graphml"))
        label = {node: data["label"] for node, data in read.nodes(data=True)}
        edges = {
            (label[a], data["label"], label[b], data.get("source"))
            for a, b, data in read.edges(data=True)
            if "rule" not in data
        }
        assert edges == {
            (e.subject.name, e.relation, e.object.name, e.origin.source)  # type: ignore[union-attr]
            for e in graph.edges
        }
        assert {d.get("class") for _, d in read.nodes(data=True)} >= set(graph.things.values())


def test_a_file_is_the_same_each_time(harbour: Graph, tmp_path: Path) -> None:
    first = written(harbour, tmp_path, ".ttl").read_bytes()
    assert written(harbour, tmp_path, ".ttl").read_bytes() == first


def test_another_ending_is_refused_and_nothing_is_written(harbour: Graph, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no form ends in '\.docx'"):
        export(harbour, tmp_path / "graph.docx")
    assert not list(tmp_path.iterdir())


def test_what_fails_leaves_the_old_file(odd: Graph, tmp_path: Path) -> None:
    from lorecraft.knowledge.facts import Fact

    path = tmp_path / "graph.ttl"
    path.write_text("old")
    with pytest.raises(DataError):
        export(Graph([Fact("f", "x", "", ("A", "is", "\ud800"), "1")], None), path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["graph.ttl"]
