"""A token batch -> forward passes: the weighted rows, like rows together, no pass too large."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorecraft.data.batches import TokenBatch, flatten
from lorecraft.engines.torch.forward import Row

TOKENS = 2**14
"""Tokens of one forward pass; a larger batch takes several."""
LOGITS = 2**28
"""Elements of one pass's logits (512 MiB in bf16)."""


@dataclass(frozen=True)
class Scored:
    """A row with the tokens that it has to predict.

    Attributes:
        inputs: the row, without the tokens after which nothing is predicted.
        targets: int64 [N], the tokens to predict.
        weight: float32 [N].
        places: int64 [N], where the targets stand in the batch.
    """

    inputs: Row
    targets: NDArray[np.int64]
    weight: NDArray[np.float32]
    places: NDArray[np.int64]


def passes(batch: TokenBatch, vocabulary: int) -> Iterator[list[Scored]]:
    """All weighted rows, sorted by (adapter, length) and cut to what one pass may hold."""
    rows = sorted(_rows(batch), key=lambda r: (r.inputs.slot, len(r.inputs.tokens)))
    held: list[Scored] = []
    tokens = logits = 0
    for row in rows:
        more_tokens, more_logits = len(row.inputs.tokens), len(row.targets) * vocabulary
        if held and (tokens + more_tokens > TOKENS or logits + more_logits > LOGITS):
            yield held
            held, tokens, logits = [], 0, 0
        held.append(row)
        tokens, logits = tokens + more_tokens, logits + more_logits
    if held:
        yield held


def _rows(batch: TokenBatch) -> Iterator[Scored]:
    for segment, tokens, weight in flatten(batch):
        at = np.flatnonzero(weight)
        row = Row(tokens[: at[-1]], at - 1, int(batch.adapter[segment]))
        offset = int(batch.starts[segment + 1]) - len(tokens)
        yield Scored(row, tokens[at].astype(np.int64), weight[at], offset + at)
