"""How far a figure can be trusted: intervals and paired tests. Pure; imports nothing of ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 4000


def wilson(passed: int, asked: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate (Wilson 1927), as shares 0..1.

    It stays inside 0..1 and is honest at 0 and 100%. Nothing asked gives (0, 1): nothing is known.
    Raises ValueError unless ``0 <= passed <= asked``.
    """
    if not 0 <= passed <= asked:
        raise ValueError(f"{passed} passed of {asked} asked is no rate")
    if asked == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = passed / asked
    centre = rate + z * z / (2 * asked)
    spread = z * math.sqrt(rate * (1 - rate) / asked + z * z / (4 * asked * asked))
    scale = 1 + z * z / asked
    low = 0.0 if passed == 0 else (centre - spread) / scale
    high = 1.0 if passed == asked else (centre + spread) / scale
    return low, high


def mcnemar(before: Sequence[bool], after: Sequence[bool]) -> float:
    """Two-sided exact p-value that two models do equally well on the same questions.

    Only the questions on which they differ count (McNemar 1947, with the exact binomial).
    """
    gained, lost = _discordant(before, after)
    differing = gained + lost
    if differing == 0:
        return 1.0
    tail = sum(math.comb(differing, k) for k in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / 2**differing)


def paired_difference(
    before: Sequence[bool], after: Sequence[bool], *, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float, float]:
    """``(difference, low, high)`` of two rates on the same questions, as shares -1..1.

    The interval is a percentile bootstrap over questions (Efron 1979), so that a question's two
    answers stay together. Raises ValueError when the lengths differ or nothing was asked.
    """
    gained, lost = _discordant(before, after)
    asked = len(before)
    if asked == 0:
        raise ValueError("no questions, no difference")
    # A question's difference is +1, -1 or 0, so a resample is one multinomial draw.
    shares = [gained / asked, lost / asked, (asked - gained - lost) / asked]
    draws = np.random.default_rng(seed).multinomial(asked, shares, size=RESAMPLES)
    low, high = _percentiles((draws[:, 0] - draws[:, 1]) / asked, confidence)
    return (gained - lost) / asked, low, high


def perplexity(
    nats: ArrayLike, tokens: ArrayLike, *, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float, float]:
    """``(perplexity, low, high)`` over texts with ``nats`` [N] of surprise in ``tokens`` [N].

    The perplexity is that of all tokens together; the interval resamples whole texts.
    """
    surprise, count = np.asarray(nats, float), np.asarray(tokens, float)
    if surprise.shape != count.shape or count.sum() == 0:
        raise ValueError(f"{surprise.shape} surprises and {count.shape} token counts do not pair")
    picks = np.random.default_rng(seed).integers(0, len(count), size=(RESAMPLES, len(count)))
    means = surprise[picks].sum(axis=1) / count[picks].sum(axis=1)
    low, high = _percentiles(np.exp(means), confidence)
    return float(np.exp(surprise.sum() / count.sum())), low, high


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for having tested several things (Holm 1979), in the order given."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _discordant(before: Sequence[bool], after: Sequence[bool]) -> tuple[int, int]:
    """How many questions were (gained, lost)."""
    pairs = list(zip(before, after, strict=True))
    return sum(b < a for b, a in pairs), sum(b > a for b, a in pairs)


def _percentiles(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)
