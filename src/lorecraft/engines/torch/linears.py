"""Frozen linears with an adapter over them, forward and backward written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lorecraft.engines.torch import dora
from lorecraft.engines.torch.adapters import Adapter, Parts
from lorecraft.engines.torch.quantized import dequantised, is_quantised

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


class Part(NamedTuple):
    """One adapted linear of a group: which columns of the output and of what A makes are its."""

    path: str
    columns: slice
    ranks: slice


class Stack(NamedTuple):
    """What an adapter adds to a group of linears: their A as one, and where each has its part."""

    a: Tensor
    parts: list[Part]


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
        self._prepared: Tensor | None = None
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

    def stack(self, flat: Tensor, parts: Mapping[str, Parts]) -> Stack | None:
        """Of an adapter's flat buffer, and its views by path."""
        adapted = [path for path in self.paths if path in parts]
        if not adapted:
            return None
        each = [parts[path].a for path in adapted]
        ends = np.cumsum([0, *map(len, each)]).tolist()
        first, width = each[0].storage_offset(), each[0].shape[1]
        assert [a.storage_offset() - first for a in each] == [end * width for end in ends[:-1]]
        a = flat[first - flat.storage_offset() :][: ends[-1] * width]
        ranks = map(slice, ends, ends[1:])
        return Stack(
            a.view(-1, width),
            [Part(p, self.columns[p], r) for p, r in zip(adapted, ranks, strict=True)],
        )

    def prepare(self) -> None:
        """Keep the weights a second time, laid out for products of few rows on a CPU."""
        if self._prepared is None:
            self._prepared = prepared(self.weight)

    def forward(self, x: Tensor, under: Sequence[Under], few: bool = False) -> tuple[Tensor, Kept]:
        """x [T, in] -> [T, out], and what the last adapter needs to learn from it. With ``few``
        rows the weights are taken that were prepared for them, if they were."""
        if few and self._prepared is not None:
            y = product(x, self._prepared, self.bias)
        elif self.bias is None:
            y = x @ self.weight.t()
        else:
            y = torch.addmm(self.bias, x, self.weight.t())
        kept: Kept = None
        for some, adapter, stacks in under:
            stack = stacks[self]
            if stack is not None:
                inner, rows = x[some] @ stack.a.t(), y[some]
                for path, columns, ranks in stack.parts:
                    b = adapter.parts[path].b
                    rows[:, columns].addmm_(inner[:, ranks], b.t(), alpha=adapter.scales[path])
                kept = inner, self._stretch(rows, adapter, stack) if adapter.spec.dora else None
        return y, kept

    def backward(
        self, dy: Tensor, x: Tensor, kept: Kept, learned: Learned, needed: bool = True
    ) -> Tensor:
        """Adds the adapter's gradients; returns that of x, where it is needed."""
        adapter, stack, gradient = learned.adapter, learned.stacks[self], learned.gradients[self]
        if stack is None or kept is None or gradient is None:
            return dy @ self.weight if needed else dy
        inner, before = kept
        if before is not None:
            dy = self._stretch_back(dy, before, adapter, stack)
        d_inner = torch.empty_like(inner)
        for path, columns, ranks in stack.parts:
            d, b, scale = dy[:, columns], adapter.parts[path].b, adapter.scales[path]
            torch.mm(d, b, out=d_inner[:, ranks])
            d_inner[:, ranks].mul_(scale)
            adapter.gradients[path].b.add_(d.t() @ inner[:, ranks], alpha=scale)
        gradient.a.add_(d_inner.t() @ x)
        return (dy @ self.weight).addmm_(d_inner, stack.a) if needed else dy

    def _stretch(self, y: Tensor, adapter: Adapter, stack: Stack) -> Tensor:
        """DoRA in place; what was there before."""
        before = y.clone()
        for path, columns, _ in stack.parts:
            dora.stretch_(y[:, columns], adapter.gain(path), self._bias(columns))
        return before

    def _stretch_back(self, dy: Tensor, before: Tensor, adapter: Adapter, stack: Stack) -> Tensor:
        """The gradient of what was there before; adds that of the magnitudes."""
        dy = dy.clone()
        for path, columns, _ in stack.parts:
            d, bias = dy[:, columns], self._bias(columns)
            adapter.learn_magnitudes(path, d, before[:, columns], bias)
            dora.stretch_(d, adapter.gain(path), None)
        return dy

    def _bias(self, columns: slice) -> Tensor | None:
        return None if self.bias is None else self.bias[columns]


Kept = tuple[Tensor, Tensor | None] | None
"""What A made of x; with DoRA, the output before it was stretched."""
Stacks = Mapping[Linears, Stack | None]


class Under(NamedTuple):
    """Some tokens, and the adapter that they run under."""

    rows: slice
    adapter: Adapter
    stacks: Stacks


class Learned(NamedTuple):
    """The adapter that learns, and where its gradients are added."""

    adapter: Adapter
    stacks: Stacks
    gradients: Stacks
