"""LoRA over frozen modules: forward hooks, and one flat fp32 buffer for each adapter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.engines import lora
from lorecraft.engines.base import BASE, Arrays
from lorecraft.engines.torch import dora
from lorecraft.engines.torch.frozen import Frozen
from lorecraft.errors import EngineError

Span = tuple[int, int, int]
"""First token, last token + 1, adapter slot."""


class Parts(NamedTuple):
    """What an adapter has at one linear; of DoRA's magnitudes, fp32, None without DoRA."""

    a: Tensor
    b: Tensor
    m: Tensor | None


class Adapter:
    """One slot. ``master`` is flat fp32: every A, so that those of neighbouring linears are one
    matrix, then every B, then DoRA's magnitudes. ``working`` is its copy in the model's dtype;
    ``gradient`` is flat fp32 too, once it learns.
    """

    def __init__(
        self,
        spec: AdapterSpec,
        linears: Sequence[lora.Linear],
        frozen: Frozen,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        self.spec, self.linears, self._frozen = spec, linears, frozen
        self.scales = {linear.path: spec.scale_of(linear.path) for linear in linears}
        self.shapes = lora.shapes(spec, linears)
        size = sum(math.prod(shape) for shape in self.shapes.values())
        self.master = torch.zeros(size, device=device)
        self.working = self.master if dtype == torch.float32 else self.master.to(dtype)
        self.parts = self.split_parts(self.working)
        self.gradient = torch.zeros(0)
        self.gradients: dict[str, Parts] = {}
        self._lengths: dict[str, Tensor] = {}

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of a flat buffer by PEFT name."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        parts = zip(self.shapes.items(), flat.split(sizes), strict=True)
        return {name: part.view(shape) for (name, shape), part in parts}

    def split_parts(self, flat: Tensor) -> dict[str, Parts]:
        """Views of a flat buffer by module path; magnitudes are never those of ``working``, which
        in bf16 are too coarse to learn."""
        views = self.split(flat)
        exact = self.split(self.master) if flat is self.working else views
        named = [(linear.path, lora.names(linear.path)) for linear in self.linears]
        return {path: Parts(views[a], views[b], exact.get(m)) for path, (a, b, m) in named}

    def learn(self, gradient: Tensor) -> None:
        """Add gradients to this flat buffer from now on."""
        self.gradient, self.gradients = gradient, self.split_parts(gradient)

    def publish(self) -> None:
        """Bring all that follows from ``master`` up to date with it."""
        self._lengths.clear()
        if self.working is not self.master:
            self.working.copy_(self.master)

    def gain(self, path: str) -> Tensor:
        """By what DoRA multiplies each row of W + s B A, fp32 [out]."""
        return self._magnitudes(path) / self._lengths_at(path)

    def learn_magnitudes(self, path: str, dy: Tensor, y: Tensor, bias: Tensor | None) -> None:
        """Add their gradient, from that of ``dora.stretch_(y, gain, bias)``; [T, out]."""
        gradient = self.gradients[path].m
        assert gradient is not None
        gradient.add_(dora.gradient_of_gain(dy, y, bias) / self._lengths_at(path))

    def _magnitudes(self, path: str) -> Tensor:
        m = self.parts[path].m
        assert m is not None
        return m

    def _lengths_at(self, path: str) -> Tensor:
        if path not in self._lengths:
            a, b, _ = self.parts[path]
            weight, squares = self._frozen.weight(path), self._frozen.squares(path)
            self._lengths[path] = dora.lengths(weight, squares, a, b, self.scales[path])
        return self._lengths[path]

    def write(self, weights: Arrays) -> None:
        """Raises AdapterError when the weights do not fit."""
        fitted = lora.fitted(self.shapes, weights)
        flat = np.concatenate([array.ravel() for array in fitted.values()])
        self.master.copy_(torch.from_numpy(flat))
        self.publish()

    def read(self) -> dict[str, NDArray[np.float32]]:
        return {name: view.cpu().numpy().copy() for name, view in self.split(self.master).items()}


class _Adapted(torch.autograd.Function):
    """A linear's output under an adapter, from its input x and its own output y. Saves x (with
    DoRA also what is stretched), and adds the adapter's gradients (all sums over tokens) to its own
    buffer, so autograd never sees a parameter."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, anchor: Tensor, adapter: Adapter, path: str, bias: Any
    ) -> Tensor:
        a, b, _ = adapter.parts[path]
        inner = _flat(x) @ a.t()
        out = torch.addmm(_flat(y), inner, b.t(), alpha=adapter.scales[path])
        ctx.adapter, ctx.path, ctx.bias = adapter, path, bias
        ctx.save_for_backward(x, out if adapter.spec.dora else None)
        if adapter.spec.dora:
            out = dora.stretch_(out.clone(), adapter.gain(path), bias)
        return out.view(y.shape)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        x, y = ctx.saved_tensors
        adapter, scale = ctx.adapter, ctx.adapter.scales[ctx.path]
        a, b, _ = adapter.parts[ctx.path]
        gradient = adapter.gradients[ctx.path]
        given, flat = _flat(x), _flat(dy)
        if y is not None:
            adapter.learn_magnitudes(ctx.path, flat, y, ctx.bias)
            flat = dora.stretch_(flat.clone(), adapter.gain(ctx.path), None)
        inner = flat @ b
        gradient.b.add_(flat.t() @ (given @ a.t()), alpha=scale)
        gradient.a.add_(inner.t() @ given, alpha=scale)
        dx = (inner @ a).mul_(scale).view(x.shape) if ctx.needs_input_grad[0] else None
        return dx, flat.view(dy.shape), None, None, None, None


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


class Adapters:
    """Every attached adapter of one model, and which of them the present forward runs under."""

    def __init__(self, network: PreTrainedModel, dtype: torch.dtype, device: str) -> None:
        self._frozen, self._dtype, self._device = Frozen(network), dtype, device
        self.attached: dict[int, Adapter] = {}
        self._given = 0
        self.random = torch.Generator(device=device)
        self._hooked: set[str] = set()
        self._spans: Sequence[Span] = ()
        # A hook's function runs backward only if one of its inputs asks for a gradient.
        self._anchor = torch.zeros((), device=device, requires_grad=True)

    def attach(self, spec: AdapterSpec, weights: Arrays | None, seed: int) -> int:
        frozen = self._frozen
        chosen = lora.choose(spec, frozen.linears, frozen.blocks)
        adapter = Adapter(spec, chosen, frozen, self._dtype, self._device)
        if weights is None:
            weights = lora.initial(
                adapter.shapes, seed, lambda path: frozen.squares(path).sqrt().cpu().numpy()
            )
        adapter.write(weights)
        for linear in chosen:
            if linear.path not in self._hooked:
                module = frozen.module(linear.path)
                module.register_forward_hook(partial(self._apply, linear.path))
                self._hooked.add(linear.path)
        slot, self._given = self._given, self._given + 1
        self.attached[slot] = adapter
        return slot

    @contextmanager
    def under(self, spans: Sequence[Span]) -> Iterator[None]:
        """Within: tokens of each span run under its slot. With gradients, exactly one span."""
        self._spans = spans
        try:
            yield
        finally:
            self._spans = ()

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """Within: a block keeps what enters it alone; its backward, which must run ``under`` the
        same adapter, computes the rest again."""
        for block in self._frozen.stack:
            block.forward = partial(
                checkpoint,
                block.forward,
                use_reentrant=False,
                preserve_rng_state=False,
                context_fn=self._same_dropout,
            )
        try:
            yield
        finally:
            for block in self._frozen.stack:
                del block.forward

    def _same_dropout(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        state = self.random.get_state()

        @contextmanager
        def again() -> Iterator[None]:
            now = self.random.get_state()
            self.random.set_state(state)
            try:  # a block is left as soon as it has computed what is wanted, by an exception
                yield
            finally:
                self.random.set_state(now)

        return nullcontext(), again()

    def _apply(self, path: str, module: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> Tensor:
        x = inputs[0]
        bias: Any = module.bias
        if torch.is_grad_enabled():
            ((_, _, slot),) = self._spans
            adapter = self.attached[slot]
            if path not in adapter.parts:
                return y
            p = adapter.spec.dropout
            if p == 0:
                return _Adapted.apply(x, y, self._anchor, adapter, path, bias)
            mask = torch.empty_like(x).bernoulli_(1 - p, generator=self.random).div_(1 - p)
            x = x * mask
            if not adapter.spec.dora:
                return _Adapted.apply(x, y, self._anchor, adapter, path, bias)
            # What DoRA adds, to the frozen product too, is made of the features that are left.
            part = module.forward(x)
            return y - part + _Adapted.apply(x, part, self._anchor, adapter, path, bias)
        whole = len(self._spans) == 1
        if not whole and x.numel() // x.shape[-1] != self._spans[-1][1]:
            raise EngineError(
                f"{path} sees only some of the tokens, which several adapters cannot share",
                fix="examine one adapter at a time, or leave this module out of the targets",
            )
        x, rows = _flat(x), y.view(-1, y.shape[-1])
        for first, last, slot in self._spans:
            if slot == BASE or path not in self.attached[slot].parts:
                continue
            part = slice(None) if whole else slice(first, last)
            adapter = self.attached[slot]
            a, b, _ = adapter.parts[path]
            rows[part].addmm_(x[part] @ a.t(), b.t(), alpha=adapter.scales[path])
            if adapter.spec.dora:
                dora.stretch_(rows[part], adapter.gain(path), bias)
        return y
