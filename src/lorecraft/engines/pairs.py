"""What a loss on pairs of segments asks of an engine, the same for every engine."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lorecraft.data.batches import TokenBatch
from lorecraft.engines.base import LossSum, PairObjective

Float64 = NDArray[np.float64]


def segment_of(batch: TokenBatch, places: NDArray[np.integer]) -> NDArray[np.intp]:
    """The segment that each token stands in."""
    return np.searchsorted(batch.starts, places, side="right") - 1


def summed(
    batch: TokenBatch, log: NDArray[np.floating], places: NDArray[np.integer] | None = None
) -> Float64:
    """[S], each segment's sum of weight x log-probability, of the log-probabilities of all tokens,
    or of those at some places."""
    places = np.arange(len(log)) if places is None else places
    sums = np.zeros(batch.segments)
    np.add.at(sums, segment_of(batch, places), batch.weight[places].astype(np.float64) * log)
    return sums


def check_pairs(batch: TokenBatch, objective: PairObjective | None, trainable: int) -> None:
    """Raises ValueError when a segment of a pair is not under the trainable slot."""
    if objective is not None and (batch.adapter[objective.pairs] != trainable).any():
        raise ValueError("a segment of a pair is not under the trainable slot")


@dataclass
class Pairwise:
    """An objective on a batch that comes in passes; a pair's segments come in the same one."""

    batch: TokenBatch
    objective: PairObjective
    total: float = 0.0
    sums: Float64 = field(init=False)

    def __post_init__(self) -> None:
        self.sums = np.full(self.objective.pairs.shape, np.nan)

    def factors(self, places: NDArray[np.integer], log: NDArray[np.floating]) -> Float64:
        """[N]: how much more than a token's own weight the gradient of its -log p weighs, of a
        pass's weighted tokens and their log-probabilities."""
        segment, pairs = segment_of(self.batch, places), self.objective.pairs
        sums = summed(self.batch, log, places)
        there = np.flatnonzero(np.isin(pairs, segment).any(1))
        losses, slopes = self.objective(there, sums[pairs[there]])
        self.total += float(losses.sum())
        self.sums[there] = sums[pairs[there]]
        slope = np.zeros(self.batch.segments)
        np.add.at(slope, pairs[there], slopes)
        return -slope[segment]

    def loss(self) -> LossSum:
        return LossSum(self.total, float(len(self.sums)), self.sums)
