"""How far a figure can be trusted: intervals and paired tests. Pure; imports nothing of ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 4000


def wilson(
    passed: int, asked: int, confidence: float = 0.95, *, size: float | None = None
) -> tuple[float, float]:
    """Wilson's score interval of a rate (Wilson 1927), as shares 0..1.

    It stays inside 0..1 and is honest at 0 and 100%. Nothing asked gives (0, 1): nothing is known.
    ``size`` is what the questions are worth as independent ones (``effective_size``), if they are
    not. Raises ValueError unless ``0 <= passed <= asked``.
    """
    if not 0 <= passed <= asked:
        raise ValueError(f"{passed} passed of {asked} asked is no rate")
    if asked == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, size = passed / asked, size or asked
    centre = rate + z * z / (2 * size)
    spread = z * math.sqrt(rate * (1 - rate) / size + z * z / (4 * size * size))
    scale = 1 + z * z / size
    low = 0.0 if passed == 0 else (centre - spread) / scale
    high = 1.0 if passed == asked else (centre + spread) / scale
    return low, high


def effective_size(groups: Sequence[Sequence[bool]]) -> float:
    """How many independent questions these are worth, when those of a group (two phrasings about
    one fact) tend to pass or fail together: their number over Kish's (1965) design effect.

    At least one a group; just that when all pass or all fail, since then nothing tells more.
    """
    asked, passed = sum(map(len, groups)), sum(map(sum, groups))
    if passed in (0, asked) or len(groups) < 2:
        return float(len(groups))
    rate = passed / asked
    between = sum((sum(group) - rate * len(group)) ** 2 for group in groups)
    between *= len(groups) / (len(groups) - 1)
    effect = between / (asked * rate * (1 - rate))
    return min(float(asked), max(float(len(groups)), asked / max(effect, 1e-9)))


def mcnemar(before: Sequence[int], after: Sequence[int]) -> float:
    """Two-sided exact p-value that two models do equally well on the same questions, or groups of
    questions (then the marks are how many of a group passed).

    Only those on which they differ count (McNemar 1947, with the exact binomial).
    """
    gained, lost = _discordant(before, after)
    differing = gained + lost
    if differing == 0:
        return 1.0
    tail = sum(math.comb(differing, k) for k in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / 2**differing)


def paired_difference(
    before: Sequence[float],
    after: Sequence[float],
    sizes: Sequence[int] | None = None,
    *,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """``(difference, low, high)`` of two rates on the same groups of questions, as shares -1..1.

    The interval is a percentile bootstrap over groups (Efron 1979), so that what belongs together
    stays together. Where all groups agree a resample says nothing; then it is Wilson's, of a share
    seen in every group.

    Args:
        before, after: how many of each group passed, or the sums of their marks.
        sizes: how many were asked; one each if not given.

    Raises ValueError when the lengths differ or nothing was asked.
    """
    change = np.array([a - b for b, a in zip(before, after, strict=True)], float)
    asked = np.ones(len(change)) if sizes is None else np.array(sizes, float)
    if len(asked) != len(change) or asked.sum() == 0:
        raise ValueError(f"{len(change)} groups with {len(asked)} sizes: no difference")
    difference = float(change.sum() / asked.sum())
    picks = np.random.default_rng(seed).integers(0, len(asked), size=(RESAMPLES, len(asked)))
    means = change[picks].sum(axis=1) / asked[picks].sum(axis=1)
    low, high = _percentiles(means, confidence)
    if low == high:
        bound = wilson(len(asked), len(asked), confidence)[0]
        low, high = sorted((difference * bound, difference))
    return difference, low, high


def mean(
    groups: Sequence[Sequence[float]], *, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float, float]:
    """``(mean, low, high)`` of all marks; the interval resamples whole groups, so that marks of one
    thing count together. Where all groups agree it is Wilson's, of a share seen in every group."""
    sums, sizes = (np.array([f(group) for group in groups], float) for f in (sum, len))
    value = float(sums.sum() / sizes.sum())
    picks = np.random.default_rng(seed).integers(0, len(sizes), size=(RESAMPLES, len(sizes)))
    low, high = _percentiles(sums[picks].sum(axis=1) / sizes[picks].sum(axis=1), confidence)
    if low == high:
        reach = wilson(0, len(sizes), confidence)[1]
        low, high = max(0.0, value - reach), min(1.0, value + reach)
    return value, low, high


def randomisation(before: Sequence[float], after: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p-value that it is chance which of two models has which mark of a group: signs of
    the differences are drawn anew (Fisher 1935)."""
    change = np.array([a - b for b, a in zip(before, after, strict=True)], float)
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(RESAMPLES, len(change)))
    extreme = np.abs(signs @ change) >= abs(change.sum()) - 1e-9
    return float((extreme.sum() + 1) / (RESAMPLES + 1))


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


def _discordant(before: Sequence[int], after: Sequence[int]) -> tuple[int, int]:
    """How many questions, or groups, were (gained, lost)."""
    pairs = list(zip(before, after, strict=True))
    return sum(b < a for b, a in pairs), sum(b > a for b, a in pairs)


def _percentiles(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)
