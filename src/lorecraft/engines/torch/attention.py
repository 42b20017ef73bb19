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


def causal(q: Tensor, k: Tensor, v: Tensor, *, how: Score) -> Tensor:
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
    if plain and how.softcap is None and not windowed and not torch.is_grad_enabled():
        return _quick(q, k, v, how)
    place = torch.arange(length, device=q.device)
    distance = place[:, None] - place
    hidden = distance < 0
    if how.window is not None:
        hidden = hidden | (distance >= how.window)
    repeats = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(repeats, dim=1) for x in (k, v))
    weights = weights_of(q @ k.transpose(-1, -2), hidden, how).to(v.dtype)
    return (weights @ v).transpose(1, 2)


def _quick(q: Tensor, k: Tensor, v: Tensor, how: Score) -> Tensor:
    """``causal`` by plain products, queries that share a key together."""
    count, heads, length, size = q.shape
    each = heads // k.shape[1]
    q = q.reshape(-1, each * length, size)
    k, v = (x.reshape(-1, length, size) for x in (k, v))
    future = torch.full((length, length), -torch.inf, dtype=q.dtype).triu_(1).repeat(each, 1)
    weights = torch.baddbmm(future, q, k.transpose(1, 2), alpha=how.scaling).softmax(-1)
    return (weights @ v).view(count, heads, length, size).transpose(1, 2)


def weights_of(scores: Tensor, hidden: Tensor, how: Score) -> Tensor:
    scores = scores.float() * how.scaling
    if how.softcap is not None:
        scores = torch.tanh(scores / how.softcap) * how.softcap
    return scores.masked_fill(hidden, -torch.inf).softmax(-1)


def is_plain(length: int, x: Tensor, how: Score) -> bool:
    windowed = how.window is not None and length > how.window
    return x.device.type == "cpu" and length <= SHORT and how.softcap is None and not windowed
