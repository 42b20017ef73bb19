"""Rows of tokens through the model: packed where that is exact, one by one where it is not."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from lorecraft.engines.base import BASE
from lorecraft.engines.torch.adapters import Adapters, Span
from lorecraft.engines.torch.attention import PACKED, Layout, watched
from lorecraft.engines.torch.cache import Cache
from lorecraft.engines.torch.continuation import (
    Continuation,
    OneByOneContinuation,
    PackedContinuation,
    spans_of,
)
from lorecraft.engines.torch.loss import cross_entropy
from lorecraft.engines.torch.segments import Segments

TOKENS, WANTED = 32, 16
"""Of these packed sizes are multiples."""


@dataclass(frozen=True)
class Row:
    """Tokens under one adapter slot; logits are wanted after the tokens at ``wanted``."""

    tokens: NDArray[np.int32]
    wanted: NDArray[np.int64]
    slot: int


class Forward(Protocol):
    def logits(self, rows: Sequence[Row]) -> Tensor:
        """[sum of wanted, V], row after row. Rows of one slot must be neighbours."""

    def learn(self, rows: Sequence[Row], targets: Tensor, weights: Tensor) -> float:
        """Weighted sum of -log p(target); adds its gradient to that of the rows' one adapter.

        Takes targets int64 and weights float32, [sum of wanted].
        """

    def begin(self, rows: int, room: int) -> Continuation:
        """Be ready to continue so many rows, of at most ``room`` tokens each."""


def choose(network: PreTrainedModel, adapters: Adapters, device: str) -> Forward:
    """The fastest that gives this model's own logits: ``Decoder``, ``Packed`` or ``OneByOne``.

    It is tried, because no flag of Transformers says whether a model keeps packed segments apart
    (convolutions and recurrences do not) or does something else in its attention.
    """
    from lorecraft.engines.torch.decoder import Decoder

    alone = OneByOne(network, adapters, device)
    takes_positions = "position_ids" in inspect.signature(network.forward).parameters
    if not (network._supports_attention_backend and takes_positions) or _by_longest(network):
        return alone
    vocabulary = network.config.get_text_config().vocab_size
    random = np.random.default_rng(0)
    probe = [
        Row(random.integers(0, vocabulary, n, np.int32), np.arange(n), BASE) for n in (5, 9, 7)
    ]
    before = network.config._attn_implementation
    tolerance = 1e-3 if network.dtype == torch.float32 else 5e-2

    def agrees(forward: Forward) -> bool:
        seen = forward.logits(probe).float()
        return float((seen - expected).norm() / expected.norm()) < tolerance

    with torch.no_grad():
        network.set_attn_implementation("eager")
        expected = alone.logits(probe).float()
        network.set_attn_implementation(PACKED)
        packed = Packed(network, adapters, device)
        with watched() as how:
            if not agrees(packed):
                network.set_attn_implementation(before)
                return alone
        if device == "cpu" and Decoder.fits(network):
            decoder = Decoder(network, adapters, device, how)
            if agrees(decoder):
                return decoder
        return packed


def rounded(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows and an idle one, so that sizes come again and again.

    oneDNN prepares each product for its size (benchmarks/step.py says what that costs), and without
    this nearly every step has another number of tokens.
    """
    more_wanted = -sum(len(row.wanted) for row in rows) % WANTED
    tokens = more_wanted + sum(len(row.tokens) for row in rows)
    more_tokens = more_wanted + -tokens % TOKENS
    if not more_tokens:
        return rows
    last = rows[-1]
    idle = np.full(more_tokens, last.tokens[0], np.int32)  # a token whose embedding is sound
    return [*rows, Row(idle, np.arange(more_wanted), last.slot)]


def _by_longest(network: PreTrainedModel) -> bool:
    """Whether the rotary embedding of all rows would follow the longest of them."""
    rope = getattr(network.config.get_text_config(), "rope_parameters", None) or {}
    each = [rope, *(kind for kind in rope.values() if isinstance(kind, dict))]
    return any(one.get("rope_type") in ("longrope", "dynamic") for one in each)


class _ByAutograd:
    """Learning as PyTorch does it by itself."""

    def learn(self: Any, rows: Sequence[Row], targets: Tensor, weights: Tensor) -> float:
        with torch.enable_grad():
            logits = self.logits(rows)
        loss, gradient = cross_entropy(logits.detach(), targets, weights)
        logits.backward(gradient)
        return loss


class Packed(_ByAutograd):
    """All rows as one, [1, T]; attention keeps them apart."""

    def __init__(self, network: PreTrainedModel, adapters: Adapters, device: str) -> None:
        self._network, self._adapters, self.device = network, adapters, device
        self._selects = "logits_to_keep" in inspect.signature(network.forward).parameters

    def logits(
        self, rows: Sequence[Row], cache: Cache | None = None, places: Sequence[int] = ()
    ) -> Tensor:
        """See ``Forward``. Keys and values are kept at these ``places`` of a cache if there is
        one."""
        given = rounded(rows)
        if cache is not None and len(given) > len(rows):
            places = [*places, cache.spare]
        layout = Segments([len(row.tokens) for row in given], self.device, cache, places)
        return self.run(*self.flat(given), layout)[: sum(len(row.wanted) for row in rows)]

    def begin(self, rows: int, room: int) -> Continuation:
        return PackedContinuation(self, rows, max(room, TOKENS + WANTED))

    def flat(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor, Tensor, list[Span]]:
        """The rows as one: tokens, their positions, where logits are wanted, and the adapters."""
        lengths = [len(row.tokens) for row in rows]
        offsets = np.cumsum([0, *lengths[:-1]])
        wanted = np.concatenate([row.wanted + o for row, o in zip(rows, offsets, strict=True)])
        return (
            torch.from_numpy(np.concatenate([row.tokens for row in rows])).long(),
            torch.cat([torch.arange(length) for length in lengths]),
            torch.from_numpy(wanted),
            spans_of([row.slot for row in rows], lengths),
        )

    def run(
        self, tokens: Tensor, places: Tensor, wanted: Tensor, spans: list[Span], layout: Layout
    ) -> Tensor:
        wanted = wanted.to(self.device)
        selected: dict[str, Any] = {"logits_to_keep": wanted} if self._selects else {}
        with self._adapters.under(spans):
            logits = self._network(
                input_ids=tokens[None].to(self.device),
                position_ids=places[None].to(self.device),
                use_cache=False,
                layout=layout,
                **selected,
            ).logits[0]
        return logits if self._selects else logits[wanted]


class OneByOne(_ByAutograd):
    """Each row alone, through the model's own attention and cache."""

    def __init__(self, network: PreTrainedModel, adapters: Adapters, device: str) -> None:
        self._network, self._adapters, self.device = network, adapters, device

    def logits(self, rows: Sequence[Row]) -> Tensor:
        parts = []
        for row in rows:
            tokens = torch.from_numpy(row.tokens).long()
            logits = self.run(tokens, row.slot, use_cache=False).logits[0]
            parts.append(logits[torch.from_numpy(row.wanted).to(self.device)])
        return torch.cat(parts)

    def begin(self, rows: int, room: int) -> Continuation:
        return OneByOneContinuation(self)

    def run(self, tokens: Tensor, slot: int, **settings: Any) -> Any:
        with self._adapters.under([(0, len(tokens), slot)]):
            return self._network(input_ids=tokens[None].to(self.device), **settings)
