"""A graph of a million edges, loaded and queried; beside rdflib's own store in memory.

Run by `make bench`, on a machine that does nothing else. Both read the same facts and hold each
edge in a named graph with its source. Writes benchmarks/results/graph.json.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import _shared

from lorecraft.knowledge.facts import load_facts
from lorecraft.knowledge.graph import Graph
from lorecraft.knowledge.ontology import Entity, Ontology, Relation, Rule
from lorecraft.knowledge.shapes import check
from lorecraft.knowledge.triples import PREFIXES, Store, iri

T = TypeVar("T")

EDGES = 1_000_000
A_THING = 4  # edges
QUERIES = {
    "one_thing": "SELECT ?m ?w WHERE {{ e:Lamp%20{half} r:made_by ?m ; r:weight ?w }}",
    "other_end": "SELECT ?s WHERE {{ ?s r:made_by e:Maker%207 }}",
    "source": "SELECT ?f ?from WHERE {{ GRAPH ?f {{ e:Lamp%20{half} r:weight ?w }} "
    "?f dct:source ?from }}",
    "two_steps": "SELECT ?s WHERE {{ ?s r:made_by ?m . ?m r:town e:Town%2011 }}",
    "count": "SELECT (COUNT(*) AS ?n) WHERE {{ ?s r:made_by ?m . ?m r:town ?t }}",
}
RELATIONS = {
    "town": ("Maker", "Town"),
    "made_by": ("Lamp", "Maker"),
    "smaller_than": ("Lamp", "Lamp"),
    "weight": ("Lamp", "Weight"),
    "sold_in": ("Lamp", "Town"),
    "made_in": ("Lamp", "Town"),
}
RULE = Rule(
    "made in the town of the maker",
    (("?lamp", "made_by", "?maker"), ("?maker", "town", "?town")),
    ("?lamp", "made_in", "?town"),
)


def triples(edges: int) -> Iterator[tuple[str, str, str]]:
    draw = random.Random(0)
    makers, towns = max(10, edges // 400), max(12, edges // 4000)
    for number in range(makers):
        yield f"Maker {number}", "town", f"Town {draw.randrange(towns)}"
    for number in range((edges - makers) // A_THING):
        lamp = f"Lamp {number}"
        yield lamp, "made_by", f"Maker {draw.randrange(makers)}"
        yield lamp, "smaller_than", f"Lamp {draw.randrange(number + 1)}"
        yield lamp, "weight", f"{draw.randrange(10_000)} g"
        yield lamp, "sold_in", f"Town {draw.randrange(towns)}"


def written(path: Path, edges: int) -> Ontology:
    """Facts as a user has them, and the ontology that they fit."""
    things: dict[str, None] = {}
    with path.open("w") as file:
        for triple in triples(edges):
            things |= dict.fromkeys(name for name in triple[::2] if not name.endswith(" g"))
            line = {"text": " ".join(triple), "source": "list.csv", "triple": triple}
            file.write(json.dumps(line) + "\n")
    relations = {
        name: Relation(name, *ends, name, ("{subject} {object}.",), (), "{object}.", (), ())
        for name, ends in RELATIONS.items()
    }
    entities = {name: Entity(name, name.split()[0]) for name in things}
    return Ontology(("Lamp", "Maker", "Town"), entities, relations)


def lorecraft(edges: int, *rules: Rule) -> _shared.Figures:
    """Facts read, checked, linked, what follows found, the store filled and queried."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "facts.jsonl"
        ontology = replace(written(path, edges), rules=rules)
        figures: _shared.Figures = {}
        with _shared.measured(figures):
            facts = _timed(figures, "read", lambda: load_facts(path))
            _timed(figures, "check", lambda: check(facts, ontology))
            graph = _timed(figures, "link", lambda: Graph(facts, ontology))
            _timed(figures, "reason", lambda: graph.inferred)
            store = _timed(figures, "store", lambda: Store(graph))
            for name, query in QUERIES.items():
                found = _timed(figures, name, lambda q=query: list(store.query(_of(q, edges))[1]))
                figures[f"{name}_rows"] = len(found)
            ends = graph.node("Lamp 3"), graph.node(f"Lamp {edges // A_THING // 2}")
            _timed(figures, "first_path", lambda: graph.path(*ends))
            _timed(figures, "path", lambda: graph.path(*ends))
    return figures | {"edges": len(graph.edges), "inferred": len(graph.inferred)}


def rdflib(edges: int) -> _shared.Figures:
    """The same edges and sources in rdflib's Dataset, and the same queries."""
    from rdflib import Dataset, Literal, URIRef

    figures: _shared.Figures = {}
    told = list(triples(edges))
    with _shared.measured(figures):
        dataset = Dataset(default_union=True)

        def fill() -> None:
            source = URIRef(PREFIXES["dct"] + "source")
            for number, (subject, relation, object_) in enumerate(told, 1):
                fact = URIRef(iri("f", f"f{number:03d}"))
                value = Literal(object_) if object_.endswith(" g") else URIRef(iri("e", object_))
                triple = URIRef(iri("e", subject)), URIRef(iri("r", relation)), value
                dataset.add((*triple, fact))
                dataset.add((fact, source, Literal("list.csv")))

        _timed(figures, "store", fill)
        for name, query in QUERIES.items():
            run = partial(dataset.query, _of(query, edges), initNs=PREFIXES)
            figures[f"{name}_rows"] = len(_timed(figures, name, lambda run=run: list(run())))
    return figures | {"edges": len(told)}


def _of(query: str, edges: int) -> str:
    return query.format(half=edges // A_THING // 2)


def _timed(figures: _shared.Figures, name: str, work: Callable[[], T]) -> T:
    began = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - began
    asked = name in QUERIES or "path" in name
    figures[f"{name}_milliseconds" if asked else f"{name}_seconds"] = seconds * 1000**asked
    return result


def main() -> None:
    ways = {
        "lorecraft": partial(lorecraft, EDGES),
        "lorecraft_reasoning": partial(lorecraft, EDGES, RULE),
        "rdflib": partial(rdflib, EDGES),
    }
    _shared.save(__file__, _shared.main(__file__, ways, rounds=1))


if __name__ == "__main__":
    main()
