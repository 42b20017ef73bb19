"""The graph as a file: Turtle, JSON-LD or GraphML."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as Xml

from lorecraft.disk import replacing
from lorecraft.errors import DataError
from lorecraft.knowledge.graph import Edge, Graph, Node
from lorecraft.knowledge.reasoning import Inference
from lorecraft.knowledge.triples import PREFIXES, library, statements

FORMATS = {
    ".ttl": "TURTLE",
    ".jsonld": "JSON_LD",
    ".graphml": "GraphML",
}
_NODE = ("label", "class")
_EDGE = ("label", "fact", "source", "text", "rule")
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def export(graph: Graph, path: Path) -> None:
    """Write the graph, with the source of each edge, in the form that the file's ending names.

    Raises DataError for another ending.
    """
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise DataError(
            f"{path}: no form ends in '{path.suffix}'", f"a file that ends in {', '.join(FORMATS)}"
        )
    if form == "GraphML":
        text = graphml(graph)
        with replacing(path) as partial:
            partial.write_bytes(text)
        return
    ox = library()
    with replacing(path) as partial, partial.open("wb") as file:
        ox.serialize(statements(graph), file, format=getattr(ox.RdfFormat, form), prefixes=PREFIXES)


def graphml(graph: Graph) -> bytes:
    """XML that Gephi, yEd, Cytoscape and networkx read (http://graphml.graphdrawing.org)."""
    root = Xml.Element("graphml", xmlns="http://graphml.graphdrawing.org/xmlns")
    for end, names in (("node", _NODE), ("edge", _EDGE)):
        for name in names:
            key = {"id": f"{end}-{name}", "for": end, "attr.name": name, "attr.type": "string"}
            Xml.SubElement(root, "key", key)
    drawn = Xml.SubElement(root, "graph", edgedefault="directed")
    ids: dict[Node, str] = {}

    def node(node: Node) -> str:
        if node not in ids:
            ids[node] = f"n{len(ids)}"
            element = Xml.SubElement(drawn, "node", id=ids[node])
            _data(element, "node", {"label": node.name, "class": node.kind})
        return ids[node]

    for name in graph.things:
        node(graph.nodes[name])
    edges = [(edge, node(edge.subject), node(edge.object)) for edge in _all(graph)]
    for edge, source, target in edges:
        _data(Xml.SubElement(drawn, "edge", source=source, target=target), "edge", _said(edge))
    Xml.indent(root)
    return Xml.tostring(root, encoding="utf-8", xml_declaration=True)


def plain(text: str) -> str:
    """``text`` with a mark in the place of what XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)


def _all(graph: Graph) -> list[Edge]:
    return [*graph.edges, *graph.inferred]


def _said(edge: Edge) -> dict[str, str]:
    if isinstance(edge.origin, Inference):
        ids = " ".join(fact.id for fact in edge.origin.chain)
        return {"label": edge.relation, "fact": ids, "rule": edge.origin.rule}
    fact = edge.origin
    return {"label": edge.relation, "fact": fact.id, "source": fact.source, "text": fact.text}


def _data(element: Xml.Element, end: str, values: dict[str, str]) -> None:
    for name, value in values.items():
        if value:
            Xml.SubElement(element, "data", key=f"{end}-{name}").text = plain(value)
