"""Which examples each optimiser step sees."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from lorecraft.data.order import epoch_batches
from lorecraft.recipe.schema import StageSection


def total_steps(examples: int, stage: StageSection) -> int:
    """Optimiser steps of a stage with so many training examples."""
    steps = stage.epochs * steps_per_epoch(examples, stage)
    return min(steps, stage.limits.steps or steps)


def steps_per_epoch(examples: int, stage: StageSection) -> int:
    """Optimiser steps that see each of so many training examples once."""
    return math.ceil(math.ceil(examples / stage.batch_size) / stage.accumulate)


def step_batches(
    lengths: Sequence[int], stage: StageSection, seed: int, step: int = 0
) -> Iterator[list[list[int]]]:
    """The micro-batches of each optimiser step from ``step`` on, without end: indices of examples,
    whose lengths are given."""
    per_epoch = steps_per_epoch(len(lengths), stage)
    epoch, position = divmod(step, per_epoch)
    while True:
        batches = epoch_batches(lengths, stage.batch_size, seed, epoch)
        for index in range(position, per_epoch):
            first = index * stage.accumulate
            yield batches[first : first + stage.accumulate]
        epoch, position = epoch + 1, 0


def pieces(indices: list[int], count: int) -> list[list[int]]:
    """``indices`` in at most so many parts of like size."""
    size = math.ceil(len(indices) / count)
    return [indices[start : start + size] for start in range(0, len(indices), size)]
