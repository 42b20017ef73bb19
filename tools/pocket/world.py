"""An invented world, made from ``world.yaml``: entities, their facts, and ways to tell and ask.

The model learns from it what statements and questions about entities look like, what it means to
have met an entity, and what it means not to have. Nothing in it is real, and nothing in it stands
in ``examples/``.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

SHEET = Path(__file__).with_name("world.yaml")


@dataclass(frozen=True)
class Relation:
    """A relation and every way in which it is told and asked; slots ``{s}`` and ``{o}``."""

    name: str
    noun: str
    subject: frozenset[str]
    object: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class Fact:
    subject: str
    relation: Relation
    object: str

    def told(self, rng: random.Random) -> str:
        return fill(rng.choice(self.relation.statements), self.subject, self.object)

    def answered(self) -> str:
        return fill(self.relation.answer, self.subject, self.object)


@dataclass
class Entity:
    """A named thing of one class. ``asked`` tells which facts training may ask for: the others
    are only ever told, so that the model learns to answer from a statement."""

    name: str
    kind: str
    facts: list[Fact] = field(default_factory=list)
    asked: list[Fact] = field(default_factory=list)
    absent: list[Relation] = field(default_factory=list)


def fill(pattern: str, subject: str, object_: str = "") -> str:
    text = pattern.replace("{s}", subject).replace("{o}", object_)
    return text[:1].upper() + text[1:]


@cache
def sheet() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(SHEET.read_text("utf-8"), Loader=loader)


@cache
def relations() -> tuple[Relation, ...]:
    """The written relations, then one for each noun, phrased by the generic patterns."""
    page = sheet()

    def named(pattern: str, noun: str) -> str:
        return pattern.replace("{noun}", noun)

    written = [
        Relation(
            name=row["name"],
            noun=row["noun"],
            subject=frozenset(row["subject"]),
            object=row["object"],
            # the noun's own forms are a good part of what any relation can be asked in
            statements=tuple(row["statements"])
            + tuple(named(p, row["noun"]) for p in page["generic_statements"][:4]),
            questions=tuple(row["questions"])
            + tuple(named(p, row["noun"]) for p in page["generic_questions"][:8]),
            answer=row["answer"],
        )
        for row in page["relations"]
    ]
    generic = [
        Relation(
            name=row["noun"],
            noun=row["noun"],
            subject=frozenset(row["subject"]),
            object=row["object"],
            statements=tuple(named(p, row["noun"]) for p in page["generic_statements"]),
            questions=tuple(named(p, row["noun"]) for p in page["generic_questions"]),
            answer=named(page["generic_answer"], row["noun"]),
        )
        for row in page["nouns"]
    ]
    return tuple(written + generic)


@cache
def relations_of(kind: str) -> tuple[Relation, ...]:
    return tuple(relation for relation in relations() if kind in relation.subject)


def name(kind: str, rng: random.Random, wild: float = 0.0) -> str:
    """A name for a new thing of this class; ``wild`` is the share of names whose invented parts
    are made letter by letter."""
    parts = sheet()["names"]
    strange = wild > 0 and rng.random() < wild
    pattern = rng.choice(parts["suffix"][kind])
    number = rng.choice([rng.randint(1, 12), rng.randint(10, 99), rng.randrange(100, 1000, 10)])
    pattern = pattern.replace("{n}", str(number))
    while slot := re.search(r"{(\w+)}", pattern):
        if strange and slot[1] != "first":
            made = _syllables(rng)
        elif slot[1] in ("first", "word"):
            made = rng.choice(parts["first_names" if slot[1] == "first" else "words"])
        else:
            made = rng.choice(parts[f"{slot[1]}_starts"]) + rng.choice(parts[f"{slot[1]}_ends"])
        pattern = pattern.replace(slot[0], made, 1)
    return pattern


def _syllables(rng: random.Random) -> str:
    """A word like none: one to three syllables, each consonants, a vowel, perhaps a consonant."""
    onsets = [*"bcdfghjklmnprstvwz", "br", "ch", "cl", "dr", "fr", "gr", "kr", "pl", "qu", "sh"]
    onsets += ["sk", "sl", "st", "th", "tr", ""]
    vowels = [*"aeiou", "aa", "ai", "au", "ea", "ee", "ie", "oa", "oo", "ou", "y"]
    codas = [*"bdfgklmnprstx", "ck", "ld", "lt", "mp", "nd", "ng", "rk", "rn", "ss", "st", "", ""]
    syllables = [
        rng.choice(onsets) + rng.choice(vowels) + rng.choice(codas)
        for _ in range(rng.choice([1, 2, 2, 3]))
    ]
    return "".join(syllables).capitalize()


def value(kind: str, rng: random.Random) -> str:
    """A literal of this type, as text."""
    entry = sheet()["values"][kind]
    if "list" in entry:
        return str(rng.choice(entry["list"]))
    low, high = entry["range"]
    number: float = rng.randint(int(low), int(high))
    if entry.get("decimals") and rng.random() < 0.5:
        number = round(rng.uniform(float(low), float(high)), 1)
    elif number >= 1000 and not entry.get("plain") and kind != "year":
        number -= number % rng.choice([10, 50, 100])
    shown = f"{number:,}" if number >= 1000 and kind != "year" else str(number)
    if "units" in entry:
        return f"{shown} {rng.choice(entry['units'])}"
    form = entry.get("format", "{n}")
    form = rng.choice(form) if isinstance(form, list) else form
    return form.replace("{n}", shown)


def new_entity(kind: str, rng: random.Random, known: dict[str, list[str]], taken: str) -> Entity:
    """A thing with three to eight facts; its objects are drawn from ``known`` names of their
    class, or newly named."""
    entity = Entity(taken, kind)
    of_kind = list(relations_of(kind))
    rng.shuffle(of_kind)
    count = min(rng.randint(3, 8), len(of_kind) - 1)
    for relation in of_kind[:count]:
        if relation.object in sheet()["values"]:
            object_ = value(relation.object, rng)
        else:
            names = [n for n in known.get(relation.object, ()) if n != entity.name]
            object_ = rng.choice(names) if names else name(relation.object, rng)
        entity.facts.append(Fact(entity.name, relation, object_))
    entity.absent = of_kind[count:]
    return entity


MET_AT_ONCE = 220
MET_A_WAVE = 11


@dataclass
class World:
    entities: list[Entity]
    """In the order in which training meets them."""
    told_only: list[Entity]
    """Things of which nothing is ever asked in training: what they are for is the examination."""

    def met_before(self, wave: int) -> int:
        """How many of the entities have been met before this wave (from 0)."""
        return min(len(self.entities), MET_AT_ONCE + MET_A_WAVE * max(wave, 0))


@cache
def world(seed: int = 0, size: int = 500, told_only: int = 60) -> World:
    """The fixed world: the same for every document stream."""
    rng = random.Random(f"world-{seed}")
    kinds = sheet()["classes"]
    names: dict[str, list[str]] = {kind: [] for kind in kinds}
    seen: set[str] = set()
    while sum(map(len, names.values())) < size + told_only:
        kind = rng.choice(kinds)
        made = name(kind, rng)
        if made not in seen:
            seen.add(made)
            names[kind].append(made)
    entities = [new_entity(kind, rng, names, made) for kind in kinds for made in names[kind]]
    rng.shuffle(entities)
    for entity in entities[told_only:]:
        keep = max(1, round(0.75 * len(entity.facts)))
        entity.asked = rng.sample(entity.facts, keep)
    return World(entities[told_only:], entities[:told_only])


def unmet(kind: str, rng: random.Random, wild: float = 0.0) -> str:
    """A name that the world does not hold; ``wild`` as in ``name``."""
    met = _names()
    while (made := name(kind, rng, wild)) in met:
        pass
    return made


@cache
def _names() -> frozenset[str]:
    made = world()
    return frozenset(entity.name for entity in made.entities + made.told_only)
