"""Several mistakes told at once, and the name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from lorecraft.errors import DataError

MISTAKES_SHOWN = 20
_MANY = 10_000


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'mayor'?``, or nothing where no known name is near."""
    names = list(known)
    if len(names) > _MANY:  # to compare with a million takes minutes
        names = [
            other for other in names if abs(len(other) - len(name)) < 3 and other[:2] == name[:2]
        ]
    near = get_close_matches(name, names, 1)
    return f"; did you mean '{near[0]}'?" if near else ""


def refuse(mistakes: Sequence[str], expected: str) -> None:
    """Raises DataError with the first of the mistakes, if there is any."""
    if mistakes:
        hidden = len(mistakes) - MISTAKES_SHOWN
        more = [f"and {hidden} more"] if hidden > 0 else []
        raise DataError("\n".join([*mistakes[:MISTAKES_SHOWN], *more]), expected)
