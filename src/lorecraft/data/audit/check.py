"""What a check is: it looks at some rows at a time, in any process, and tells what it saw."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from lorecraft.data.audit.finding import Finding, Severity, Spot
from lorecraft.data.audit.rows import Entry, Rows

KEPT = 10_000
"""Places that are kept of one kind of finding; all are counted."""
KINDS = 20
"""Kinds that are told apart; the rest are told as one."""


class Check(ABC):
    """One thing that is looked for."""

    name: ClassVar[str]

    @abstractmethod
    def look(self, entries: Sequence[Entry]) -> Any:
        """What is to be known of some rows; made in any process, so that it must be picklable."""

    @abstractmethod
    def take(self, looked: Any) -> None:
        """What ``look`` returned for the next rows, in their order."""

    def findings(self, rows: Rows) -> Iterator[Finding]:
        """What was found, after all rows have been seen."""
        return iter(())

    def figures(self, rows: Rows) -> dict[str, Any]:
        """What is worth a table or a picture, found or not; can be written as JSON."""
        return {}


class Kept:
    """The places of each kind of finding: all are counted, the first are kept."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.spots: dict[str, list[Spot]] = {}

    def add(self, kind: str, spot: Spot) -> None:
        self.counts[kind] += 1
        spots = self.spots.setdefault(kind, [])
        if len(spots) < KEPT:
            spots.append(spot)


Mark = tuple[str, str]
"""``(kind, why)``: what is wrong, in the same words for all such rows; what it is in this one."""


class Marks(Check):
    """A check that sees in a row alone what is wrong with it."""

    severity: ClassVar[Severity]

    def __init__(self) -> None:
        self._kept = Kept()

    @abstractmethod
    def marks(self, entry: Entry) -> Iterable[Mark]:
        """What is wrong with a row, each kind once."""

    def look(self, entries: Sequence[Entry]) -> list[tuple[str, int, str]]:
        return [(kind, entry.index, why) for entry in entries for kind, why in self.marks(entry)]

    def take(self, looked: list[tuple[str, int, str]]) -> None:
        for kind, index, why in looked:
            known = self._kept.counts
            told = kind in known or len(known) < KINDS
            self._kept.add(kind if told else "others", Spot((index,), why))

    def findings(self, rows: Rows) -> Iterator[Finding]:
        for kind, count in self._kept.counts.most_common():
            text = f"{kind}: {records(count)}"
            yield Finding(self.name, self.severity_of(kind), text, count, self._kept.spots[kind])

    def severity_of(self, kind: str) -> Severity:
        return self.severity


def records(count: int) -> str:
    """``1 record``, ``12,345 records``."""
    return f"{count:,} record" + "s" * (count != 1)


def share(part: int, whole: int) -> str:
    """A percentage, with a digit after the point where it is small."""
    percent = 100 * part / max(1, whole)
    return f"{percent:.1f}%" if 0 < percent < 10 else f"{percent:.0f}%"


def around(text: str, start: int, end: int, room: int = 24) -> str:
    """A piece of a text with what stands around it, on one line."""
    before, after = max(0, start - room), min(len(text), end + room)
    cut = text[before:after]
    return f"{'…' * (before > 0)}{' '.join(cut.split())}{'…' * (after < len(text))}"
