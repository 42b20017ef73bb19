"""LoRA over frozen modules: forward hooks, and one flat fp32 buffer for each adapter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.engines import lora
from lorecraft.engines.base import BASE, Arrays
from lorecraft.errors import EngineError, ModelError

Span = tuple[int, int, int]
"""First token, last token + 1, adapter slot."""


class Adapter:
    """One slot. ``master`` is flat fp32; ``working`` is its copy in the model's dtype;
    ``gradient`` is flat fp32 too, once it learns."""

    def __init__(
        self, spec: AdapterSpec, linears: Sequence[lora.Linear], dtype: torch.dtype, device: str
    ) -> None:
        self.spec, self.linears = spec, linears
        # Every A before every B: those of neighbouring linears are one matrix.
        shapes = lora.shapes(spec.rank, linears).items()
        self.shapes = dict(sorted(shapes, key=lambda item: item[0].endswith("lora_B.weight")))
        size = sum(math.prod(shape) for shape in self.shapes.values())
        self.master = torch.zeros(size, device=device)
        self.working = self.master if dtype == torch.float32 else self.master.to(dtype)
        self.pairs = self.split_pairs(self.working)
        self.gradient = torch.zeros(0)
        self.gradients: dict[str, tuple[Tensor, Tensor]] = {}

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of a flat buffer by PEFT name."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        parts = zip(self.shapes.items(), flat.split(sizes), strict=True)
        return {name: part.view(shape) for (name, shape), part in parts}

    def split_pairs(self, flat: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Views (A, B) of a flat buffer by module path."""
        views = self.split(flat)
        paths = [linear.path for linear in self.linears]
        return {p: (views[lora.names(p)[0]], views[lora.names(p)[1]]) for p in paths}

    def learn(self, gradient: Tensor) -> None:
        """Add gradients to this flat buffer from now on."""
        self.gradient, self.gradients = gradient, self.split_pairs(gradient)

    def publish(self) -> None:
        """Bring ``working`` up to date with ``master``."""
        if self.working is not self.master:
            self.working.copy_(self.master)

    def write(self, weights: Arrays) -> None:
        """Raises AdapterError when the weights do not fit."""
        fitted = lora.fitted(self.shapes, weights)
        flat = np.concatenate([array.ravel() for array in fitted.values()])
        self.master.copy_(torch.from_numpy(flat))
        self.publish()

    def read(self) -> dict[str, NDArray[np.float32]]:
        return {name: view.cpu().numpy().copy() for name, view in self.split(self.master).items()}


class _LowRank(torch.autograd.Function):
    """``y + scale * B A x``. Saves x alone, and adds A's and B's gradients (all sums over tokens)
    to the adapter's own buffer, so autograd never sees a parameter."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, anchor: Tensor, adapter: Adapter, path: str, mask: Any
    ) -> Tensor:
        ctx.save_for_backward(x, mask)
        ctx.adapter, ctx.path = adapter, path
        a, b = adapter.pairs[path]
        inner = _flat(x if mask is None else x * mask) @ a.t()
        return torch.addmm(_flat(y), inner, b.t(), alpha=adapter.spec.scale).view(y.shape)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
        x, mask = ctx.saved_tensors
        adapter, scale = ctx.adapter, ctx.adapter.spec.scale
        a, b = adapter.pairs[ctx.path]
        gradient_a, gradient_b = adapter.gradients[ctx.path]
        dropped, flat = _flat(x if mask is None else x * mask), _flat(dy)
        inner = flat @ b
        gradient_b.add_(flat.t() @ (dropped @ a.t()), alpha=scale)
        gradient_a.add_(inner.t() @ dropped, alpha=scale)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = (inner @ a).mul_(scale).view(x.shape)
            dx = dx if mask is None else dx * mask
        return dx, dy, None, None, None, None


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


class Adapters:
    """Every attached adapter of one model, and which of them the present forward runs under."""

    def __init__(self, network: PreTrainedModel, dtype: torch.dtype, device: str) -> None:
        self._network, self._dtype, self._device = network, dtype, device
        self.blocks, self.linears = linears_of(network)
        self.attached: dict[int, Adapter] = {}
        self._given = 0
        self.random = torch.Generator(device=device)
        self._hooked: set[str] = set()
        self._spans: Sequence[Span] = ()
        # A hook's function runs backward only if one of its inputs asks for a gradient.
        self._anchor = torch.zeros((), device=device, requires_grad=True)

    def attach(self, spec: AdapterSpec, weights: Arrays | None, seed: int) -> int:
        chosen = lora.choose(spec, self.linears, self.blocks)
        adapter = Adapter(spec, chosen, self._dtype, self._device)
        adapter.write(lora.initial(adapter.shapes, seed) if weights is None else weights)
        for linear in chosen:
            if linear.path not in self._hooked:
                module = self._network.get_submodule(linear.path)
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
        place = f".{self.linears[0].block}."
        stack = self._network.get_submodule(self.linears[0].path.split(place)[0])
        for block in stack:
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
            for block in stack:
                del block.forward

    def _same_dropout(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        state = self.random.get_state()

        @contextmanager
        def again() -> Iterator[None]:
            now = self.random.get_state()
            self.random.set_state(state)
            yield
            self.random.set_state(now)

        return nullcontext(), again()

    def _apply(self, path: str, module: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> Tensor:
        x = inputs[0]
        if torch.is_grad_enabled():
            ((_, _, slot),) = self._spans
            adapter = self.attached[slot]
            if path not in adapter.pairs:
                return y
            mask, p = None, adapter.spec.dropout
            if p > 0:
                mask = torch.empty_like(x).bernoulli_(1 - p, generator=self.random).div_(1 - p)
            return _LowRank.apply(x, y, self._anchor, adapter, path, mask)
        whole = len(self._spans) == 1
        if not whole and x.numel() // x.shape[-1] != self._spans[-1][1]:
            raise EngineError(
                f"{path} sees only some of the tokens, which several adapters cannot share",
                fix="examine one adapter at a time, or leave this module out of the targets",
            )
        x, rows = _flat(x), y.view(-1, y.shape[-1])
        for first, last, slot in self._spans:
            if slot == BASE or path not in self.attached[slot].pairs:
                continue
            part = slice(None) if whole else slice(first, last)
            adapter = self.attached[slot]
            a, b = adapter.pairs[path]
            rows[part].addmm_(x[part] @ a.t(), b.t(), alpha=adapter.spec.scale)
        return y


def linears_of(network: PreTrainedModel) -> tuple[int, list[lora.Linear]]:
    """How many decoder blocks there are, and the linears inside them."""
    blocks = network.config.get_text_config().num_hidden_layers
    for path, stack in network.named_modules():
        is_stack = isinstance(stack, nn.ModuleList) and len(stack) == blocks
        if not is_stack or "vision" in path or "visual" in path:
            continue
        found = []
        for block, layer in enumerate(stack):
            for name, module in layer.named_modules():
                size = _size(module)
                if size is not None:
                    found.append(lora.Linear(f"{path}.{block}.{name}", block, *size))
        return blocks, found
    raise ModelError(
        f"{type(network).__name__} has no list of {blocks} decoder blocks",
        expected="a decoder with its blocks in one list",
    )


def _size(module: nn.Module) -> tuple[int, int] | None:
    """(inputs, outputs) of a linear map; GPT-2 keeps its linears as transposed Conv1D."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if type(module).__name__ == "Conv1D":
        return int(module.nx), int(module.nf)  # type: ignore[arg-type]
    return None
