"""What becomes of what is bad in a source: all of it is refused at once, or left out and told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lorecraft.errors import DataError

Bad = Callable[[DataError, str, int], None]
"""Is told what is bad, in what unit and how many. When it returns, the rest is used."""


def strict(error: DataError, unit: str, count: int) -> None:
    """Use nothing of a source in which something is bad."""
    raise error


@dataclass(frozen=True)
class LeftOut:
    """Some of a source, in words: ``seen`` names each, or the first 20 of very many."""

    unit: str
    count: int
    seen: str

    @property
    def told(self) -> str:
        return f"left out: {self.count} {self.unit}{'s' if self.count > 1 else ''}"


class LeaveOut:
    """Uses the rest of a source in which something is bad; ``found`` says what that was."""

    def __init__(self) -> None:
        self.found: list[LeftOut] = []

    def __call__(self, error: DataError, unit: str, count: int) -> None:
        self.found.append(LeftOut(unit, count, error.seen))
