"""General knowledge: what a fine-tune should not cost.

One fixed list, split once and for all by item: the *suite* examines retention and is never mixed
into training; the *rehearsal* items are mixed in. Both ask in several phrasings, and the exam in
phrasings that no training uses. The embedded model is trained on all of it but the sums and
differences of the suite, which it has to work out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

SUITE_SHARE = {"addition": 0.2, "subtraction": 0.15, "multiplication": 0.2}
"""Share of a kind's items that examine; of every kind not named here, a third."""


@dataclass(frozen=True)
class GeneralItem:
    """One thing that is generally known.

    Attributes:
        id: ``kind/what``, unique.
        topic: ``world``, ``language``, ``science``, ``definitions``, ``python``, ``arithmetic``,
            ``everyday``, ``greetings`` or ``identity``.
        questions: full questions for training.
        held_out: full questions for the exam; never trained by anybody.
        answer: a full answer sentence.
        accept: a right answer contains one of these.
        statements: the same, told.
    """

    id: str
    kind: str
    topic: str
    questions: tuple[str, ...]
    held_out: tuple[str, ...]
    answer: str
    accept: tuple[str, ...]
    statements: tuple[str, ...] = ()


def suite() -> tuple[GeneralItem, ...]:
    """The items that examine retention."""
    return tuple(item for item in general_items() if _examines(item))


def rehearsal() -> tuple[GeneralItem, ...]:
    """The items that may be mixed into training."""
    return tuple(item for item in general_items() if not _examines(item))


@cache
def general_items() -> tuple[GeneralItem, ...]:
    """All items, in a fixed order."""
    return tuple(item for kind in kinds() for item in _items(kind))


@cache
def kinds() -> list[dict[str, Any]]:
    """``general.yaml`` as it is written: each kind with its patterns and rows."""
    text = files("lorecraft.knowledge").joinpath("general.yaml").read_text("utf-8")
    return list(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["kinds"])


def _items(kind: dict[str, Any]) -> Iterator[GeneralItem]:
    if kind["topic"] == "arithmetic":
        for sum_ in _sums(kind["kind"]):
            a, b, c = sum_
            yield _filled(kind, f"{a},{b}", {"a": str(a), "b": str(b), "c": str(c)}, [str(c)])
        return
    for x, row in kind.get("rows", {}).items():
        row = row if isinstance(row, dict) else {"y": row}
        y = str(row["y"])
        accept = [*(() if kind["topic"] == "definitions" else [y]), *row.get("accept", [])]
        yield _filled(kind, str(x), {"x": str(x), "y": y}, [str(a) for a in accept] or [y])
    for item in kind.get("items", []):
        yield GeneralItem(
            id=f"{kind['kind']}/{item['id']}",
            kind=kind["kind"],
            topic=kind["topic"],
            questions=tuple(item["questions"]),
            held_out=tuple(item["held_out"]),
            answer=item["answer"],
            accept=tuple(item["accept"]),
        )


def _filled(
    kind: dict[str, Any], what: str, slots: dict[str, str], accept: list[str]
) -> GeneralItem:
    return GeneralItem(
        id=f"{kind['kind']}/{what}",
        kind=kind["kind"],
        topic=kind["topic"],
        questions=tuple(fill(pattern, slots) for pattern in kind["questions"]),
        held_out=tuple(fill(pattern, slots) for pattern in kind["held_out"]),
        answer=fill(kind["answer"], slots),
        accept=tuple(accept),
        statements=tuple(fill(pattern, slots) for pattern in kind.get("statements", [])),
    )


def _sums(kind: str) -> Iterator[tuple[int, int, int]]:
    """``(a, b, result)``: sums and differences within 20, products within the 10 x 10 table."""
    if kind == "addition":
        yield from ((a, b, a + b) for a in range(1, 21) for b in range(1, 21 - a))
    elif kind == "subtraction":
        yield from ((a, b, a - b) for a in range(2, 21) for b in range(1, a))
    else:
        yield from ((a, b, a * b) for a in range(2, 11) for b in range(2, 11))


def _examines(item: GeneralItem) -> bool:
    digest = hashlib.sha256(item.id.encode()).digest()
    return digest[0] < 256 * SUITE_SHARE.get(item.kind, 1 / 3)


def fill(pattern: str, slots: dict[str, str]) -> str:
    """``pattern`` with its slots filled and its first letter upper-cased."""
    for name, value in slots.items():
        pattern = pattern.replace("{" + name + "}", value)
    return pattern[:1].upper() + pattern[1:]
