"""What an audit finds, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
"""``error``: training or its proof suffers; ``warning``: look at it; ``note``: worth knowing."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Spot:
    """One place: the rows that it is about (one, a pair, a group), and what is there."""

    rows: tuple[int, ...]
    why: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        check: the check's name.
        text: a sentence with its figures.
        count: in how many places; ``spots`` may hold fewer.
    """

    check: str
    severity: Severity
    text: str
    count: int
    spots: Sequence[Spot] = ()
