"""An ontology in Turtle, as OWL editors write it, taken into the shape of ``ontology.yaml``.

Classes, their parents, properties with domain, range and what OWL says of them, and named
individuals are read as they stand. What OWL has no word for is said with Lorecraft's own
vocabulary (``urn:lorecraft:``); lists keep their order::

    :located_in a owl:ObjectProperty, owl:FunctionalProperty ;
        rdfs:domain :Site ; rdfs:range :Town ;
        lore:noun "location" ; lore:answer "{subject} is in {object}." ;
        lore:statements ( "{subject} is in {object}." "{object} is home to {subject}." ) ;
        lore:questions ( "Where is {subject}?" "In which town is {subject}?" ) .
    [] a lore:Rule ; rdfs:label "made in" ; lore:if ( "?x made_at ?y" "?y located_in ?z" ) ;
        lore:then "?x made_in ?z" .
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lorecraft.errors import DataError
from lorecraft.knowledge.triples import PREFIXES, library
from lorecraft.recipe.source import Mistake, Source

_RDF, _RDFS, _OWL, _LORE = (PREFIXES[name] for name in ("rdf", "rdfs", "owl", "lore"))
_CLASSES = {_RDFS + "Class", _OWL + "Class"}
_PROPERTIES = {
    _RDF + "Property",
    *(f"{_OWL}{kind}Property" for kind in ("Object", "Datatype", "Functional")),
    *(f"{_OWL}{kind}Property" for kind in ("Transitive", "Symmetric")),
}
_FLAGS = {
    f"{_OWL}{flag.title()}Property": flag for flag in ("functional", "transitive", "symmetric")
}
_TEXTS = ("noun", "answer", "column")
_LISTS = ("statements", "questions", "values")


def read_turtle(path: Path) -> Source:
    """What the file says, with the keys of ``ontology.yaml``.

    Raises DataError for what is no Turtle, with line and column.
    """
    ox = library()
    try:
        base = path.absolute().as_uri()
        found = _Found(ox.parse(path=path, format=ox.RdfFormat.TURTLE, base_iri=base))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except SyntaxError as error:
        raise DataError(
            f"{path} line {error.lineno}, column {error.offset}: {error.args[0]}", "Turtle"
        ) from error
    return Source(found.ontology(), mistakes=found.mistakes)


class _Found:
    """The triples by subject and predicate, in the order of the file."""

    def __init__(self, triples: Any) -> None:
        self.told: dict[Any, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        self.mistakes: list[Mistake] = []
        for triple in triples:
            self.told[triple.subject][triple.predicate.value].append(triple.object)

    def ontology(self) -> dict[str, Any]:
        classes = dict.fromkeys(self.of(_CLASSES))
        kinds = {
            node: kind
            for node, said in self.told.items()
            for kind in [next((k for k in said.get(_RDF + "type", ()) if k in classes), None)]
            if kind is not None
        }
        value: dict[str, Any] = {
            "classes": self.named("classes", classes, self.class_),
            "entities": self.named("entities", kinds, lambda n: self.entity(n, kinds[n], classes)),
            "relations": self.named("relations", self.of(_PROPERTIES), self.relation),
            "rules": self.named(
                "rules",
                self.of({_LORE + "Rule"}),
                lambda node: {"if": self.items(node, "if"), "then": self.one(node, _LORE + "then")},
            ),
        }
        language = [texts for node in self.told if (texts := self.one(node, _LORE + "language"))]
        return value | ({"language": language[0]} if language else {})

    def named(
        self, key: str, nodes: Iterable[Any], read: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        """By name, of which there is one of each."""
        found: dict[str, Any] = {}
        for node in nodes:
            name = self.name(node)
            if name in found:
                self.mistakes.append(Mistake(0, f"{key}.{name}: {node} has another's name"))
            found[name] = read(node)
        return found

    def of(self, kinds: set[str]) -> list[Any]:
        """What is of one of the kinds."""
        return [
            node
            for node, said in self.told.items()
            if kinds & {kind.value for kind in said.get(_RDF + "type", ())}
        ]

    def class_(self, node: Any) -> dict[str, Any]:
        fields = {key: self.one(node, _LORE + key) for key in ("pronoun", "table", "key", "name")}
        for above in self.told[node].get(_RDFS + "subClassOf", ()):
            if above in self.told and _is_named(above):  # OWL's restrictions are blank nodes
                fields["subclass_of"] = self.name(above)
        return {key: value for key, value in fields.items() if value is not None}

    def entity(self, node: Any, kind: Any, classes: Collection[Any]) -> dict[str, Any]:
        """Of several classes the lowest: the one that no other of them is a part of."""
        kinds = [k for k in self.told[node][_RDF + "type"] if k in classes]
        above = {
            higher.value
            for k in kinds
            for higher in self.told[k].get(_RDFS + "subClassOf", ())
            if higher in kinds
        }
        lowest = next((k for k in kinds if k.value not in above), kind)
        aliases = [a.value for a in self.told[node].get(PREFIXES["skos"] + "altLabel", ())]
        return {"class": self.name(lowest), "aliases": aliases}

    def relation(self, node: Any) -> dict[str, Any]:
        said = self.told[node]
        fields: dict[str, Any] = {
            _FLAGS[kind.value]: True for kind in said[_RDF + "type"] if kind.value in _FLAGS
        }
        for key, predicate in (
            ("domain", _RDFS + "domain"),
            ("range", _RDFS + "range"),
            ("inverse", _OWL + "inverseOf"),
        ):
            if said.get(predicate):
                fields[key] = self.name(said[predicate][0])
        fields |= {key: self.one(node, _LORE + key) for key in _TEXTS}
        fields |= {key: self.items(node, key) for key in _LISTS}
        held = {
            key: self.items(node, f"heldOut{key.title()}") for key in ("statements", "questions")
        }
        fields["held_out"] = {key: texts for key, texts in held.items() if texts is not None}
        return {key: value for key, value in fields.items() if value is not None}

    def name(self, node: Any) -> str:
        """Its label, or the end of its IRI."""
        label = self.one(node, _RDFS + "label")
        return label or unquote(re.split(r"[#/:]", node.value.rstrip("#/"))[-1])

    def one(self, node: Any, predicate: str) -> str | None:
        said = self.told[node].get(predicate) if node in self.told else None
        return str(said[0].value) if said else None

    def items(self, node: Any, key: str) -> list[str] | None:
        """The texts of a list."""
        said = self.told[node].get(_LORE + key)
        if not said:
            return None
        here, texts, seen = said[0], [], set()
        while here in self.told and here not in seen:
            seen.add(here)
            texts += [first.value for first in self.told[here].get(_RDF + "first", ())]
            here = next(iter(self.told[here].get(_RDF + "rest", ())), None)
        return texts


def _is_named(node: Any) -> bool:
    return type(node).__name__ == "NamedNode"
