"""The choice of the next token: what may not come, and draws where it is not the most probable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lorecraft.engines.base import Request

Float64 = NDArray[np.float64]


def forbidden(request: Request, text: Sequence[int]) -> Iterator[int]:
    """The tokens that would complete a banned sequence after ``text``, prompt and answer so far."""
    for *before, last in request.banned:
        if not before or before == list(text[-len(before) :]):
            yield last


def draw(logits: NDArray[np.floating], request: Request, uniform: float) -> int:
    """The token that ``uniform`` in [0, 1) stands for, among the logits [V] of every token."""
    scaled = logits.astype(np.float64) / request.temperature
    order = np.argsort(-scaled, kind="stable")
    highest = scaled[order]
    total = highest[0] + np.log(np.exp(highest - highest[0]).sum())
    found = draw_among(np.exp(highest - total), len(order), request, uniform)
    assert found is not None
    return int(order[found])


def draw_among(
    probability: Float64, vocabulary: int, request: Request, uniform: float
) -> int | None:
    """Which of the most probable tokens is drawn; None where more of them have to be known.

    Every setting keeps a beginning of the descending order: ``top_k`` so many tokens, ``top_p`` as
    many as reach that share of what top_k left, ``min_p`` those at least that share as probable as
    the first. The token is found by cumulative probability among what is kept: one uniform number
    each, whatever stands in the batch beside.

    Args:
        probability: of the most probable tokens, in descending order; of all, their sum is 1.
        vocabulary: how many tokens there are in all.
    """
    known = len(probability)
    if known < min(request.top_k, vocabulary):
        return None
    cumulative = np.cumsum(probability)
    all_of_them = vocabulary if known == vocabulary else known + 1
    kept = min(request.top_k or all_of_them, all_of_them)
    if request.top_p < 1:
        whole = cumulative[kept - 1] if kept <= known else 1.0
        kept = min(kept, int(np.searchsorted(cumulative, request.top_p * whole)) + 1)
    if request.min_p > 0:
        likely = int((probability >= request.min_p * probability[0]).sum())
        kept = min(kept, likely if likely < known else all_of_them)
    if kept > known and (request.top_p < 1 or request.min_p > 0):
        return None
    mass = cumulative[kept - 1] if kept <= known else 1.0
    found = int(np.searchsorted(cumulative, uniform * mass, side="right"))
    if found < min(kept, known):
        return found
    return None if kept > known else kept - 1
