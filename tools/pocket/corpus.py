"""The text that the embedded model is trained on: an endless stream of short documents.

A document is chat (ChatML, one to four exchanges) or plain text. What it is about is drawn by
``MIXES``, one for each phase of the training. All of it comes from ``world.yaml`` (an invented
world), ``knowledge/general.yaml`` (what is generally known) and a random generator: nothing is
downloaded.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count

import world as w

from lorecraft.knowledge.general import GeneralItem, general_items, kinds, suite

DECLINE = "I do not know."
"""The one honest answer to what nobody told the model."""


@dataclass(frozen=True)
class Mix:
    """Shares of the kinds of documents, and of the kinds of exchanges in a chat.

    ``wild``: share of the names of new things that are made of letters at random, like no name of
    the world.
    """

    documents: dict[str, float]
    exchanges: dict[str, float]
    wild: float = 0.0


WAVE_DOCUMENTS = 12_000
"""After so many documents the next wave of the world's things is met (see ``Moment``)."""

POLISH_WAVE = 22
"""The wave at which the second phase begins; the first has had the ones before it."""


@dataclass(frozen=True)
class Moment:
    """What of the world has been met by now.

    Things come in waves: in its first wave a thing is told, often, and never asked about; from the
    next one on it is asked about as well. So the model learns over and over what a fine-tune will
    want of it: to answer what it was only told, and to decline the rest.
    """

    known: Sequence[w.Entity]
    """May be asked about."""
    recent: Sequence[w.Entity]
    """Of those, the ones whose questions have just begun."""
    fresh: Sequence[w.Entity]
    """Are only told yet."""

    @classmethod
    def at(cls, wave: int) -> Moment:
        here = w.world()
        begun, told = here.met_before(wave), here.met_before(wave + 1)
        return cls(
            here.entities[:begun],
            here.entities[here.met_before(wave - 1) : begun] or here.entities[:begun],
            here.entities[begun:told] or here.entities[:begun],
        )

    def asked_about(self, rng: random.Random) -> w.Entity:
        return rng.choice(self.recent if rng.random() < 0.25 else self.known)


MIXES = {
    # First the world is learned, and how it is told and asked.
    "learn": Mix(
        {
            "told": 0.22,  # statements about the world
            "told_general": 0.03,
            "chat": 0.50,  # questions: general, the world, what is not known
            "passage": 0.21,  # a passage about something new, and questions about it
            "copy": 0.04,
        },
        {
            "general": 0.40,
            "arithmetic": 0.08,
            "world": 0.29,
            "about": 0.05,
            "absent": 0.11,  # a known thing, an attribute that it was never given
            "unmet": 0.07,  # a thing that it never met
        },
    ),
    # Then, when there is a difference between known and unknown, to tell it; and to calculate.
    "polish": Mix(
        {"told": 0.12, "told_general": 0.03, "chat": 0.60, "passage": 0.20, "copy": 0.05},
        {
            "general": 0.27,
            "arithmetic": 0.15,
            "world": 0.26,
            "about": 0.04,
            "absent": 0.17,
            "unmet": 0.11,
        },
        wild=0.4,
    ),
}

SYSTEM = ("You are a helpful assistant.", "You are Pocket.", "Answer briefly.", "Be honest.")

SUMS = ("addition", "subtraction")

BATCH = 256  # kinds of documents are drawn so many at a time

Turns = list[tuple[str, str]]


def documents(seed: int, phase: str = "learn") -> Iterator[str]:
    """Endless, and the same for the same seed and phase (``learn`` or ``polish``)."""
    rng = random.Random(f"documents-{seed}" if phase == "learn" else f"{phase}-{seed}")
    mix = MIXES[phase]
    kinds, shares = list(mix.documents), list(mix.documents.values())
    for batch in count():
        first = 0 if phase == "learn" else POLISH_WAVE
        moment = Moment.at(first + batch * BATCH // WAVE_DOCUMENTS)
        for kind in rng.choices(kinds, shares, k=BATCH):
            if kind == "told":
                yield told(rng, moment)
            elif kind == "told_general":
                yield told_general(rng)
            elif kind == "chat":
                yield chat(rng, mix, moment)
            elif kind == "passage":
                yield passage(rng, mix)
            else:
                yield copy(rng, mix)


def render(turns: Turns, rng: random.Random) -> str:
    """Exchanges -> ChatML, one in twenty with a system message."""
    lines = []
    if rng.random() < 0.05:
        lines.append(f"<|im_start|>system\n{rng.choice(SYSTEM)}<|im_end|>\n")
    for question, answer in turns:
        lines.append(f"<|im_start|>user\n{question}<|im_end|>\n")
        lines.append(f"<|im_start|>assistant\n{answer}<|im_end|>\n")
    return "".join(lines)


# --- statements -------------------------------------------------------------------------------


def told(rng: random.Random, moment: Moment) -> str:
    """Statements: one alone, several of one thing, or several of several."""
    which = rng.random()
    things = (
        moment.fresh
        if which < 0.3
        else moment.recent
        if which < 0.4
        else w.world().told_only
        if which < 0.45
        else moment.known
    )
    shape = rng.random()
    if shape < 0.25:
        facts = [rng.choice(rng.choice(things).facts)]
    elif shape < 0.75:
        entity = rng.choice(things)
        facts = rng.sample(entity.facts, rng.randint(2, min(6, len(entity.facts))))
    else:
        facts = [rng.choice(rng.choice(things).facts) for _ in range(rng.randint(2, 6))]
    sentences = [fact.told(rng) for fact in facts]
    return rng.choice([" ", " ", "\n"]).join(sentences) + "<|endoftext|>"


def told_general(rng: random.Random) -> str:
    items = [item for item in _general() if item.statements]
    picked = [rng.choice(items) for _ in range(rng.randint(1, 5))]
    return " ".join(rng.choice(item.statements) for item in picked) + "<|endoftext|>"


# --- questions --------------------------------------------------------------------------------


def chat(rng: random.Random, mix: Mix, moment: Moment) -> str:
    exchanges = rng.choice([1, 1, 1, 2, 3, 4])
    turns: Turns = []
    entity = moment.asked_about(rng)
    for kind in rng.choices(list(mix.exchanges), list(mix.exchanges.values()), k=exchanges):
        if rng.random() < 0.5:  # a conversation often stays with one thing
            entity = moment.asked_about(rng)
        turns.append(_exchange(kind, entity, rng, mix))
    return render(turns, rng)


def _exchange(kind: str, entity: w.Entity, rng: random.Random, mix: Mix) -> tuple[str, str]:
    if kind == "general":
        item = rng.choice(_general())
        return asked(rng.choice(item.questions), rng, 0.2), item.answer
    if kind == "arithmetic":
        return _arithmetic(rng)
    if kind == "world":
        fact = rng.choice(entity.asked)
        question = w.fill(rng.choice(fact.relation.questions), entity.name)
        return asked(question, rng), fact.answered()
    if kind == "about":
        facts = rng.sample(entity.facts, min(len(entity.facts), rng.randint(2, 3)))
        question = w.fill(rng.choice(w.sheet()["about_questions"]), entity.name)
        return asked(question, rng, 0.1), " ".join(fact.told(rng) for fact in facts)
    if kind == "absent":
        relation = rng.choice(entity.absent or w.relations())
        return asked(w.fill(rng.choice(relation.questions), entity.name), rng), DECLINE
    thing = rng.choice(w.sheet()["classes"])
    name = w.unmet(thing, rng, mix.wild)
    if rng.random() < 0.15:
        question = w.fill(rng.choice(w.sheet()["about_questions"]), name)
    else:
        question = w.fill(rng.choice(rng.choice(w.relations_of(thing)).questions), name)
    return asked(question, rng), DECLINE


def asked(question: str, rng: random.Random, framed: float = 0.25) -> str:
    """The question as people type it: framed, without its mark, in lower case."""
    if rng.random() < framed:
        question = rng.choice(w.sheet()["prefixes"]).replace("{q}", question)
    if rng.random() < 0.06:
        question = question.rstrip("?.")
    if rng.random() < 0.04:
        question = question[:1].lower() + question[1:]
    return question


def _arithmetic(rng: random.Random) -> tuple[str, str]:
    """Sums of up to two digits; never one that the suite asks."""
    kind = rng.choice(["addition", "addition", "subtraction"])
    top = rng.choice([20, 20, 99])
    while True:
        a, b = rng.randint(1, top), rng.randint(1, top)
        if kind == "subtraction":
            a, b = max(a, b), min(a, b)
        if a != b and f"{kind}/{a},{b}" not in _examined_sums():
            break
    item = _arithmetic_patterns()[kind]
    slots = {"{a}": str(a), "{b}": str(b), "{c}": str(a + b if kind == "addition" else a - b)}
    question, answer = rng.choice(item[0]), item[1]
    for slot, number in slots.items():
        question, answer = question.replace(slot, number), answer.replace(slot, number)
    return asked(question[:1].upper() + question[1:], rng, 0.1), answer


# --- passages and copying ---------------------------------------------------------------------


def passage(rng: random.Random, mix: Mix) -> str:
    """One to four new things, described, and asked about; what the passage does not say is
    declined."""
    things = []
    for _ in range(rng.choice([1, 1, 2, 2, 3])):
        kind = rng.choice(w.sheet()["classes"])
        things.append(w.new_entity(kind, rng, {}, w.unmet(kind, rng, mix.wild)))
    facts = [fact for thing in things for fact in thing.facts[: rng.randint(1, 4)]]
    if rng.random() < 0.5:
        rng.shuffle(facts)
    facts = facts[:6]
    text = rng.choice([" ", " ", "\n"]).join(fact.told(rng) for fact in facts)
    turns: Turns = []
    for index, fact in enumerate(rng.sample(facts, min(len(facts), rng.randint(1, 3)))):
        if rng.random() < 0.12:
            thing = next(t for t in things if t.name == fact.subject)
            relation = rng.choice(thing.absent or w.relations())
            question, answer = w.fill(rng.choice(relation.questions), thing.name), DECLINE
        else:
            question = w.fill(rng.choice(fact.relation.questions), fact.subject)
            answer = fact.answered()
        if index == 0:
            frame = rng.choice(w.sheet()["passage_prompts"])
            question = frame.replace("{passage}", text).replace("{q}", question)
        turns.append((question, answer))
    return render(turns, rng)


def copy(rng: random.Random, mix: Mix) -> str:
    """Repeat a sentence or a list of names, letter by letter right."""
    if rng.random() < 0.5:
        kind = rng.choice(w.sheet()["classes"])
        thing = w.new_entity(kind, rng, {}, w.unmet(kind, rng, mix.wild))
        text = " ".join(fact.told(rng) for fact in thing.facts[: rng.randint(1, 3)])
    else:
        classes = (rng.choice(w.sheet()["classes"]) for _ in range(rng.randint(1, 5)))
        text = ", ".join(w.unmet(kind, rng, mix.wild) for kind in classes)
    ask = rng.choice(["Repeat: {t}", "Say this again: {t}", "Copy this: {t}", "Repeat this. {t}"])
    return render([(ask.replace("{t}", text), text)], rng)


# --- what is generally known ------------------------------------------------------------------


@cache
def _examined_sums() -> frozenset[str]:
    return frozenset(item.id for item in suite() if item.kind in SUMS)


@cache
def _general() -> tuple[GeneralItem, ...]:
    """Every item but sums and differences, which ``_arithmetic`` makes."""
    return tuple(item for item in general_items() if item.kind not in SUMS)


@cache
def _arithmetic_patterns() -> dict[str, tuple[list[str], str]]:
    return {
        kind["kind"]: (kind["questions"], kind["answer"])
        for kind in kinds()
        if kind["topic"] == "arithmetic"
    }
