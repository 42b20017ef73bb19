"""Packed segments that see only themselves, in buckets of like length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lorecraft.engines.torch.attention import EVEN, Score, causal, is_plain, plain
from lorecraft.engines.torch.cache import Cache

WASTE = 1.3
"""How much longer than its tokens a padded bucket of segments may be,"""
SMALL = 2**17
"""unless all its scores together are as few as these: then one more operation costs more."""


@dataclass(frozen=True)
class _Bucket:
    """Neighbouring segments of like length, attended to as [count, length].

    ``slots`` [tokens] says where each token stands in the padded block; None when all segments
    are equally long. Padding stands on the right, so causality alone hides it.
    """

    first: int
    last: int
    count: int
    length: int
    slots: Tensor | None


class Segments:
    """Segments that see only themselves, causally; fills these ``rows`` of a cache if there is
    one."""

    def __init__(
        self,
        lengths: Sequence[int],
        device: str,
        cache: Cache | None = None,
        rows: Sequence[int] = (),
    ) -> None:
        self._cache = cache
        self._buckets = _buckets(lengths, device)
        if cache is not None:
            each = torch.repeat_interleave(torch.tensor(rows), torch.tensor(lengths))
            self._rows = each.to(device)
            self._places = torch.cat([torch.arange(length) for length in lengths]).to(device)

    def attend(self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, how: Score) -> Tensor:
        q, k, v = (x[0].transpose(0, 1) for x in (q, k, v))
        if self._cache is not None:
            self._cache.write(module, k, v, self._rows, self._places)
        mixed = []
        for bucket in self._buckets:
            part = slice(bucket.first, bucket.last)
            block = causal(*(_pad(x[part], bucket) for x in (q, k, v)), how=how)
            mixed.append(_unpad(block, bucket))
        return (mixed[0] if len(mixed) == 1 else torch.cat(mixed)).unsqueeze(0)

    def learn(
        self, module: nn.Module, heads: Tensor, split: Sequence[int], how: Score
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """``attend``, for heads [T, H + 2 H_kv, D]: queries, keys and values, so many of each.

        Returns [T, H * D], and what makes its gradient into that of the heads.
        """
        if any(not is_plain(bucket.length, heads, how) for bucket in self._buckets):
            return self._learn_by_autograd(module, heads, split, how)
        mixed, backs = [], []
        for bucket in self._buckets:
            block, back = plain(_pad_flat(heads[bucket.first : bucket.last], bucket), split, how)
            mixed.append(_unpad_flat(block, bucket))
            backs.append(back)

        def backward(d: Tensor) -> Tensor:
            parts = []
            for bucket, back in zip(self._buckets, backs, strict=True):
                block = back(_pad_flat(d[bucket.first : bucket.last], bucket))
                parts.append(_unpad_flat(block, bucket))
            return torch.cat(parts).view(heads.shape)

        return torch.cat(mixed), backward

    def _learn_by_autograd(
        self, module: nn.Module, heads: Tensor, split: Sequence[int], how: Score
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        with torch.enable_grad():
            heads = heads.detach().requires_grad_()
            q, k, v = (part.transpose(0, 1)[None] for part in heads.split(list(split), 1))
            mixed = self.attend(module, q, k, v, how)[0].flatten(1)
        return mixed.detach(), lambda d: torch.autograd.grad(mixed, heads, d)[0]


def _buckets(lengths: Sequence[int], device: str) -> list[_Bucket]:
    """Cut the segments, in order, into runs that waste little when padded to their longest."""
    buckets, first, start = [], 0, 0
    while start < len(lengths):
        stop, longest, total = start + 1, lengths[start], lengths[start]
        while stop < len(lengths):
            wider, more = max(longest, lengths[stop]), total + lengths[stop]
            padded = wider * (stop + 1 - start)
            if padded > WASTE * more and wider * padded > SMALL:
                break
            stop, longest, total = stop + 1, wider, more
        slots, longest = None, longest + -longest % EVEN
        if longest * (stop - start) != total:
            each = [n * longest + torch.arange(lengths[start + n]) for n in range(stop - start)]
            slots = torch.cat(each).to(device)
        buckets.append(_Bucket(first, first + total, stop - start, longest, slots))
        start, first = stop, first + total
    return buckets


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


def _pad(x: Tensor, bucket: _Bucket) -> Tensor:
    """[tokens, H, D] -> [count, H, length, D]."""
    if bucket.slots is not None:
        x = _Scatter.apply(x, bucket.slots, bucket.count * bucket.length)
    return x.reshape(bucket.count, bucket.length, *x.shape[1:]).transpose(1, 2)


def _unpad(x: Tensor, bucket: _Bucket) -> Tensor:
    """[count, length, H, D] -> [tokens, H, D]."""
    x = x.reshape(bucket.count * bucket.length, *x.shape[2:])
    return x if bucket.slots is None else _Gather.apply(x, bucket.slots)


def _pad_flat(x: Tensor, bucket: _Bucket) -> Tensor:
    """[tokens, ...] -> [count, length, ...], without a gradient."""
    if bucket.slots is not None:
        room = x.new_zeros(bucket.count * bucket.length, *x.shape[1:])
        x = room.index_copy_(0, bucket.slots, x)
    return x.reshape(bucket.count, bucket.length, *x.shape[1:])


def _unpad_flat(x: Tensor, bucket: _Bucket) -> Tensor:
    """[count, length, ...] -> [tokens, rest]."""
    x = x.reshape(bucket.count * bucket.length, -1)
    return x if bucket.slots is None else x.index_select(0, bucket.slots)
