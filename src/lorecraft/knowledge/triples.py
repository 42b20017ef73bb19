"""The graph as RDF: names as IRIs, edges as triples, a store that answers SPARQL.

Each edge is a triple in a named graph of its own, whose name is its fact's: so a query finds what
is told without thinking of sources, and ``GRAPH ?fact { ... }`` finds where it comes from. In a
file, where few tools read named graphs, an edge is a triple and an ``rdf:Statement`` about it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from lorecraft.errors import DataError
from lorecraft.knowledge.graph import Edge, Graph, Node
from lorecraft.knowledge.mistakes import nearest
from lorecraft.knowledge.reasoning import Inference

if TYPE_CHECKING:
    import pyoxigraph as ox

_OURS = "urn:lorecraft:"
_W3 = "http://www.w3.org/"
PREFIXES = {
    "e": f"{_OURS}entity:",
    "r": f"{_OURS}relation:",
    "c": f"{_OURS}class:",
    "f": f"{_OURS}fact:",
    "lore": _OURS,
    "rdf": f"{_W3}1999/02/22-rdf-syntax-ns#",
    "rdfs": f"{_W3}2000/01/rdf-schema#",
    "owl": f"{_W3}2002/07/owl#",
    "xsd": f"{_W3}2001/XMLSchema#",
    "skos": f"{_W3}2004/02/skos/core#",
    "prov": f"{_W3}ns/prov#",
    "dct": "http://purl.org/dc/terms/",
}
"""What a query need not declare: ``e:`` entities, ``r:`` relations, ``c:`` classes, ``f:`` facts,
and the vocabularies that describe them."""

_SHOWN = 60


def iri(prefix: str, name: str) -> str:
    """A name as an IRI: letters and digits of any alphabet stay, all else is percent-encoded."""
    return PREFIXES[prefix] + re.sub(r"[^\w-]", _encoded, name)


def name_of(value: str) -> str:
    """An IRI of ours as the name that it was made from; any other as it is."""
    for prefix in "ercf":
        if value.startswith(PREFIXES[prefix]):
            return unquote(value.removeprefix(PREFIXES[prefix]))
    return value


def library() -> Any:
    """pyoxigraph, which holds, writes and queries triples.

    Raises DataError with how to install it where it is missing.
    """
    try:
        import pyoxigraph
    except ImportError as error:
        raise DataError(
            "queries and RDF files need pyoxigraph",
            "the extra",
            "pip install 'lorecraft[graph]'",
        ) from error
    return pyoxigraph


class Store:
    """A graph to be queried; what follows is in it, too."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._ox = library()
        self._store = self._ox.Store()
        self._store.bulk_extend(self._quads())

    def query(self, text: str) -> tuple[list[str], Iterator[list[str]]]:
        """``(columns, rows)`` of what SPARQL 1.1 asks; ``PREFIXES`` need no declaration.

        IRIs of ours are given as the names that they were made from, what is unbound as ``""``; the
        answer to ASK is ``yes`` or ``no``.

        Raises DataError for what is no SPARQL, with line, column and the line itself.
        """
        try:
            found: Any = self._store.query(text, prefixes=PREFIXES, use_default_graph_as_union=True)
        except SyntaxError as error:
            raise DataError(*_mistake(text, str(error))) from error
        except ValueError as error:
            raise DataError(f"the query cannot be answered: {error}", "SPARQL 1.1") from error
        if isinstance(found, self._ox.QueryBoolean):
            return ["answer"], iter([["yes" if found else "no"]])
        if isinstance(found, self._ox.QueryTriples):
            parts = ("subject", "predicate", "object")
            return list(parts), _rows(found, lambda row: [getattr(row, part) for part in parts])
        columns = found.variables
        rows = _rows(found, lambda row: [row[column] for column in columns])
        return [column.value for column in columns], rows

    def strangers(self, text: str) -> list[str]:
        """Names of ours in a query that the graph does not have, each in a sentence."""
        about = self._graph.ontology
        counts = self._graph.counts()
        known = {
            "e": list(self._graph.things),
            "r": list(counts["relations"]),
            "c": list(about.classes) if about else [],
        }
        kinds = {"e": "entity", "r": "relation", "c": "class"}
        found = []
        for prefix, written in dict.fromkeys(
            re.findall(r"(?<![\w:<])([erc]):((?:[\w-]|%[0-9A-Fa-f]{2})+)", text)
        ):
            name = unquote(written)
            if name not in known[prefix]:
                found.append(f"no {kinds[prefix]} '{name}'{nearest(name, known[prefix])}")
        return found

    def _quads(self) -> Iterator[ox.Quad]:
        quad, graph = self._ox.Quad, self._graph
        for triple in _schema(graph, self._ox):
            yield quad(*triple)
        for edge in (*graph.edges, *graph.inferred):
            subject, relation, object_ = _edge(edge, self._ox)
            fact = self._ox.NamedNode(iri("f", _id(edge)))
            yield quad(subject, relation, object_, fact)
            for predicate, value in _source(edge, self._ox):
                yield quad(fact, predicate, value)


def _rows(found: Any, terms: Callable[[Any], list[Any]]) -> Iterator[list[str]]:
    """Each answer as names; what SERVICE asks of others may fail on the way."""
    try:
        for row in found:
            yield [_shown(term) for term in terms(row)]
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"the query cannot be answered: {error}", "SPARQL 1.1") from error


def statements(graph: Graph) -> Iterator[ox.Triple]:
    """All that is known, as plain triples; each edge with an ``rdf:Statement`` of its source."""
    ox = library()
    term = _terms(ox)
    for triple in _schema(graph, ox):
        yield ox.Triple(*triple)
    for edge in (*graph.edges, *graph.inferred):
        subject, relation, object_ = _edge(edge, ox)
        fact = ox.NamedNode(iri("f", _id(edge)))
        yield ox.Triple(subject, relation, object_)
        yield ox.Triple(fact, term("rdf", "type"), term("rdf", "Statement"))
        yield ox.Triple(fact, term("rdf", "subject"), subject)
        yield ox.Triple(fact, term("rdf", "predicate"), relation)
        yield ox.Triple(fact, term("rdf", "object"), object_)
        for predicate, value in _source(edge, ox):
            yield ox.Triple(fact, predicate, value)


def _shown(term: Any) -> str:
    return "" if term is None else name_of(getattr(term, "value", str(term)))


def _schema(graph: Graph, ox: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Classes, relations and things, with their names."""
    term, about = _terms(ox), graph.ontology
    type_, label = term("rdf", "type"), term("rdfs", "label")
    for name in about.classes if about else ():
        here = ox.NamedNode(iri("c", name))
        yield here, type_, term("rdfs", "Class")
        yield here, label, ox.Literal(name)
        if about and name in about.parents:
            yield here, term("rdfs", "subClassOf"), ox.NamedNode(iri("c", about.parents[name]))
    for name in graph.counts()["relations"]:
        here = ox.NamedNode(iri("r", name))
        yield here, type_, term("rdf", "Property")
        yield here, label, ox.Literal(name)
        relation = about.relations.get(name) if about else None
        if about and relation:
            yield here, term("rdfs", "domain"), ox.NamedNode(iri("c", relation.domain))
            if relation.range in about.classes:
                yield here, term("rdfs", "range"), ox.NamedNode(iri("c", relation.range))
            for said in ("functional", "transitive", "symmetric"):
                if getattr(relation, said):
                    yield here, type_, term("owl", f"{said.title()}Property")
            if relation.inverse:
                yield here, term("owl", "inverseOf"), ox.NamedNode(iri("r", relation.inverse))
    for name, kind in graph.things.items():
        here = ox.NamedNode(iri("e", name))
        yield here, label, _text(name, ox)
        for class_ in about.classes_of(kind) if about else ():
            yield here, type_, ox.NamedNode(iri("c", class_))
        for alias in about.entities[name].aliases if about else ():
            yield here, term("skos", "altLabel"), _text(alias, ox)


def _edge(edge: Edge, ox: Any) -> tuple[Any, Any, Any]:
    return (
        ox.NamedNode(iri("e", edge.subject.name)),
        ox.NamedNode(iri("r", edge.relation)),
        _node(edge.object, ox),
    )


def _node(node: Node, ox: Any) -> Any:
    return ox.NamedNode(iri("e", node.name)) if node.thing else _text(node.name, ox)


def _text(text: str, ox: Any) -> Any:
    try:
        return ox.Literal(text)
    except ValueError as error:
        raise DataError(f"{text!r} is no text in Unicode (half a surrogate pair)") from error


def _source(edge: Edge, ox: Any) -> Iterator[tuple[Any, Any]]:
    """Where an edge comes from: a fact's words and source, or the facts that it follows from."""
    term = _terms(ox)
    if isinstance(edge.origin, Inference):
        yield term("lore", "rule"), _text(edge.origin.rule, ox)
        for fact in edge.origin.chain:
            yield term("prov", "wasDerivedFrom"), ox.NamedNode(iri("f", fact.id))
        return
    yield term("rdfs", "label"), _text(edge.origin.text, ox)
    if edge.origin.source:
        yield term("dct", "source"), _text(edge.origin.source, ox)


def _id(edge: Edge) -> str:
    """The fact's; of what follows its own words, which nothing else has."""
    if isinstance(edge.origin, Inference):
        return "follows:" + " ".join(edge.origin.triple)
    return edge.origin.id


@cache
def _terms(ox: Any) -> Any:
    return cache(lambda prefix, name: ox.NamedNode(PREFIXES[prefix] + name))


def _encoded(found: re.Match[str]) -> str:
    try:
        return "".join(f"%{byte:02X}" for byte in found[0].encode())
    except UnicodeEncodeError as error:
        raise DataError(f"{found[0]!r} is no letter in Unicode (half a surrogate pair)") from error


def _mistake(text: str, said: str) -> tuple[str, str]:
    """``(seen, expected)`` of a parser's complaint, ``error at 1:26: expected one of ...``."""
    found = re.match(r"error at (\d+):(\d+): (.*)", said, re.DOTALL)
    if not found:
        return f"the query is no SPARQL: {said}", "SPARQL 1.1"
    number, column, why = int(found[1]), int(found[2]), " ".join(found[3].split())
    line = text.splitlines()[number - 1] if number <= len(text.splitlines()) else ""
    first = max(0, column - _SHOWN)
    shown = line[first : column + _SHOWN]
    seen = f"the query is no SPARQL, line {number}, column {column}:"
    caret = " " * (column - 1 - first) + "^"
    if "Prefix not found" in why:
        return f"{seen}\n    {shown}\n    {caret}", (
            "a prefix that is declared, or one of " + ", ".join(f"{name}:" for name in PREFIXES)
        )
    why = why.removeprefix("expected one of ").removeprefix("expected ")
    why = why if len(why) <= 2 * _SHOWN else why[: 2 * _SHOWN] + " ..."
    return f"{seen}\n    {shown}\n    {caret}", why.replace("[_]", "a space")
