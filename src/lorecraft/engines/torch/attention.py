"""Attention over packed segments, registered with Transformers under ``PACKED``.

A packed row is ``[1, T]``: whole segments one after another, positions restarting at each. The
model passes ``layout=`` through to here, and the layout says which tokens see which: exact, and
nothing is padded outside of attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

PACKED = "lorecraft_packed"
EVEN = 8
"""Lengths in attention are multiples of this, so that few sizes of products are met."""
STEP = 128
"""Queries that plain attention takes at a time, where there are more than twice as many."""
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


def plain(
    q: Tensor, k: Tensor, v: Tensor, how: Score, learns: bool
) -> tuple[Tensor, Callable[[Tensor], Sequence[Tensor]]]:
    """``causal``, forward and backward written out; queries that share a key stand together.

    Queries are taken ``STEP`` at a time, each time with the keys up to their last.

    Takes q [N, L, H, D], k and v [N, K, H_kv, D], whose last L are the queries' own; returns
    [N, L, H * D], and what makes its gradient into those of q, k and v.
    """
    count, length, heads, size = q.shape
    groups, before = k.shape[2], k.shape[1] - length
    each = heads // groups

    def by_group(x: Tensor) -> Tensor:
        """[N, L, G * n, D] -> [N * G, L * n, D]."""
        x = x.reshape(count, x.shape[1], groups, -1, size).transpose(1, 2)
        return x.reshape(count * groups, -1, size)

    def by_token(x: Tensor, each: int) -> Tensor:
        """Its inverse."""
        x = x.view(count, groups, -1, each, size).transpose(1, 2)
        return x.reshape(count, -1, groups * each, size)

    q, k, v = by_group(q), by_group(k), by_group(v)
    mixed, weights = torch.empty_like(q), []
    cuts = range(0, length, STEP if length > 2 * STEP else length)
    parts = [(slice(c * each, (c + cuts.step) * each), slice(before + c + cuts.step)) for c in cuts]
    for (queries, keys), first in zip(parts, cuts, strict=True):
        asked, offered = q[:, queries], k[:, keys].transpose(1, 2)
        scores = q.new_empty(len(q), asked.shape[1], offered.shape[2])
        scores.baddbmm_(asked, offered, beta=0, alpha=how.scaling)
        own = scores[:, :, before + first :]
        own += _future(own.shape[2], each, own.dtype, own.device)
        torch.softmax(scores, -1, out=scores)
        weights += [scores] if learns else []
        torch.bmm(scores, v[:, keys], out=mixed[:, queries])

    def backward(d: Tensor) -> Sequence[Tensor]:
        d = by_group(d.view(count, length, heads, size))
        d_q, d_k, d_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        for (queries, keys), w in zip(reversed(parts), reversed(weights), strict=True):
            more = int(w is not weights[-1])  # the last queries see all keys
            d_w = d[:, queries] @ v[:, keys].transpose(1, 2)
            torch._softmax_backward_data(d_w, w, -1, w.dtype, grad_input=d_w)
            d_q[:, queries].baddbmm_(d_w, k[:, keys], beta=0, alpha=how.scaling)
            turned = d_w.transpose(1, 2)
            d_k[:, keys].baddbmm_(turned, q[:, queries], beta=more, alpha=how.scaling)
            d_v[:, keys].baddbmm_(w.transpose(1, 2), d[:, queries], beta=more)
        return by_token(d_q, each), by_token(d_k, 1), by_token(d_v, 1)

    return by_token(mixed, each).flatten(2), backward


@lru_cache(64)
def _future(length: int, each: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What is added to the scores of so many queries for their own keys; of each query, ``each``
    heads stand together."""
    later = torch.full([length] * 2, -torch.inf, dtype=dtype, device=device).triu_(1)
    return later.repeat_interleave(each, 0)


def causal(q: Tensor, k: Tensor, v: Tensor, how: Score) -> Tensor:
    """q [N, H, L, D] sees k and v [N, H_kv, K, D], whose last L are its own; -> [N, L, H, D]."""
    length, keys = q.shape[2], k.shape[2]
    windowed = how.window is not None and keys > how.window
    on_cpu = q.device.type == "cpu" and keys <= SHORT
    if how.softcap is None and not windowed and not on_cpu:
        seen = None
        if length != keys:
            seen = torch.ones(length, keys, dtype=torch.bool, device=q.device).tril_(keys - length)
        grouped = q.shape[1] != k.shape[1]
        mixed = F.scaled_dot_product_attention(
            q, k, v, seen, is_causal=seen is None, scale=how.scaling, enable_gqa=grouped
        )
        return mixed.transpose(1, 2)
    if is_plain(keys, q, how) and not torch.is_grad_enabled():
        mixed, _ = plain(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), how, False)
        return mixed.view(len(q), length, -1, q.shape[-1])
    place = torch.arange(keys, device=q.device)
    distance = place[keys - length :, None] - place
    hidden = distance < 0
    if how.window is not None:
        hidden = hidden | (distance >= how.window)
    repeats = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(repeats, dim=1) for x in (k, v))
    weights = weights_of(q @ k.transpose(-1, -2), hidden, how).to(v.dtype)
    return (weights @ v).transpose(1, 2)


def weights_of(scores: Tensor, hidden: Tensor, how: Score) -> Tensor:
    scores = scores.float() * how.scaling
    if how.softcap is not None:
        scores = torch.tanh(scores / how.softcap) * how.softcap
    return scores.masked_fill(hidden, -torch.inf).softmax(-1)


def is_plain(keys: int, x: Tensor, how: Score) -> bool:
    windowed = how.window is not None and keys > how.window
    return x.device.type == "cpu" and keys <= SHORT and how.softcap is None and not windowed
