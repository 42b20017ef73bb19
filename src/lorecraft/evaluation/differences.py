"""What differs between two models beyond chance, as claims."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lorecraft.evaluation import statistics

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Compared:
    """Two models in one measure, on the same groups of questions.

    Attributes:
        model, against: their names.
        before, after: the marks of each group summed, ``against``'s and ``model``'s.
        sizes: how many marks a group has.
    """

    measure: str
    model: str
    against: str
    before: Sequence[float]
    after: Sequence[float]
    sizes: Sequence[int]


def differences(
    tests: Sequence[Compared],
    chance: Callable[[Sequence[Any], Sequence[Any]], float],
    things: str,
    digits: int = 0,
) -> Iterator[dict[str, Any]]:
    """A claim for each that is significant when adjusted for all the tests (Holm).

    Args:
        chance: the p-value of ``(before, after)``.
        things: what was marked, in the plural.
        digits: of percentage points in the text.
    """
    adjusted = statistics.holm([chance(test.before, test.after) for test in tests])
    for test, p in zip(tests, adjusted, strict=True):
        if p >= SIGNIFICANT:
            continue
        difference, low, high = statistics.paired_difference(test.before, test.after, test.sizes)
        way = "higher" if difference > 0 else "lower"
        bounds = sorted((low, high) if difference > 0 else (-low, -high))
        points = [f"{100 * share:.{digits}f}" for share in (abs(difference), *bounds)]
        sure = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
        yield {
            "text": f"{test.measure.capitalize()} of {test.model} is {points[0]} points {way} than "
            f"of {test.against} on the same {sum(test.sizes)} {things} (95% interval {points[1]} "
            f"to {points[2]}, {sure}).",
            "kind": "difference",
            "measure": test.measure,
            "model": test.model,
            "against": test.against,
            "difference": difference,
            "low": low,
            "high": high,
            "p": p,
        }
