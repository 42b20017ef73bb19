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
    block: Tensor, split: Sequence[int], how: Score
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Causal attention, forward and backward written out; queries that share a key stand together.

    Queries are taken ``STEP`` at a time, each time with the keys up to their last.

    Takes [N, L, H + 2 H_kv, D]; returns [N, L, H * D], and what makes its gradient, of that shape,
    into [N, L, H + 2 H_kv, D].
    """
    count, length, _, size = block.shape
    heads, groups = split[0], split[1]
    each = heads // groups

    def by_group(x: Tensor) -> Tensor:
        """[N, L, G * n, D] -> [N * G, L * n, D]."""
        x = x.reshape(count, length, groups, -1, size).transpose(1, 2)
        return x.reshape(count * groups, -1, size)

    def by_token(x: Tensor) -> Tensor:
        """Its inverse."""
        x = x.view(count, groups, length, -1, size).transpose(1, 2)
        return x.reshape(count, length, -1, size)

    q, k, v = map(by_group, block.split([*split], 2))
    mixed, weights = torch.empty_like(q), []
    cuts = range(0, length, STEP if length > 2 * STEP else length)
    parts = [(slice(c * each, (c + cuts.step) * each), slice(0, c + cuts.step)) for c in cuts]
    for (queries, keys), first in zip(parts, cuts, strict=True):
        asked, offered = q[:, queries], k[:, keys].transpose(1, 2)
        scores = q.new_empty(len(q), asked.shape[1], offered.shape[2])
        scores.baddbmm_(asked, offered, beta=0, alpha=how.scaling)
        future = scores.new_full([scores.shape[2] - first] * 2, -torch.inf).triu_(1)
        scores[:, :, first:] += future.repeat_interleave(each, 0)
        weights.append(torch.softmax(scores, -1, out=scores))
        torch.bmm(scores, v[:, keys], out=mixed[:, queries])

    def backward(d: Tensor) -> Tensor:
        d = by_group(d.view(count, length, heads, size))
        d_q, d_k, d_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for (queries, keys), w in zip(parts, weights, strict=True):
            d_w = d[:, queries] @ v[:, keys].transpose(1, 2)
            torch._softmax_backward_data(d_w, w, -1, w.dtype, grad_input=d_w)
            d_q[:, queries].baddbmm_(d_w, k[:, keys], beta=0, alpha=how.scaling)
            d_k[:, keys].baddbmm_(d_w.transpose(1, 2), q[:, queries], alpha=how.scaling)
            d_v[:, keys].baddbmm_(w.transpose(1, 2), d[:, queries])
        return torch.cat([by_token(x) for x in (d_q, d_k, d_v)], 2)

    return by_token(mixed).flatten(2), backward


def causal(q: Tensor, k: Tensor, v: Tensor, how: Score) -> Tensor:
    """q [N, H, L, D] sees k and v [N, H_kv, K, D], whose last L are its own; -> [N, L, H, D]."""
    length, keys = q.shape[2], k.shape[2]
    windowed = how.window is not None and keys > how.window
    on_cpu = q.device.type == "cpu" and keys <= SHORT
    if how.softcap is None and not windowed and not on_cpu and length == keys:
        grouped = q.shape[1] != k.shape[1]
        mixed = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=how.scaling, enable_gqa=grouped
        )
        return mixed.transpose(1, 2)
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


def is_plain(length: int, x: Tensor, how: Score) -> bool:
    windowed = how.window is not None and length > how.window
    return x.device.type == "cpu" and length <= SHORT and how.softcap is None and not windowed
