"""Packed segments that see themselves and what they continue, in buckets of like length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lorecraft.engines.torch import varlen
from lorecraft.engines.torch.attention import EVEN, Score, causal, is_plain, plain
from lorecraft.engines.torch.cache import Cache

WASTE = 1.3
"""How much longer than its tokens a padded bucket of segments may be,"""
SMALL = 2**17
"""unless all its scores together are as few as these: then one more operation costs more."""


class Segments:
    """Segments that see themselves causally, and those that they continue; fills these ``rows`` of
    a cache if there is one.

    Args:
        parents: the index of the segment that each continues, or -1. A parent stands before its
            children, and siblings are neighbours.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        device: str,
        parents: Sequence[int] = (),
        cache: Cache | None = None,
        rows: Sequence[int] = (),
    ) -> None:
        self._cache = cache
        parents = parents or [-1] * len(lengths)
        self._buckets = _buckets(lengths, parents, device)
        self._lines = varlen.Lines(lengths, parents, device)
        if cache is not None:
            each = torch.repeat_interleave(torch.tensor(rows), torch.tensor(lengths))
            self._rows = each.to(device)
            self._places = torch.from_numpy(positions(lengths, parents)).to(device)

    def attend(self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, how: Score) -> Tensor:
        q, k, v = (x[0].transpose(0, 1) for x in (q, k, v))
        if self._cache is not None:
            self._cache.write(module, k, v, self._rows, self._places)
        if varlen.serves(q, how):
            return varlen.attend(q, k, v, self._lines, how).unsqueeze(0)
        heads, split = torch.cat([q, k, v], 1), [x.shape[1] for x in (q, k, v)]
        mixed = []
        for bucket in self._buckets:
            blocks = [x.transpose(1, 2) for x in bucket.blocks(heads, split)]
            mixed.append(bucket.unpad(causal(blocks[0], blocks[1], blocks[2], how)))
        return torch.cat(mixed).unsqueeze(0)

    def mix(
        self, module: nn.Module, heads: Tensor, split: Sequence[int], how: Score, learns: bool
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """``attend``, for heads [T, H + 2 H_kv, D]: queries, keys and values, so many of each.

        Returns [T, H * D], and what makes its gradient into that of the heads, if it learns.
        """
        if self._cache is not None:
            _, k, v = heads.split([*split], 1)
            self._cache.write(module, k, v, self._rows, self._places)
        mixed, backs = [], []
        for bucket in self._buckets:
            blocks = bucket.blocks(heads, split)
            attention = plain if is_plain(blocks[1].shape[1], heads, how) else _by_autograd
            block, back = attention(blocks[0], blocks[1], blocks[2], how, learns)
            mixed.append(bucket.unpad(block))
            backs.append(back)
        shape = heads.shape

        def backward(d: Tensor) -> Tensor:
            d_heads = d.new_empty(shape)
            for bucket, back in zip(self._buckets, backs, strict=True):
                bucket.take_back(d_heads, split, back(bucket.pad(d[bucket.own])))
            return d_heads

        return torch.cat(mixed), backward


@dataclass(frozen=True)
class _Bucket:
    """Neighbouring segments, attended to as a block [count, length]; all continue the same ones.

    ``slots`` [tokens] says where each token stands in the padded block; None when all segments
    are equally long. Padding stands on the right, so causality alone hides it. ``before`` is where
    the tokens stand that come before all of them, in order.
    """

    own: slice
    count: int
    length: int
    slots: Tensor | None
    before: list[slice]

    def blocks(self, heads: Tensor, split: Sequence[int]) -> list[Tensor]:
        """[T, H + 2 H_kv, D] -> queries [count, length, H, D], and all keys and values they see."""
        own = self.pad(heads[self.own]).split([*split], 2)
        if not self.before:
            return list(own)
        shared = torch.cat([heads[part] for part in self.before])
        shared = shared.expand(self.count, *shared.shape)
        _, *seen = shared.split([*split], 2)
        return [own[0], *(torch.cat(pair, 1) for pair in zip(seen, own[1:], strict=True))]

    def take_back(self, d_heads: Tensor, split: Sequence[int], blocks: Sequence[Tensor]) -> None:
        """Set the heads' gradient from those of the blocks, and add to that of what came before,
        which is set already."""
        d_heads[self.own] = self.unpad(torch.cat([b[:, -self.length :] for b in blocks], 2))
        seen, first = torch.cat([*blocks[1:]], 2) if self.before else d_heads, 0
        for part in self.before:
            last = first + part.stop - part.start
            d_heads[part, split[0] :] += seen[:, first:last].sum(0)
            first = last

    def pad(self, x: Tensor) -> Tensor:
        """[tokens, ...] -> [count, length, ...]."""
        if self.slots is not None:
            x = _Scatter.apply(x, self.slots, self.count * self.length)
        return x.reshape(self.count, self.length, *x.shape[1:])

    def unpad(self, x: Tensor) -> Tensor:
        """[count, length, ...] -> [tokens, ...]."""
        x = x.reshape(self.count * self.length, *x.shape[2:])
        return x if self.slots is None else _Gather.apply(x, self.slots)


def positions(lengths: Sequence[int], parents: Sequence[int]) -> NDArray[np.int64]:
    """Each token's position, counted from its segment's first ancestor."""
    ends: list[int] = []
    for length, parent in zip(lengths, parents, strict=True):
        ends.append(length + (ends[parent] if parent >= 0 else 0))
    return np.concatenate(
        [np.arange(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    )


def _by_autograd(
    q: Tensor, k: Tensor, v: Tensor, how: Score, learns: bool
) -> tuple[Tensor, Callable[[Tensor], Sequence[Tensor]]]:
    """``plain``, for what that is not made for."""
    with torch.set_grad_enabled(learns):
        given = [x.detach().requires_grad_(learns) for x in (q, k, v)]
        q, k, v = (x.transpose(1, 2) for x in given)
        mixed = causal(q, k, v, how).flatten(2)
    return mixed.detach(), lambda d: torch.autograd.grad(mixed, given, d)


def _buckets(lengths: Sequence[int], parents: Sequence[int], device: str) -> list[_Bucket]:
    """The segments in order: siblings together, those that continue nothing by their lengths."""
    ends = list(accumulate(lengths, initial=0))
    buckets = []
    for parent, group in groupby(range(len(lengths)), key=lambda index: parents[index]):
        family, above = list(group), parent
        before: list[slice] = []
        while above >= 0:
            before.insert(0, slice(ends[above], ends[above + 1]))
            above = parents[above]
        sizes, first = [lengths[index] for index in family], ends[family[0]]
        for some in _alike(sizes):
            buckets.append(_bucket(some, first, device, before))
            first += sum(some)
    return buckets


def _alike(lengths: Sequence[int]) -> list[Sequence[int]]:
    """Cut into runs that waste little when padded to their longest."""
    runs, start = [], 0
    while start < len(lengths):
        stop, longest, total = start + 1, lengths[start], lengths[start]
        while stop < len(lengths):
            wider, more = max(longest, lengths[stop]), total + lengths[stop]
            padded = wider * (stop + 1 - start)
            if padded > WASTE * more and wider * padded > SMALL:
                break
            stop, longest, total = stop + 1, wider, more
        runs.append(lengths[start:stop])
        start = stop
    return runs


def _bucket(lengths: Sequence[int], first: int, device: str, before: list[slice]) -> _Bucket:
    count, total, longest = len(lengths), sum(lengths), max(lengths)
    slots, longest = None, longest + -longest % EVEN
    if longest * count != total:
        each = [n * longest + torch.arange(length) for n, length in enumerate(lengths)]
        slots = torch.cat(each).to(device)
    return _Bucket(slice(first, first + total), count, longest, slots, before)


class _Scatter(torch.autograd.Function):
    """[tokens, ...] -> [room, ...], zero where no token stands; backward gathers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slots: Tensor, room: int) -> Tensor:
        ctx.slots = slots
        return x.new_zeros(room, *x.shape[1:]).index_copy_(0, slots, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, ctx.slots), None, None


class _Gather(torch.autograd.Function):
    """The inverse of ``_Scatter``: plain indexing would add up in backward, which is slow."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slots: Tensor) -> Tensor:
        ctx.slots, ctx.room = slots, len(x)
        return x.index_select(0, slots)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        room = gradient.new_zeros(ctx.room, *gradient.shape[1:])
        return room.index_copy_(0, ctx.slots, gradient), None
