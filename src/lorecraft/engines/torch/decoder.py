"""Decoders in Llama's shape, forward and backward written out.

Transformers' own modules leave a dozen small operations to autograd where two or three do. Here
linears that read the same input are one product, gradients go straight into the adapter's buffer,
only the tokens that are predicted pass the last block's feed-forward part, and the logits are never
held whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import SiLUActivation

from lorecraft.engines import host
from lorecraft.engines.base import BASE
from lorecraft.engines.torch import head
from lorecraft.engines.torch.adapters import Adapter, Adapters, Span
from lorecraft.engines.torch.attention import Layout, Score
from lorecraft.engines.torch.cache import NextTokens
from lorecraft.engines.torch.continuation import Continuation
from lorecraft.engines.torch.forward import (
    Factors,
    Packed,
    Row,
    layout_of,
    lines_of,
    plain_linear,
    rounded,
)
from lorecraft.engines.torch.kept import Kept
from lorecraft.engines.torch.linears import (
    Learned,
    Linears,
    Stacks,
    Under,
    prepared,
    product,
)
from lorecraft.engines.torch.quantized import is_quantised
from lorecraft.engines.torch.segments import Segments

FAMILIES = {"llama", "mistral", "qwen2", "qwen3", "seed_oss"}
PLENTY = 4
"""Weights are held a second time where there is memory for so many more."""
_BLOCK = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
_ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
_HEAD_NORMS = {"q_norm", "k_norm"}
_MLP = {"gate_proj", "up_proj", "down_proj"}


class Norm:
    """RMSNorm over the last dimension (Zhang and Sennrich 2019, arXiv:1910.07467)."""

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        self.weight, self._epsilon = weight, epsilon

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The output, and what backward needs: x normed, and 1 over its root mean square."""
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        inverse = norm.square_().div_(x.shape[-1]).add_(self._epsilon).rsqrt_()
        normed = torch.mul(x, inverse, out=torch.empty_like(x))
        return normed * self.weight, (normed, inverse)

    def output(self, kept: tuple[Tensor, Tensor]) -> Tensor:
        return kept[0] * self.weight

    def backward(self, dy: Tensor, kept: tuple[Tensor, Tensor]) -> Tensor:
        normed, inverse = kept
        slope = (dy * self.weight).float()
        along = (slope * normed).mean(-1, keepdim=True)
        return slope.sub_(normed * along).mul_(inverse).to(dy.dtype)


class Places(NamedTuple):
    """Where tokens stand: rotary embedding, [T, 1, D] each, and which tokens see which."""

    cos: Tensor
    sin: Tensor
    layout: Layout

    def rotate(self, x: Tensor) -> Tensor:
        """x [T, H, D] turned to its place (Su et al. 2021, arXiv:2104.09864)."""
        return torch.addcmul(x * self.cos, x.roll(x.shape[-1] // 2, -1), self.sin)

    def rotate_back(self, dy: Tensor) -> Tensor:
        return (dy * self.sin).roll(dy.shape[-1] // 2, -1).add_(dy * self.cos)


class Block:
    """A decoder block: attention, then a gated feed-forward part, each added to what came in."""

    def __init__(self, path: str, layer: nn.Module, how: Score) -> None:
        attention: Any = layer.self_attn
        mlp: Any = layer.mlp
        self._key, self._how, self._heads = attention, how, attention.head_dim

        def linears(parent: str, module: Any, names: Sequence[str]) -> Linears:
            paths = [f"{path}.{parent}.{name}" for name in names]
            return Linears(paths, [getattr(module, name) for name in names])

        self.qkv = linears("self_attn", attention, ("q_proj", "k_proj", "v_proj"))
        self.o = linears("self_attn", attention, ("o_proj",))
        self.gate_up = linears("mlp", mlp, ("gate_proj", "up_proj"))
        self.down = linears("mlp", mlp, ("down_proj",))
        self._norm1 = _norm(layer.input_layernorm)
        self._norm2 = _norm(layer.post_attention_layernorm)
        queries, keys = (
            getattr(attention, name).out_features // self._heads for name in ("q_proj", "k_proj")
        )
        self._split = [queries, keys, keys]
        self._turned = queries + keys
        self._head_norm = None
        if hasattr(attention, "q_norm"):
            weight = torch.cat(
                [
                    attention.q_norm.weight.data.expand(queries, self._heads),
                    attention.k_norm.weight.data.expand(keys, self._heads),
                ]
            )
            self._head_norm = Norm(weight, attention.q_norm.variance_epsilon)

    @property
    def linears(self) -> tuple[Linears, ...]:
        return self.qkv, self.o, self.gate_up, self.down

    def forward(
        self,
        x: Tensor,
        places: Places,
        under: Sequence[Under],
        wanted: tuple[Tensor, Sequence[Under]] | None,
        learns: bool,
    ) -> tuple[Tensor, Any]:
        """x [T, hidden] -> the same, or only the tokens that are ``wanted``; and what backward
        needs, if the block learns."""
        few = isinstance(places.layout, NextTokens)
        h, norm1 = self._norm1.forward(x)
        qkv, inner_qkv = self.qkv.forward(h, under, few)
        heads = qkv.view(len(x), -1, self._heads)
        turned, head_norm = heads[:, : self._turned], None
        if self._head_norm is not None:
            turned, head_norm = self._head_norm.forward(turned)
        heads[:, : self._turned] = places.rotate(turned)
        back = None
        if isinstance(places.layout, Segments):
            seen, back = places.layout.mix(self._key, heads, self._split, self._how, learns)
        else:
            q, k, v = (part.transpose(0, 1)[None] for part in heads.split(self._split, 1))
            seen = places.layout.attend(self._key, q, k, v, self._how)[0].flatten(1)
        if wanted is not None:
            rows, under = wanted
            seen, x = seen[rows], x[rows]
        o, inner_o = self.o.forward(seen, under, few)
        x = x + o
        h2, norm2 = self._norm2.forward(x)
        gate_up, inner_gate_up = self.gate_up.forward(h2, under, few)
        gate, up = gate_up.chunk(2, -1)
        down, inner_down = self.down.forward(F.silu(gate).mul_(up), under, few)
        kept = None
        if learns:
            kept = (
                (norm1, inner_qkv, head_norm, back, seen, inner_o),
                (norm2, inner_gate_up, gate_up, inner_down),
            )
        return x + down, kept

    def backward(
        self,
        dx: Tensor,
        kept: Any,
        places: Places,
        learned: Learned,
        wanted: Tensor | None,
        needed: bool,
    ) -> Tensor:
        """The gradient of what came in, where it is needed."""
        (norm1, inner_qkv, head_norm, back, seen, inner_o), feed_forward = kept
        norm2, inner_gate_up, gate_up, inner_down = feed_forward
        gate, up = gate_up.chunk(2, -1)
        silu = F.silu(gate)
        d = self.down.backward(dx, silu * up, inner_down, learned)
        d_gate_up = torch.empty_like(gate_up)
        d_gate, d_up = d_gate_up.chunk(2, -1)
        torch.mul(d, silu, out=d_up)
        torch.ops.aten.silu_backward.grad_input(d.mul_(up), gate, grad_input=d_gate)
        d = self.gate_up.backward(d_gate_up, self._norm2.output(norm2), inner_gate_up, learned)
        dx = dx + self._norm2.backward(d, norm2)
        d = self.o.backward(dx, seen, inner_o, learned)
        if wanted is not None:
            tokens = len(norm1[0])
            dx, d = (x.new_zeros(tokens, x.shape[1]).index_add_(0, wanted, x) for x in (dx, d))
        d_heads = back(d)
        turned = places.rotate_back(d_heads[:, : self._turned])
        if self._head_norm is not None:
            turned = self._head_norm.backward(turned, head_norm)
        d_heads[:, : self._turned] = turned
        h = self._norm1.output(norm1)
        d = self.qkv.backward(d_heads.flatten(1), h, inner_qkv, learned, needed)
        return dx + self._norm1.backward(d, norm1) if needed else dx


@dataclass(frozen=True)
class _Step:
    """A block that was passed: what entered it, or what it kept for the way back."""

    block: Block
    x: Tensor | None
    places: Places
    under: Sequence[Under]
    wanted: tuple[Tensor, Sequence[Under]] | None
    kept: Any = None

    def forward(self, learns: bool) -> tuple[Tensor, Any]:
        assert self.x is not None
        return self.block.forward(self.x, self.places, self.under, self.wanted, learns)


class Decoder(Packed):
    """``Packed``, faster. It is for models of which ``Decoder.fits`` is true and whose logits it
    is then found to give: see ``choose.choose``."""

    way = "written out"

    def __init__(
        self,
        network: PreTrainedModel,
        adapters: Adapters,
        device: str,
        how: Mapping[nn.Module, Score],
    ) -> None:
        super().__init__(network, adapters, device)
        base = network.model
        names = {id(module): name for name, module in network.named_modules()}
        self._blocks = [Block(names[id(b)], b, how[b.self_attn]) for b in base.layers]
        self._embedding, self._rotary = base.embed_tokens, base.rotary_emb
        self._norm, self._head = _norm(base.norm), network.lm_head.weight.data
        self._head_weight = self._head
        self._prepared_head: Tensor | None = None
        self._quantised = any(map(is_quantised, base.modules()))
        self._stacks: WeakKeyDictionary[Adapter, dict[int, Stacks]] = WeakKeyDictionary()
        self._kept: WeakKeyDictionary[Adapter, Kept] = WeakKeyDictionary()

    @staticmethod
    def fits(network: PreTrainedModel) -> bool:
        """Whether it is of a tried family, its modules those of Llama, with norms on queries and
        keys or without them. Logits alone, in bf16, do not tell all that differ."""
        if network.config.model_type not in FAMILIES:
            return False
        base: Any = getattr(network, "model", None)
        head: Any = getattr(network, "lm_head", None)
        parts = ("embed_tokens", "layers", "norm", "rotary_emb")
        if (
            not all(hasattr(base, part) for part in parts)
            or not plain_linear(head)
            or head.bias is not None
        ):
            return False
        return all(_fits(layer) for layer in base.layers)

    def run(
        self, tokens: Tensor, places: Tensor, wanted: Tensor, spans: list[Span], layout: Layout
    ) -> Tensor:
        x, _ = self._forward(tokens, places, wanted, spans, layout, learns=False)
        h = self._norm.forward(x)[0]
        if self._prepared_head is not None and isinstance(layout, NextTokens):
            return product(h, self._prepared_head)
        return h @ self._head.t()

    def begin(self, rows: int, room: int) -> Continuation:
        """With weights prepared for few rows, where memory is in plenty."""
        if self._prepared_head is None and self._can_prepare():
            for block in self._blocks:
                for linears in block.linears:
                    linears.prepare()
            self._prepared_head = prepared(self._head)
        return super().begin(rows, room)

    def _can_prepare(self) -> bool:
        able = self._head.device.type == "cpu" and self._head.dtype == torch.bfloat16
        if not (able and torch.ops.mkldnn._is_mkldnn_bf16_supported()) or self._quantised:
            return False
        held, free = self._network.get_memory_footprint(), host.available()
        return free is not None and PLENTY * held < free - host.resident()

    @torch.no_grad()
    def score(self, rows: Sequence[Row], targets: Tensor) -> Tensor:
        given = rounded(rows)
        layout, entered = layout_of(given, self.device), self._entered(rows, given)
        h, _ = self._forward(*self.flat(given), layout, learns=False, entered=entered)
        h, _ = self._norm.forward(h[: len(targets)])
        return head.score(h, self._head, targets)

    @torch.no_grad()
    def learn(
        self,
        rows: Sequence[Row],
        targets: Tensor,
        weights: Tensor,
        factors: Factors | None = None,
    ) -> Tensor:
        adapter = self._adapters.attached[rows[0].slot]
        if adapter.spec.dropout > 0:
            return super().learn(rows, targets, weights, factors)
        given, known = rounded(rows), len(targets)
        idle = sum(len(row.wanted) for row in given) - known
        targets, weights = (F.pad(x, (0, idle)) for x in (targets, weights))
        flat, layout = self.flat(given), layout_of(given, self.device)
        entered = self._entered(rows, given)
        x, taken = self._forward(*flat, layout, learns=True, entered=entered)
        h, norm = self._norm.forward(x)
        log, d = head.learn(h, self._head, targets, weights)
        if factors is not None:
            d[:known] *= factors(log[:known])[:, None]
        dx = self._norm.backward(d, norm)
        stacks = self._stacks_of(adapter, adapter.working)
        learned = Learned(adapter, stacks, self._stacks_of(adapter, adapter.gradient))
        while taken:
            step = taken.pop()
            kept = step.kept or step.forward(learns=True)[1]
            only = step.wanted[0] if step.wanted else None
            dx = step.block.backward(dx, kept, step.places, learned, only, bool(taken))
        return log[:known]

    def kept_bytes(self, slot: int) -> int:
        adapter = self._adapters.attached[slot]
        if adapter.spec.dropout > 0 or not self._lowest([slot]):
            return 0
        return self._head.shape[1] * self._head.element_size()

    @torch.no_grad()
    def keep(self, rows: Sequence[Row]) -> None:
        adapter = self._adapters.attached[rows[0].slot]
        if adapter not in self._kept:
            self._kept[adapter] = Kept()
        given, kept = rounded(rows), self._kept[adapter]
        tokens, places, _, _ = self.flat(given)
        x = self._embedding(tokens.to(self.device))
        positions = self._positions(places, layout_of(given, self.device), x)
        for block in self._blocks[: self._lowest([rows[0].slot])]:
            x, _ = block.forward(x, positions, (), None, learns=False)
        states = x.split([len(row.tokens) for row in given])
        for line, some in zip(lines_of(rows), states, strict=False):
            kept.put(line, some)

    def _entered(self, rows: Sequence[Row], given: Sequence[Row]) -> Tensor | None:
        """What enters the lowest block that is adapted, if it is kept for all rows; ``given`` are
        the rows and an idle one, for which it may be anything."""
        slots = {row.slot for row in rows}
        adapter = self._adapters.attached.get(slots.pop())
        kept = self._kept.get(adapter) if adapter else None
        if kept is None or slots:
            return None
        found = []
        for line, row in zip(lines_of(rows), rows, strict=True):
            if (states := kept.get(line, len(row.tokens), self._head.dtype)) is None:
                return None
            found.append(states)
        idle = sum(len(row.tokens) for row in given[len(rows) :])
        return torch.cat([*found, self._head.new_zeros(idle, self._head.shape[1])])

    def _forward(
        self,
        tokens: Tensor,
        places: Tensor,
        wanted: Tensor,
        spans: Sequence[Span],
        layout: Layout,
        learns: bool,
        entered: Tensor | None = None,
    ) -> tuple[Tensor, list[_Step]]:
        """The last block's output at ``wanted``; where they learn, the steps from the lowest
        adapted block on. ``entered`` is what enters that, if it is known."""
        wanted = wanted.to(self.device)
        lowest = self._lowest([slot for _, _, slot in spans])
        x = self._embedding(tokens.to(self.device)) if entered is None else entered
        positions = self._positions(places, layout, x)
        under, there = self._under(spans), self._under(_spans_at(spans, wanted))
        taken: list[_Step] = []
        for index in range(0 if entered is None else lowest, len(self._blocks)):
            last = (wanted, there) if index == len(self._blocks) - 1 else None
            step = _Step(self._blocks[index], x, positions, under, last)
            adapted = learns and index >= lowest
            x, kept = step.forward(adapted and not self.recomputes)
            if adapted:
                taken.append(step if self.recomputes else replace(step, x=None, kept=kept))
        return x, taken

    def _positions(self, places: Tensor, layout: Layout, x: Tensor) -> Places:
        cos, sin = self._rotary(x[None], places[None].to(self.device))
        half = cos.shape[-1] // 2
        sin = torch.cat([-sin[..., :half], sin[..., half:]], -1)
        return Places(cos[0, :, None], sin[0, :, None], layout)

    def _lowest(self, slots: Sequence[int]) -> int:
        """The first block that one of the slots adapts."""
        attached = self._adapters.attached
        return min(
            (attached[slot].linears[0].block for slot in slots if slot != BASE),
            default=len(self._blocks),
        )

    def _under(self, spans: Sequence[Span]) -> list[Under]:
        attached = self._adapters.attached
        under = [
            (slice(first, last), attached[slot]) for first, last, slot in spans if slot != BASE
        ]
        return [Under(rows, one, self._stacks_of(one, one.working)) for rows, one in under]

    def _stacks_of(self, adapter: Adapter, flat: Tensor) -> Stacks:
        """A flat buffer of the adapter's by linears; views, made once."""
        known, place = self._stacks.setdefault(adapter, {}), flat.data_ptr()
        if place not in known:
            parts = adapter.split_parts(flat)
            linears = [linears for block in self._blocks for linears in block.linears]
            known[place] = {one: one.stack(flat, parts) for one in linears}
        return known[place]


def _spans_at(spans: Sequence[Span], wanted: Tensor) -> list[Span]:
    """The spans among the wanted tokens, which are in order."""
    if len(spans) == 1:
        return [(0, len(wanted), spans[0][2])]
    ends = torch.tensor([0, *(last for _, last, _ in spans)], device=wanted.device)
    places = torch.searchsorted(wanted, ends).tolist()
    return [
        (first, last, slot)
        for first, last, (_, _, slot) in zip(places, places[1:], spans, strict=False)
        if last > first
    ]


def _norm(module: Any) -> Norm:
    return Norm(module.weight.data, module.variance_epsilon)


def _fits(layer: nn.Module) -> bool:
    children: dict[str, Any] = dict(layer.named_children())
    if set(children) != _BLOCK:
        return False
    attention, mlp = children["self_attn"], children["mlp"]
    inner = dict(attention.named_children())
    linears = [getattr(attention, name, None) for name in _ATTENTION]
    linears += [getattr(mlp, name, None) for name in _MLP]
    norms = [children["input_layernorm"], children["post_attention_layernorm"]]
    norms += [inner[name] for name in _HEAD_NORMS & set(inner)]
    return (
        set(inner) in (_ATTENTION, _ATTENTION | _HEAD_NORMS)
        and all(plain_linear(linear) or is_quantised(linear) for linear in linears)
        and isinstance(getattr(mlp, "act_fn", None), nn.SiLU | SiLUActivation)
        and all(hasattr(norm, "variance_epsilon") for norm in norms)
        and isinstance(getattr(attention, "head_dim", None), int)
    )
