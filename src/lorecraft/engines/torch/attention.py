"""Attention over packed segments, registered with Transformers under ``PACKED``.

A packed row is ``[1, T]``: whole segments one after another, positions restarting at each. The
model passes ``layout=`` through to here, and the layout says which tokens see which: exact, and
nothing is padded outside of attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

PACKED = "lorecraft_packed"
WASTE = 1.3
"""How much longer than its tokens a padded bucket of segments may be,"""
EVEN = 8
"""Lengths in attention are multiples of this, so that few sizes of products are met."""
SMALL = 2**17
"""unless all its scores together are as few as these: then one more operation costs more."""
SHORT = 512
"""Up to this length, plain products train faster on a CPU than its fused attention does."""


@dataclass(frozen=True)
class Score:
    """How one attention layer turns queries and keys into weights."""

    scaling: float
    softcap: float | None
    window: int | None


_watchers: list[dict[nn.Module, Score]] = []


@contextmanager
def watched() -> Iterator[dict[nn.Module, Score]]:
    """Within: how each attention module asks to be computed."""
    _watchers.append({})
    try:
        yield _watchers[-1]
    finally:
        _watchers.pop()


class Layout(Protocol):
    def attend(self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, how: Score) -> Tensor:
        """q [1, H, T, D], k and v [1, H_kv, T, D] -> [1, T, H, D]."""


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    *,
    layout: Layout,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """What Transformers calls; ``layout`` is what was given to the model's forward."""
    how = Score(scaling or query.shape[-1] ** -0.5, softcap, sliding_window)
    if _watchers:
        _watchers[-1][module] = how
    return layout.attend(module, query, key, value, how), None


AttentionInterface.register(PACKED, packed_attention)


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
    """Segments that see only themselves, causally; fills ``cache`` when there is one."""

    def __init__(self, lengths: Sequence[int], device: str, cache: Cache | None = None) -> None:
        self._cache = cache
        self._buckets = _buckets(lengths, device)
        if cache is not None:
            rows = torch.arange(len(lengths))
            self._rows = torch.repeat_interleave(rows, torch.tensor(lengths)).to(device)
            self._places = torch.cat([torch.arange(length) for length in lengths]).to(device)

    def attend(self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, how: Score) -> Tensor:
        q, k, v = (x[0].transpose(0, 1) for x in (q, k, v))
        if self._cache is not None:
            self._cache.write(module, k, v, self._rows, self._places)
        mixed = []
        for bucket in self._buckets:
            part = slice(bucket.first, bucket.last)
            block = _causal(*(_pad(x[part], bucket) for x in (q, k, v)), how=how)
            mixed.append(_unpad(block, bucket))
        return (mixed[0] if len(mixed) == 1 else torch.cat(mixed)).unsqueeze(0)

    def learn(
        self, module: nn.Module, heads: Tensor, split: Sequence[int], how: Score
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """``attend``, for heads [T, H + 2 H_kv, D]: queries, keys and values, so many of each.

        Returns [T, H * D], and what makes its gradient into that of the heads.
        """
        if any(not _is_plain(bucket.length, heads, how) for bucket in self._buckets):
            return self._learn_by_autograd(module, heads, split, how)
        mixed, backs = [], []
        for bucket in self._buckets:
            block, back = _plain(_pad_flat(heads[bucket.first : bucket.last], bucket), split, how)
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


class Cache:
    """Keys and values of the rows that are being continued, in fixed room."""

    def __init__(self, rows: int, room: int) -> None:
        self._rows, self.room = rows, room
        self._kept: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def write(self, module: nn.Module, k: Tensor, v: Tensor, rows: Tensor, places: Tensor) -> None:
        """k, v [T, H_kv, D] to row ``rows[t]``, position ``places[t]``."""
        if module not in self._kept:
            self._kept[module] = tuple(  # type: ignore[assignment]
                x.new_zeros(self._rows, x.shape[1], self.room, x.shape[2]) for x in (k, v)
            )
        for store, new in zip(self._kept[module], (k, v), strict=True):
            store[rows, :, places] = new

    def read(self, module: nn.Module, length: int) -> tuple[Tensor, Tensor]:
        """Keys and values [rows, H_kv, length, D]."""
        keys, values = self._kept[module]
        return keys[:, :, :length], values[:, :, :length]

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        self._rows = len(rows)
        self._kept = {m: (k[rows], v[rows]) for m, (k, v) in self._kept.items()}


class NextTokens:
    """One new token for each cached row, at ``places`` [rows]."""

    def __init__(self, cache: Cache, places: Tensor) -> None:
        self._cache, self._places = cache, places
        self._rows = torch.arange(len(places), device=places.device)
        longest = int(places.max()) + 1
        self._length = min(cache.room, longest + -longest % EVEN)
        self._distance = places[:, None] - torch.arange(self._length, device=places.device)

    def attend(self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, how: Score) -> Tensor:
        q, k, v = (x[0].transpose(0, 1) for x in (q, k, v))
        self._cache.write(module, k, v, self._rows, self._places)
        keys, values = self._cache.read(module, self._length)
        rows, groups = len(q), keys.shape[1]
        scores = q.reshape(rows, groups, -1, q.shape[-1]) @ keys.transpose(-1, -2)
        hidden = self._distance < 0
        if how.window is not None:
            hidden = hidden | (self._distance >= how.window)
        weights = _weights(scores, hidden[:, None, None], how).to(values.dtype)
        return (weights @ values).reshape(1, rows, -1, values.shape[-1])


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


def _is_plain(length: int, x: Tensor, how: Score) -> bool:
    windowed = how.window is not None and length > how.window
    return x.device.type == "cpu" and length <= SHORT and how.softcap is None and not windowed


def _plain(
    block: Tensor, split: Sequence[int], how: Score
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Causal attention, forward and backward written out; queries that share a key stand together.

    Takes [N, L, H + 2 H_kv, D]; returns [N, L, H, D], and what makes its gradient [N, L, H * D]
    into [N, L, H + 2 H_kv, D].
    """
    count, length, _, size = block.shape
    heads, groups = split[0], split[1]
    each = heads // groups

    def by_group(x: Tensor, each: int) -> Tensor:
        """[N, L, G * each, D] -> [N * G, each * L, D]."""
        x = x.reshape(count, length, groups, each, size).permute(0, 2, 3, 1, 4)
        return x.reshape(count * groups, each * length, size)

    def by_token(x: Tensor, each: int) -> Tensor:
        """Its inverse."""
        x = x.view(count, groups, each, length, size).permute(0, 3, 1, 2, 4)
        return x.reshape(count, length, groups * each, size)

    q, k, v = (by_group(part, part.shape[2] // groups) for part in block.split([*split], 2))
    future = torch.full((length, length), -torch.inf, dtype=q.dtype).triu_(1).repeat(each, 1)
    weights = torch.baddbmm(future, q, k.transpose(1, 2), alpha=how.scaling).softmax(-1)

    def backward(d: Tensor) -> Tensor:
        d = by_group(d.view(count, length, heads, size), each)
        d_weights = d @ v.transpose(1, 2)
        d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
        d_scores.mul_(how.scaling)
        d_q, d_k, d_v = d_scores @ k, d_scores.transpose(1, 2) @ q, weights.transpose(1, 2) @ d
        return torch.cat([by_token(d_q, each), by_token(d_k, 1), by_token(d_v, 1)], 2)

    return by_token(weights @ v, each), backward


def _causal(q: Tensor, k: Tensor, v: Tensor, *, how: Score) -> Tensor:
    """q [N, H, L, D], k and v [N, H_kv, L, D] -> [N, L, H, D]."""
    length = q.shape[2]
    windowed = how.window is not None and length > how.window
    plain = q.device.type == "cpu" and length <= SHORT
    if how.softcap is None and not windowed and not plain:
        grouped = q.shape[1] != k.shape[1]
        mixed = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=how.scaling, enable_gqa=grouped
        )
        return mixed.transpose(1, 2)
    place = torch.arange(length, device=q.device)
    distance = place[:, None] - place
    hidden = distance < 0
    if how.window is not None:
        hidden = hidden | (distance >= how.window)
    repeats = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(repeats, dim=1) for x in (k, v))
    weights = _weights(q @ k.transpose(-1, -2), hidden, how).to(v.dtype)
    return (weights @ v).transpose(1, 2)


def _weights(scores: Tensor, hidden: Tensor, how: Score) -> Tensor:
    scores = scores.float() * how.scaling
    if how.softcap is not None:
        scores = torch.tanh(scores / how.softcap) * how.softcap
    return scores.masked_fill(hidden, -torch.inf).softmax(-1)
