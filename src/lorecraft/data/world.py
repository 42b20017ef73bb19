"""Facts to ask about: looked up from either end, with what follows, and in which words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from lorecraft.data.rivals import Rivals, names_of
from lorecraft.data.wordings import Wording, asked_of, listed
from lorecraft.errors import DataError
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import Ontology, Phrasing, Relation, render
from lorecraft.knowledge.phrasings import KINDS
from lorecraft.knowledge.reasoning import Inference, infer


@dataclass(frozen=True)
class Item:
    """Something that can be asked.

    Attributes:
        id: unique in its kind.
        trained, held_out: its wordings.
        answer: in full.
        accept: what a right answer says: one of these, or all where the kind is ``lists``.
        others: gives what makes an answer wrong; looked up where answers are graded alone.
        facts: those that it takes to know the answer.
        before: what is asked and answered first.
    """

    id: str
    trained: tuple[Wording, ...]
    held_out: tuple[Wording, ...]
    answer: str
    accept: tuple[str, ...]
    others: Callable[[], tuple[str, ...]] = field(compare=False)
    facts: tuple[Fact, ...]
    before: Item | None = None

    @property
    def reject(self) -> tuple[str, ...]:
        return self.others()


class Edge(NamedTuple):
    """A fact with a triple."""

    subject: str
    relation: Relation
    object: str
    fact: Fact


class World:
    """Facts that fit their ontology.

    Attributes:
        edges: those with a triple, in their order.
        of: ``(subject, relation name)`` -> its edges.
    """

    def __init__(self, facts: Sequence[Fact], ontology: Ontology) -> None:
        self.facts, self.ontology = facts, ontology
        self._rivals = Rivals(facts, ontology)
        self._names: dict[str, tuple[str, ...]] = {}
        self.edges: list[Edge] = []
        self.of: dict[tuple[str, str], list[Edge]] = defaultdict(list)
        for fact in facts:
            if fact.triple:
                subject, name, object_ = fact.triple
                edge = Edge(subject, ontology.relations[name], object_, fact)
                self.edges.append(edge)
                self.of[subject, name].append(edge)

    @cached_property
    def inferences(self) -> list[Inference]:
        """What follows."""
        return infer(self.facts, self.ontology)

    @cached_property
    def objects(self) -> dict[tuple[str, str], list[str]]:
        """``(subject, relation name)`` -> its objects, and behind them those that follow."""
        found: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        for subject, name, object_ in self._triples():
            found[subject, name][object_] = None
        return {key: list(names) for key, names in found.items()}

    @cached_property
    def subjects(self) -> dict[tuple[str, str], list[str]]:
        """``(noun, object)`` -> the subjects of which it is said, what follows included: who hears
        a question that names the object by a noun does not know which relation it is from."""
        found: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        for subject, name, object_ in self._triples():
            found[self.ontology.relations[name].noun, object_][subject] = None
        return {key: list(names) for key, names in found.items()}

    def _triples(self) -> Iterator[tuple[str, str, str]]:
        for edge in self.edges:
            yield edge.subject, edge.relation.name, edge.object
        for inference in self.inferences:
            yield inference.triple

    def phrasing(self, kind: str) -> Phrasing:
        """The ontology's, or the English one.

        Raises DataError where the ontology is in another language and has none.
        """
        ontology, english = self.ontology, KINDS[kind].english
        found = ontology.phrasings.get(kind) or (english if ontology.language == "en" else None)
        if found is None:
            raise DataError(
                f"the ontology's language is {ontology.language}, and it has no words for {kind}",
                f"phrasings.{kind} in the ontology",
                f"leave {kind} out of data.kinds and exam.kinds",
            )
        return found

    def listed(self, names: Sequence[str]) -> str:
        return listed(names, self.ontology.language)

    def others(self, relation: Relation, right: Sequence[str], subject: str) -> tuple[str, ...]:
        """What an answer about a relation of ``subject`` might say instead."""
        return self._rivals.of(relation, right, subject)

    def others_of(self, kind: str, right: Sequence[str]) -> tuple[str, ...]:
        """All other things of a class, by all their names."""
        if kind not in self._names:
            things = [thing.name for thing in self.ontology.of_class(kind)]
            self._names[kind] = names_of(things, self.ontology)
        own = set(names_of(right, self.ontology))
        return tuple(name for name in self._names[kind] if name not in own)

    def item(
        self,
        subject: str,
        relation: Relation,
        objects: Sequence[str],
        facts: Iterable[Fact],
        named: str = "",
    ) -> Item:
        """A relation of a thing, asked in the relation's own words and answered by ``objects``, or
        by any that is so; ``named`` is how the question calls the thing, if not by its name."""
        named, chain = named or subject, tuple(dict.fromkeys(facts))
        way = [name for fact in chain if fact.triple for name in fact.triple[::2]]
        right = self.objects[subject, relation.name]
        on_the_way = set(names_of(way, self.ontology))
        asked = asked_of(named, relation)
        held = (
            Wording(render(pattern, named), relation.phrasing(pattern))
            for pattern in relation.held_out_questions
        )
        return Item(
            id=f"{named}/{relation.name}",
            trained=tuple(map(_opened, asked.trained)),
            held_out=tuple(map(_opened, held)),
            answer=render(relation.answer, subject, self.listed(objects)),
            accept=names_of(right, self.ontology),
            others=lambda: tuple(
                name for name in self.others(relation, right, subject) if name not in on_the_way
            ),
            facts=chain,
        )


def _opened(wording: Wording) -> Wording:
    return Wording(wording.text[:1].upper() + wording.text[1:], wording.phrasing)
