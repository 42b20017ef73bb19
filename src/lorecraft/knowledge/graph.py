"""Facts as a graph: things and values, and what is told of them, each edge with its source."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lorecraft.errors import DataError
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.mistakes import nearest
from lorecraft.knowledge.ontology import Ontology, normal
from lorecraft.knowledge.reasoning import Inference, infer


@dataclass(frozen=True)
class Node:
    """A thing with its class, or a value with its type; the same value of two types is two."""

    name: str
    kind: str
    thing: bool


@dataclass(frozen=True, eq=False)
class Edge:
    """What is told of ``subject``, and by which fact; or what follows, and from what."""

    subject: Node
    relation: str
    object: Node
    origin: Fact | Inference

    @property
    def why(self) -> str:
        """Where one can look it up: id and source of the fact, or what it follows from."""
        if isinstance(self.origin, Inference):
            return self.origin.why
        return " ".join(filter(None, [self.origin.id, self.origin.source]))


class Graph:
    """The graph of facts that fit the ontology.

    Without an ontology the subjects of facts are the things, and nothing follows.

    Attributes:
        edges: what is told, in the order of the facts.
        things: names -> classes.
        nodes: by name; where a value has the name of a thing, the thing. First those of the
            ontology, then the others in the order of the facts.
        untold: how many facts have no triple and stand in no graph.
    """

    def __init__(self, facts: Sequence[Fact], ontology: Ontology | None) -> None:
        told = [fact for fact in facts if fact.triple]
        self.ontology = ontology
        self.untold = len(facts) - len(told)
        self._facts = told
        self.things = _things(told, ontology)
        self.nodes = {name: Node(name, kind, True) for name, kind in self.things.items()}
        self.edges = [self._edge(fact.triple, fact) for fact in told if fact.triple]

    @cached_property
    def inferred(self) -> list[Edge]:
        """What follows from the edges."""
        found = infer(self._facts, self.ontology) if self.ontology else []
        return [self._edge(inference.triple, inference) for inference in found]

    def counts(self) -> dict[str, Counter[str]]:
        """``classes``: things in each; ``relations``: facts in each; ``inferred``: what follows, by
        relation; ``linked``: facts of each thing."""
        about = self.ontology or Ontology((), {}, {})
        ends = (node.name for e in self.edges for node in (e.subject, e.object) if node.thing)
        return {
            "classes": _counted(about.classes, self.things.values()),
            "relations": _counted(about.relations, (edge.relation for edge in self.edges)),
            "inferred": _counted((), (edge.relation for edge in self.inferred)),
            "linked": _counted(self.things, ends),
        }

    def node(self, name: str) -> Node:
        """By name or alias, whatever its case and punctuation.

        Raises DataError for a name that is not there, with the nearest.
        """
        if name in self.nodes:
            return self.nodes[name]
        found = self._names.get(_plain(name))
        if found is None:
            known = {**{node.name: node for node in self._names.values()}, **self.nodes}
            raise DataError(
                f"nothing is called '{name}'{nearest(name, known)}",
                "the name of a thing or a value of the graph",
            )
        return found

    def path(self, start: Node, end: Node) -> list[tuple[Edge, bool]] | None:
        """The shortest way along what is told, in any direction; None if there is none.

        Each step is an edge, and whether it is gone from subject to object.
        """
        came: dict[Node, tuple[Edge, bool] | None] = {start: None}
        waiting = deque([start])
        while waiting and end not in came:
            here = waiting.popleft()
            for edge, forward in self.around.get(here, ()):
                there = edge.object if forward else edge.subject
                if there not in came:
                    came[there] = edge, forward
                    waiting.append(there)
        if end not in came:
            return None
        steps = []
        while step := came[end]:
            steps.append(step)
            end = step[0].subject if step[1] else step[0].object
        return steps[::-1]

    @cached_property
    def around(self) -> Mapping[Node, Sequence[tuple[Edge, bool]]]:
        """The edges at each node, and whether it is their subject."""
        found: dict[Node, list[tuple[Edge, bool]]] = defaultdict(list)
        for edge in self.edges:
            found[edge.subject].append((edge, True))
            if edge.object != edge.subject:
                found[edge.object].append((edge, False))
        return dict(found)

    @cached_property
    def _names(self) -> dict[str, Node]:
        """Nodes by their plain names and aliases."""
        names = {_plain(name): node for name, node in reversed(self.nodes.items())}
        for entity in self.ontology.entities.values() if self.ontology else ():
            for alias in entity.aliases:
                names.setdefault(_plain(alias), self.nodes[entity.name])
        return names

    def _edge(self, triple: tuple[str, str, str], origin: Fact | Inference) -> Edge:
        subject, name, object_ = triple
        relation = self.ontology.relations.get(name) if self.ontology else None
        thing = object_ in self.things
        if relation and self.ontology:
            thing = relation.range in self.ontology.classes
        kind = self.things[object_] if thing else relation.range if relation else ""
        node = Node(object_, kind, thing)
        self.nodes.setdefault(object_, node)
        return Edge(self.nodes[subject], name, node, origin)


def _things(facts: Sequence[Fact], ontology: Ontology | None) -> dict[str, str]:
    """Names of things -> their classes."""
    if ontology:
        return {entity.name: entity.kind for entity in ontology.entities.values()}
    return {fact.triple[0]: "" for fact in facts if fact.triple}


def _counted(expected: Iterable[str], found: Iterable[str]) -> Counter[str]:
    """Counts of ``found``, and 0 for what is expected and not found."""
    counts = Counter(dict.fromkeys(expected, 0))
    counts.update(found)
    return counts


def _plain(name: str) -> str:
    return normal(unicodedata.normalize("NFKC", name)) or name
