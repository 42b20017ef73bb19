"""Token batches: the one shape in which work reaches an engine (NumPy, no padding)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Example:
    """One tokenised record.

    Attributes:
        tokens: int32 [T].
        weight: float32 [T]; weight of predicting ``tokens[i]`` from those before it. ``weight[0]``
            is always 0, because nothing comes before the first token.
        record: id of the record that it was made from.
        answers: where each of several answers begins, all to what stands before the first.
    """

    tokens: NDArray[np.int32]
    weight: NDArray[np.float32]
    record: str
    answers: tuple[int, ...] = ()

    def conversations(self) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Tokens and weights of each answer with what stands before it; one, if it is no pair."""
        starts = self.answers or (0,)
        found = []
        for start, end in pairwise((*starts, len(self.tokens))):
            kept = np.r_[: starts[0], start:end]
            found.append((self.tokens[kept], self.weight[kept]))
        return found


@dataclass(frozen=True)
class TokenBatch:
    """A forest of token segments.

    Attributes:
        tokens: int32 [T], all segments one after another.
        starts: int32 [S+1], where each segment begins; ``starts[S] == T``.
        parent: int32 [S], the earlier segment whose tokens come before this one's, or -1.
        adapter: int32 [S], the attached adapter slot that it runs under, -1 = the base alone.
        weight: float32 [T], weight of predicting this token; 0 = not trained or scored.
    """

    tokens: NDArray[np.int32]
    starts: NDArray[np.int32]
    parent: NDArray[np.int32]
    adapter: NDArray[np.int32]
    weight: NDArray[np.float32]

    @property
    def segments(self) -> int:
        return len(self.parent)

    def segment(self, index: int) -> slice:
        """Where segment ``index`` stands in ``tokens`` and ``weight``."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))


def pack(examples: Sequence[Example], adapter: int) -> TokenBatch:
    """Examples -> one batch, one root segment each and one for each of its answers, all under one
    adapter slot."""
    lengths: list[int] = []
    parent: list[int] = []
    for example in examples:
        root = len(parent)
        lengths += np.diff([0, *example.answers, len(example.tokens)]).tolist()
        parent += [-1] + [root] * len(example.answers)
    return TokenBatch(
        tokens=np.concatenate([example.tokens for example in examples]).astype(np.int32),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        parent=np.array(parent, np.int32),
        adapter=np.full(len(parent), adapter, np.int32),
        weight=np.concatenate([example.weight for example in examples]).astype(np.float32),
    )


def flatten(batch: TokenBatch) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.float32]]]:
    """Forest -> rows, for an engine that cannot share a parent.

    Yields ``(segment, tokens, weight)`` for each segment that has a weight: ``tokens`` are its
    ancestors' tokens and its own; the ancestors' weights are 0 there, since each token is scored
    once, in its own segment.
    """
    for index in range(batch.segments):
        own = batch.segment(index)
        if not batch.weight[own].any():
            continue
        tokens, before = [batch.tokens[own]], int(batch.parent[index])
        while before >= 0:
            tokens.insert(0, batch.tokens[batch.segment(before)])
            before = int(batch.parent[before])
        prefix = sum(map(len, tokens[:-1]))
        weight = np.concatenate([np.zeros(prefix, np.float32), batch.weight[own]])
        yield index, np.concatenate(tokens), weight
