"""Which steps stand out, so that their records can be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

WINDOW, LEAST = 50, 10
"""How many steps before are compared with, at most and at least."""
LIMIT = 3.5
FLOOR = 0.01


def spike(loss: float, before: Sequence[float]) -> float | None:
    """The median of the last losses ``before``, if ``loss`` is a spike over them; else None.

    A spike's modified z-score, 0.6745 (loss - median) / MAD, is above 3.5 (Iglewicz & Hoaglin 1993,
    How to Detect and Handle Outliers). Median and MAD, unlike mean and deviation, are not moved by
    the spikes before. A MAD below 1% of the median counts as that.
    """
    recent = before[-WINDOW:]
    if len(recent) < LEAST:
        return None
    usual = median(recent)
    spread = max(median(abs(other - usual) for other in recent), FLOOR * usual)
    return usual if 0.6745 * (loss - usual) > LIMIT * spread else None
