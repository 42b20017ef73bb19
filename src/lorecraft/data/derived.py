"""Records and exam questions of the kinds that go beyond a fact.

Of each kind two thirds of what can be asked may be trained, and one third is only ever examined; so
an exam asks the same whether or not a recipe trains the kind.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

from lorecraft.data.kinds import MAKERS
from lorecraft.data.records import Message, Record
from lorecraft.data.tellings import text_record
from lorecraft.data.wordings import Wording, told
from lorecraft.data.world import Item, World
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import Ontology

_PARAGRAPH = 4


def derived_records(
    stage: str, facts: Sequence[Fact], ontology: Ontology, counts: Mapping[str, int], seed: int
) -> list[Record]:
    """What is trained of the kinds in a stage, ``cpt`` or ``sft``.

    Args:
        counts: kind -> wordings of each thing that is told or asked, drawn from those there are;
            for ``across`` the paragraphs that each fact stands in.
    """
    world = World(facts, ontology)
    made = _texts(world, counts, seed) if stage == "cpt" else _chats(world, counts, seed)
    return list(made)


def examined(world: World, wanted: Iterable[str], seed: int) -> dict[str, list[Item]]:
    """What is only examined, by kind."""
    return {kind: _dealt(_items(world, kind, seed), seed)[1] for kind in wanted}


def _items(world: World, kind: str, seed: int) -> list[Item]:
    return list(MAKERS[kind](world, random.Random(f"{seed}/{kind}/items")))


def _dealt(items: Sequence[Item], seed: int) -> tuple[list[Item], list[Item]]:
    """``(trained, examined)``, two to one."""
    order = random.Random(f"{seed}/dealt").sample(range(len(items)), len(items))
    examined = set(order[1::3])
    return (
        [item for at, item in enumerate(items) if at not in examined],
        [item for at, item in enumerate(items) if at in examined],
    )


def _texts(world: World, counts: Mapping[str, int], seed: int) -> Iterator[Record]:
    if "across" in counts:
        yield from _across(world, counts["across"], random.Random(f"{seed}/across"))
    if "inferred" in counts:
        draw = random.Random(f"{seed}/inferred/cpt")
        trained = {item.id for item in _dealt(_items(world, "inferred", seed), seed)[0]}
        for inference in world.inferences:
            if "/".join(inference.triple[:2]) in trained:
                fact = inference.fact(world.ontology)
                wordings = told(fact, world.ontology).trained
                for index, wording in enumerate(_drawn(wordings, counts["inferred"], draw)):
                    id_ = f"cpt/inferred/{fact.id}/{index}"
                    yield text_record(id_, inference.chain, [wording])


def _across(world: World, laps: int, draw: random.Random) -> Iterator[Record]:
    """Paragraphs of up to four facts of one relation, about several things."""
    groups: dict[str, list[Fact]] = {}
    for edge in world.edges:
        groups.setdefault(edge.relation.name, []).append(edge.fact)
    for name, group in groups.items():
        for lap in range(laps if len(group) > 1 else 0):
            order = draw.sample(group, len(group))
            parts = -(-len(group) // _PARAGRAPH)
            for part in range(parts):
                some = order[part::parts]
                wordings = [draw.choice(told(fact, world.ontology).trained) for fact in some]
                yield text_record(f"cpt/across/{name}/{lap}/{part}", some, wordings)


def _chats(world: World, counts: Mapping[str, int], seed: int) -> Iterator[Record]:
    for kind in (kind for kind in counts if kind in MAKERS):
        draw = random.Random(f"{seed}/{kind}")
        for item in _dealt(_items(world, kind, seed), seed)[0]:
            for index, wording in enumerate(_drawn(item.trained, counts[kind], draw)):
                yield _chat(f"sft/{kind}/{item.id}/{index}", item, wording, draw)


def _drawn(wordings: Sequence[Wording], count: int, draw: random.Random) -> list[Wording]:
    return draw.sample(wordings, min(count, len(wordings)))


def _chat(id_: str, item: Item, wording: Wording, draw: random.Random) -> Record:
    turns = [(wording, item.answer)]
    if item.before:
        turns.insert(0, (draw.choice(item.before.trained), item.before.answer))
    return Record(
        id=id_,
        messages=tuple(
            message
            for asked, answer in turns
            for message in (Message("user", asked.text), Message("assistant", answer))
        ),
        origin="fact",
        facts=tuple(fact.id for fact in item.facts),
        phrasings=tuple(asked.phrasing for asked, _ in turns),
        place=item.facts[0].place if item.facts else "the ontology",
    )
