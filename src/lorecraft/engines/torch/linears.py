"""Frozen linears with an adapter over them, forward and backward written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lorecraft.engines.torch.quantized import dequantised, is_quantised


class Stack(NamedTuple):
    """What an adapter adds to a group of linears: their A as one, and each B with its columns."""

    a: Tensor
    parts: list[tuple[slice, slice, Tensor]]


class Linears:
    """Linears that read the same input, their frozen weights as one."""

    def __init__(self, paths: Sequence[str], modules: Sequence[nn.Linear]) -> None:
        self.paths = paths
        ends = np.cumsum([0, *(m.out_features for m in modules)]).tolist()
        self.columns = dict(zip(paths, map(slice, ends, ends[1:]), strict=False))
        self._quantised = modules if any(map(is_quantised, modules)) else ()
        self._weight = modules[0].weight.data
        if len(modules) > 1 and not self._quantised:
            self._weight = torch.cat([module.weight.data for module in modules])
            for module, columns in zip(modules, self.columns.values(), strict=True):
                module.weight.data = self._weight[columns]
        self.bias = None
        given = next((module.bias for module in modules if module.bias is not None), None)
        if given is not None:
            self.bias = torch.cat(
                [given.new_zeros(m.out_features) if m.bias is None else m.bias for m in modules]
            )

    @property
    def weight(self) -> Tensor:
        """[out, in]; made for the moment where it is quantised."""
        if not self._quantised:
            return self._weight
        parts = [dequantised(module) for module in self._quantised]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def stack(self, flat: Tensor, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> Stack | None:
        """Of an adapter's flat buffer, and its views (A, B) by path."""
        adapted = [path for path in self.paths if path in pairs]
        if not adapted:
            return None
        first = pairs[adapted[0]][0]
        rank = len(first)
        follow = [pairs[path][0].storage_offset() - first.storage_offset() for path in adapted]
        assert follow == [index * first.numel() for index in range(len(adapted))]
        a = flat[first.storage_offset() - flat.storage_offset() :][: first.numel() * len(adapted)]
        ranks = (slice(i * rank, (i + 1) * rank) for i in range(len(adapted)))
        return Stack(
            a.view(-1, first.shape[1]),
            [(self.columns[p], r, pairs[p][1]) for p, r in zip(adapted, ranks, strict=True)],
        )

    def forward(self, x: Tensor, under: Sequence[Under]) -> tuple[Tensor, Tensor | None]:
        """x [T, in] -> [T, out], and what the last adapter's A made of x."""
        y = x @ self.weight.t() if self.bias is None else torch.addmm(self.bias, x, self.weight.t())
        inner = None
        for some, stacks, scale in under:
            stack = stacks[self]
            if stack is not None:
                inner, rows = x[some] @ stack.a.t(), y[some]
                for columns, ranks, b in stack.parts:
                    rows[:, columns].addmm_(inner[:, ranks], b.t(), alpha=scale)
        return y, inner

    def backward(
        self, dy: Tensor, x: Tensor, inner: Tensor | None, learned: Learned, needed: bool = True
    ) -> Tensor:
        """Adds the adapter's gradients; returns that of x, where it is needed."""
        dx = dy @ self.weight if needed else dy
        stack, gradient = learned.stacks[self], learned.gradients[self]
        if stack is None or inner is None or gradient is None:
            return dx
        d_inner = torch.empty_like(inner)
        for (columns, ranks, b), (_, _, db) in zip(stack.parts, gradient.parts, strict=True):
            part = dy[:, columns]
            torch.mm(part, b, out=d_inner[:, ranks])
            db.add_(part.t() @ inner[:, ranks], alpha=learned.scale)
        gradient.a.add_(d_inner.t() @ x, alpha=learned.scale)
        return dx.addmm_(d_inner, stack.a, alpha=learned.scale) if needed else dx


Stacks = Mapping[Linears, Stack | None]


class Under(NamedTuple):
    """Some tokens, and the adapter that they run under."""

    rows: slice
    stacks: Stacks
    scale: float


class Learned(NamedTuple):
    """The adapter that learns, and where its gradients are added."""

    stacks: Stacks
    gradients: Stacks
    scale: float
