"""The order in which examples are trained."""

from __future__ import annotations

import random
from collections.abc import Sequence

_WINDOW = 8


def epoch_batches(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int
) -> list[list[int]]:
    """Every index once, in batches of ``batch_size`` (the last may be smaller).

    The order is a shuffle that depends on ``seed`` and ``epoch`` alone. Within windows of a few
    batches, examples are dealt out longest first, so that batches hold about as many tokens: peak
    memory and the time of a step stay even.
    """
    order = list(range(len(lengths)))
    random.Random(f"{seed}/epoch {epoch}").shuffle(order)
    whole = len(order) // batch_size * batch_size
    batches: list[list[int]] = []
    for start in range(0, whole, _WINDOW * batch_size):
        window = order[start : min(start + _WINDOW * batch_size, whole)]
        batches += _deal(window, lengths, len(window) // batch_size)
    return batches + ([order[whole:]] if whole < len(order) else [])


def _deal(window: list[int], lengths: Sequence[int], hands: int) -> list[list[int]]:
    """Equal hands, dealt to and fro so that no hand gets the longest of every round."""
    ordered = sorted(window, key=lambda index: -lengths[index])
    dealt: list[list[int]] = [[] for _ in range(hands)]
    for turn, index in enumerate(ordered):
        round_, seat = divmod(turn, hands)
        dealt[seat if round_ % 2 == 0 else hands - 1 - seat].append(index)
    return dealt
