"""The kinds of questions that are made from several facts, or from one the other way round."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from lorecraft.data.clauses import filled, form, lowered, statement
from lorecraft.data.rivals import names_of
from lorecraft.data.wordings import Wording, asked_of
from lorecraft.data.world import Edge, Item, World
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import Phrasing, normal, render
from lorecraft.knowledge.phrasings import without_slots

_HOPS = 3
_PARTNERS = 2
_NUMBER = re.compile(r"([^\d−-]*)(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(\D*)")
_LISTED = 12
"""Longest list that anybody is asked for."""
_NO_QUANTITY = ("Year", "Date", "Time", "Text")
T = TypeVar("T")


def inferred(world: World, draw: random.Random) -> Iterator[Item]:
    """Relations of things of which nothing is told and something follows."""
    groups: dict[tuple[str, str], dict[str, tuple[Fact, ...]]] = defaultdict(dict)
    for inference in world.inferences:
        subject, name, object_ = inference.triple
        if (subject, name) not in world.of:
            groups[subject, name][object_] = inference.chain
    for (subject, name), chains in groups.items():
        facts = (fact for chain in chains.values() for fact in chain)
        yield world.item(subject, world.ontology.relations[name], list(chains), facts)


def multi_hop(world: World, draw: random.Random) -> Iterator[Item]:
    """Ways of two or three steps over single things, each named by the step before; of each length
    at most as many as there are facts, drawn, since their number grows with every step."""
    words, most = world.phrasing("multi_hop"), len(world.edges)
    steps: dict[str, list[Edge]] = defaultdict(list)
    about: dict[str, list[list[Edge]]] = defaultdict(list)
    for (subject, name), edges in world.of.items():
        about[subject].append(edges)
        one = len(world.objects[subject, name]) == 1
        if one and edges[0].relation.range in world.ontology.classes:
            steps[subject].append(edges[0])
    ways: list[tuple[Edge, ...]] = [(edge,) for edges in steps.values() for edge in edges]
    for _ in range(_HOPS - 1):
        asked = [
            (way, edges)
            for way in ways
            for edges in about[way[-1].object]
            if way[0].subject not in {edge.object for edge in edges}
        ]
        for way, edges in _at_most(most, asked, draw):
            named = way[0].subject
            for edge in way:
                pattern = draw.choice(words.questions)
                named = filled(pattern, noun=edge.relation.noun, subject=named)
            told = " ".join(render(e.relation.answer, e.subject, e.object) for e in way)
            objects = [edge.object for edge in edges]
            facts = (edge.fact for edge in (*way, *edges))
            item = world.item(way[-1].object, edges[0].relation, objects, facts, named)
            names = (edge.relation.name for edge in (*way, edges[0]))
            yield replace(
                item,
                id="/".join((way[0].subject, *names)),
                answer=filled(words.answer, steps=told, answer=item.answer),
            )
        further = [
            (*way, edge)
            for way in ways
            for edge in steps[way[-1].object]
            if edge.object not in {step.subject for step in way}
        ]
        ways = _at_most(most, further, draw)


def _at_most(count: int, items: Sequence[T], draw: random.Random) -> list[T]:
    return list(items) if len(items) <= count else draw.sample(items, count)


def inverse(world: World, draw: random.Random) -> Iterator[Item]:
    """The one subject of which something holds."""
    yield from _subjects(world, "inverse", several=False)


def lists(world: World, draw: random.Random) -> Iterator[Item]:
    """All subjects of which the same holds."""
    yield from _subjects(world, "lists", several=True)


def _subjects(world: World, kind: str, several: bool) -> Iterator[Item]:
    words = world.phrasing(kind)
    edges: dict[tuple[str, str], list[Edge]] = defaultdict(list)
    for edge in world.edges:
        if not edge.relation.symmetric:
            edges[edge.relation.noun, edge.object].append(edge)
    for (noun, object_), group in edges.items():
        subjects, relation = world.subjects[noun, object_], group[0].relation
        fits = 1 < len(subjects) <= _LISTED if several else len(subjects) == 1
        told = {edge.subject for edge in group}  # a list must not tell what is examined as inferred
        if not fits or len(subjects) > len(told) or _given_away(subjects, object_):
            continue
        name = relation.name
        slots = {"noun": noun, "object": object_}
        yield _item(
            words,
            name,
            slots,
            id=f"{name}/{object_}",
            answer=filled(words.answer, **slots, subjects=world.listed(subjects)),
            accept=tuple(subjects) if several else names_of(subjects, world.ontology),
            others=partial(world.others_of, relation.domain, [*subjects, object_]),
            facts=tuple(edge.fact for edge in group),
        )


def compare(world: World, draw: random.Random) -> Iterator[Item]:
    """Two things by a number that both have, in the same unit."""
    words, no_quantity = world.phrasing("compare"), {*_NO_QUANTITY, *world.ontology.classes}
    groups: dict[tuple[str, str, str], list[tuple[float, Edge]]] = defaultdict(list)
    for edge in world.edges:
        number = _number(edge.object, world.ontology.language)
        one = len(world.objects[edge.subject, edge.relation.name]) == 1
        if number and one and edge.relation.range not in no_quantity:
            groups[edge.relation.name, *number[1]].append((number[0], edge))
    for group in groups.values():
        pairs = set()
        for here, (value, _) in enumerate(group):
            for _ in range(_PARTNERS):
                there = draw.randrange(len(group))
                if group[there][0] != value:
                    pairs.add((min(here, there), max(here, there)))
        for pair in sorted(pairs):
            (_, less), (_, more) = sorted((group[at] for at in pair), key=lambda found: found[0])
            name, noun = more.relation.name, more.relation.noun
            first, second = draw.sample((more.subject, less.subject), 2)
            yield _item(
                words,
                name,
                {"noun": noun, "first": first, "second": second},
                id=f"{name}/{more.subject}/{less.subject}",
                answer=filled(
                    words.answer,
                    noun=noun,
                    subject=more.subject,
                    object=more.object,
                    other=less.subject,
                    other_object=less.object,
                ),
                accept=names_of([more.subject], world.ontology),
                others=partial(names_of, [less.subject], world.ontology),
                facts=(more.fact, less.fact),
            )


def yes_no(world: World, draw: random.Random) -> Iterator[Item]:
    """What is so, and as often what is not."""
    words = world.phrasing("yes_no")
    yes, no = map(without_slots, (words.answer, words.denial))
    for edge, false in _with_false(world, draw):
        name, true = edge.relation.name, statement(edge, edge.object)
        for object_, right, wrong, answer in (
            (edge.object, yes, no, words.answer),
            (false, no, yes, words.denial),
        ):
            yield _item(
                words,
                name,
                {"statement": statement(edge, object_)},
                id=f"{edge.subject}/{name}/{object_}",
                answer=filled(answer, statement=true),
                accept=(right,),
                others=partial(tuple, [wrong]),
                facts=(edge.fact,),
            )


def false_premise(world: World, draw: random.Random) -> Iterator[Item]:
    """Why something is so, that is not."""
    words = world.phrasing("false_premise")
    for edge, false in _with_false(world, draw):
        relation = edge.relation
        yield _item(
            words,
            relation.name,
            {"statement": statement(edge, false)},
            id=f"{edge.subject}/{relation.name}",
            answer=filled(words.answer, statement=statement(edge, edge.object)),
            accept=names_of([edge.object], world.ontology),
            others=partial(world.others, relation, [edge.object, false], edge.subject),
            facts=(edge.fact,),
        )


def follow_up(world: World, draw: random.Random) -> Iterator[Item]:
    """A second question about the subject of the first, which it does not name again."""
    words, about = world.phrasing("follow_up"), defaultdict(list)
    for (subject, _), edges in world.of.items():
        objects, facts = [e.object for e in edges], (e.fact for e in edges)
        about[subject].append((edges[0], world.item(subject, edges[0].relation, objects, facts)))
    for subject, items in about.items():
        kind = world.ontology.entities[subject].kind
        pronouns = world.ontology.pronouns
        pronoun = next((pronouns[k] for k in world.ontology.classes_of(kind) if k in pronouns), "")
        order = draw.sample(items, len(items))
        for (_, first), (edge, second) in zip(order, order[1:] + order[:1], strict=True):
            if first is second:
                continue
            relation = edge.relation
            asked = [
                lowered(render(pattern, form(pronoun, pattern)))
                for wording in asked_of(subject, relation).trained
                for pattern in [wording.phrasing.removeprefix(relation.phrasing(""))]
                if pronoun and re.search(r"\s\{subject\}(?=[\s?.!]|$)", pattern)
            ]
            trained = [
                Wording(
                    filled(pattern, noun=relation.noun, question=question),
                    f"{relation.name}/{pattern}",
                )
                for pattern in words.questions
                for question in (asked if "{question}" in pattern else [""])
            ]
            held = [
                Wording(filled(pattern, noun=relation.noun), f"{relation.name}/{pattern}")
                for pattern in words.held_out
            ]
            yield replace(
                second,
                id=f"{first.id}/{relation.name}",
                trained=tuple(trained),
                held_out=tuple(held),
                answer=filled(words.answer, answer=second.answer),
                facts=(*first.facts, *second.facts),
                before=first,
            )


def identity(world: World, draw: random.Random) -> Iterator[Item]:
    """Things by their other names."""
    words = world.phrasing("identity")
    for entity in world.ontology.entities.values():
        names = names_of([entity.name], world.ontology)
        for alias in entity.aliases:
            if _given_away([entity.name], alias):
                continue
            yield _item(
                words,
                "identity",
                {"object": alias},
                id=f"{entity.name}/{alias}",
                answer=filled(words.answer, object=alias, subject=entity.name),
                accept=tuple(name for name in names if name != alias),
                others=partial(world.others_of, entity.kind, [entity.name]),
                facts=(),
            )


MAKERS: dict[str, Callable[[World, random.Random], Iterator[Item]]] = {
    "inferred": inferred,
    "multi_hop": multi_hop,
    "inverse": inverse,
    "lists": lists,
    "compare": compare,
    "yes_no": yes_no,
    "false_premise": false_premise,
    "follow_up": follow_up,
    "identity": identity,
}
"""All kinds of ``phrasings.KINDS`` that ask."""


def _given_away(answers: Sequence[str], asked: str) -> bool:
    """Whether what is asked with says an answer: to repeat "Tern Yard" is to say "Tern"."""
    said = f" {normal(asked)} "
    return any(f" {normal(answer)} " in said for answer in answers)


def _with_false(world: World, draw: random.Random) -> Iterator[tuple[Edge, str]]:
    """Facts of functional relations, each with an object that it does not have. Of other relations
    nobody can say what is false: more may be so than was told."""
    told: dict[str, dict[str, str]] = defaultdict(dict)
    for edge in world.edges:
        told[edge.relation.name].setdefault(normal(edge.object), edge.object)
    values = {name: list(objects.items()) for name, objects in told.items()}
    for edge in world.edges:
        own, others = (normal(edge.object), normal(edge.subject)), values[edge.relation.name]
        start = draw.randrange(len(others))
        around = (others[(start + step) % len(others)] for step in range(len(others)))
        false = next((value for plain, value in around if plain not in own), None)
        if edge.relation.functional and false is not None:
            yield edge, false


def _number(text: str, language: str) -> tuple[float, tuple[str, str]] | None:
    """``(number, what stands before and after it)``; None where there is none, or it is not plain
    which: outside English a comma and a point may be the other way round."""
    found = _NUMBER.fullmatch(text)
    if not found or (language != "en" and set(found[2]) & {".", ","}):
        return None
    return float(found[2].replace(",", "")), (found[1].strip(), found[3].strip())


def _item(words: Phrasing, name: str, slots: dict[str, str], **rest: Any) -> Item:
    """An item in the words of its kind, about the relation ``name``."""

    def wordings(patterns: Sequence[str]) -> tuple[Wording, ...]:
        return tuple(Wording(filled(p, **slots), f"{name}/{p}") for p in patterns)

    return Item(trained=wordings(words.questions), held_out=wordings(words.held_out), **rest)
