"""Attention of a whole packed row in one kernel, where the device has it (CUDA, half precision)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from inspect import signature
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from lorecraft.engines.torch.attention import Score

LARGEST_HEAD = 256


class Lines:
    """Packed segments, each after those that it continues, as the kernel is told of them."""

    def __init__(self, lengths: Sequence[int], parents: Sequence[int], device: str) -> None:
        self._lengths, self._parents, self._device = lengths, parents, device
        self._ends = list(accumulate(lengths, initial=0))

    @cached_property
    def queries(self) -> Tensor:
        """Where each segment begins, int32 [S+1]."""
        return torch.tensor(self._ends, dtype=torch.int32, device=self._device)

    @cached_property
    def keys(self) -> Tensor:
        """Where each segment's keys begin, int32 [S+1]."""
        ends = list(accumulate(self._seen, initial=0))
        return torch.tensor(ends, dtype=torch.int32, device=self._device)

    @cached_property
    def order(self) -> Tensor | None:
        """Which packed token each key is; None where every segment sees itself alone."""
        if all(parent < 0 for parent in self._parents):
            return None
        parts: list[Tensor] = []
        for index in range(len(self._lengths)):
            line = [index]
            while self._parents[line[0]] >= 0:
                line.insert(0, self._parents[line[0]])
            parts += [torch.arange(self._ends[one], self._ends[one + 1]) for one in line]
        return torch.cat(parts).to(self._device)

    @property
    def longest(self) -> tuple[int, int]:
        """Queries, and keys, of one segment at most."""
        return max(self._lengths), max(self._seen)

    @cached_property
    def _seen(self) -> list[int]:
        seen: list[int] = []
        for length, parent in zip(self._lengths, self._parents, strict=True):
            seen.append(length + (seen[parent] if parent >= 0 else 0))
        return seen


def serves(q: Tensor, how: Score) -> bool:
    """Whether the kernel computes this, which is Flash Attention's: q [T, H, D]."""
    return (
        q.is_cuda
        and q.dtype in (torch.bfloat16, torch.float16)
        and how.softcap is None
        and q.shape[-1] <= LARGEST_HEAD
        and q.shape[-1] % 8 == 0
        and kernel() is not None
        and torch.cuda.get_device_capability(q.device) >= (8, 0)
    )


def attend(q: Tensor, k: Tensor, v: Tensor, lines: Lines, how: Score) -> Tensor:
    """q [T, H, D], k and v [T, H_kv, D] -> [T, H, D]."""
    varlen_attn = kernel()
    assert varlen_attn is not None
    if lines.order is not None:
        k, v = k.index_select(0, lines.order), v.index_select(0, lines.order)
    return varlen_attn(
        q,
        k,
        v,
        lines.queries,
        lines.keys,
        *lines.longest,
        scale=how.scaling,
        window_size=(-1 if how.window is None else how.window - 1, 0),
        enable_gqa=q.shape[1] != k.shape[1],
    )


@cache
def kernel() -> Callable[..., Tensor] | None:
    """PyTorch's, since it takes a scale, a window and grouped heads."""
    try:
        from torch.nn.attention import varlen
    except ImportError:
        return None
    found: Callable[..., Any] = varlen.varlen_attn
    known = signature(found).parameters
    return found if {"scale", "window_size", "enable_gqa"} <= set(known) else None
