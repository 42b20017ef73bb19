"""Frozen linears with an adapter over them, forward and backward written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

FEW = 64
"""Rows that weights are prepared for."""


def prepared(weight: Tensor) -> Tensor:
    """In oneDNN's own layout, which otherwise every product makes for itself."""
    laid_out: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, FEW)
    return laid_out


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [T, in] by a ``prepared`` weight -> [T, out]."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y


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
        self.weight = modules[0].weight.data
        if len(modules) > 1:
            self.weight = torch.cat([module.weight.data for module in modules])
            for module, columns in zip(modules, self.columns.values(), strict=True):
                module.weight.data = self.weight[columns]
        self._prepared: Tensor | None = None
        self.bias = None
        if any(module.bias is not None for module in modules):
            self.bias = torch.cat(
                [m.weight.new_zeros(m.out_features) if m.bias is None else m.bias for m in modules]
            )

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

    def prepare(self) -> None:
        """Keep the weights a second time, laid out for products of few rows on a CPU."""
        if self._prepared is None:
            self._prepared = prepared(self.weight)

    def forward(
        self, x: Tensor, under: Sequence[Under], few: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """x [T, in] -> [T, out], and what the last adapter's A made of x. With ``few`` rows the
        weights are taken that were prepared for them, if they were."""
        if few and self._prepared is not None:
            y = product(x, self._prepared, self.bias)
        elif self.bias is None:
            y = x @ self.weight.t()
        else:
            y = torch.addmm(self.bias, x, self.weight.t())
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
