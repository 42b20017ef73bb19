"""Rows of tokens through the model: packed where that is exact, one by one where it is not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from lorecraft.engines.torch import head
from lorecraft.engines.torch.adapters import Adapters, Span
from lorecraft.engines.torch.attention import Layout
from lorecraft.engines.torch.cache import Cache
from lorecraft.engines.torch.continuation import (
    Continuation,
    OneByOneContinuation,
    PackedContinuation,
    spans_of,
)
from lorecraft.engines.torch.head import cross_entropy, log_probability
from lorecraft.engines.torch.segments import Segments, positions

TOKENS, WANTED = 32, 16
"""Of these packed sizes are multiples."""


@dataclass(frozen=True)
class Row:
    """Tokens under one adapter slot; logits are wanted after the tokens at ``wanted``, in order.

    ``parent`` is the index of the row whose tokens come before these, -1 if there is none.
    """

    tokens: NDArray[np.int32]
    wanted: NDArray[np.int64]
    slot: int
    parent: int = -1


Factors = Callable[[Tensor], Tensor]
"""Of log-probabilities float32 [N]: float32 [N]."""


class Forward(Protocol):
    """Rows of one slot must be neighbours, and so must those of one parent, which comes first."""

    shares: bool
    """Whether rows may have a parent."""
    recomputes: bool
    """See ``Engine.recomputes``."""

    @property
    def way(self) -> str:
        """See ``Engine.way``."""

    @property
    def whole_logits(self) -> bool:
        """Whether the logits of a pass are all held at once."""

    def score(self, rows: Sequence[Row], targets: Tensor) -> Tensor:
        """log p(target), float32 [sum of wanted], of targets int64 [sum of wanted]."""

    def learn(
        self,
        rows: Sequence[Row],
        targets: Tensor,
        weights: Tensor,
        factors: Factors | None = None,
    ) -> Tensor:
        """log p(target), float32 [sum of wanted]; adds the gradient of the weighted sum of -log p
        to that of the rows' one adapter.

        Takes targets int64 and weights float32, [sum of wanted]. ``factors`` multiply the weights;
        they are known when the log-probabilities are. Those cost nothing more: what goes back from
        a token is in proportion to its weight.
        """

    def begin(self, rows: int, room: int) -> Continuation:
        """Be ready to continue so many rows, of at most ``room`` tokens each."""

    def kept_bytes(self, slot: int) -> int:
        """Bytes that ``keep`` holds for a token; 0 where that would spare nothing."""

    def keep(self, rows: Sequence[Row]) -> None:
        """See ``Engine.keep``."""


def plain_linear(module: Any) -> bool:
    """Whether it is a product with a matrix of numbers, and nothing more."""
    plain = type(module) is nn.Linear and type(module.weight.data) is Tensor
    return plain and module.weight.is_floating_point()


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


def lines_of(rows: Sequence[Row]) -> list[NDArray[np.int32]]:
    """Each row's tokens after those of its ancestors."""
    lines: list[NDArray[np.int32]] = []
    for row in rows:  # a parent stands before its children
        above = [lines[row.parent]] if row.parent >= 0 else []
        lines.append(np.concatenate([*above, row.tokens]))
    return lines


def layout_of(
    rows: Sequence[Row], device: str, cache: Cache | None = None, places: Sequence[int] = ()
) -> Segments:
    parents = [row.parent for row in rows]
    return Segments([len(row.tokens) for row in rows], device, parents, cache, places)


class _ByAutograd:
    """Learning as PyTorch does it by itself. ``_output`` is logits, or where the head is known what
    enters that."""

    recomputes = False
    _head_weight: Tensor | None = None

    @property
    def whole_logits(self) -> bool:
        return self._head_weight is None

    def kept_bytes(self, slot: int) -> int:
        return 0

    def keep(self, rows: Sequence[Row]) -> None:
        """All of it is computed again."""

    def score(self: Any, rows: Sequence[Row], targets: Tensor) -> Tensor:
        with torch.no_grad():
            output = self._output(rows)
            if self._head_weight is None:
                return log_probability(output, targets)
            return head.score(output, self._head_weight, targets)

    def learn(
        self: Any,
        rows: Sequence[Row],
        targets: Tensor,
        weights: Tensor,
        factors: Factors | None = None,
    ) -> Tensor:
        again = self._adapters.recomputing() if self.recomputes else nullcontext()
        with again, torch.enable_grad():
            output = self._output(rows)
        given = output.detach()
        if self._head_weight is None:
            log, gradient = cross_entropy(given, targets, weights)
        else:
            log, gradient = head.learn(given, self._head_weight, targets, weights)
        if factors is not None:
            gradient *= factors(log)[:, None]
        with self._adapters.under([(0, len(given), rows[0].slot)]):
            output.backward(gradient)
        return log


class Packed(_ByAutograd):
    """All rows as one, [1, T]; attention keeps them apart."""

    shares = True
    way = "packed"

    def __init__(self, network: PreTrainedModel, adapters: Adapters, device: str) -> None:
        self._network, self._adapters, self.device = network, adapters, device
        self._selects = "logits_to_keep" in inspect.signature(network.forward).parameters

    def split_head(self, rows: Sequence[Row]) -> None:
        """Take the head apart, so that logits are never held whole: if it is a product alone, takes
        what the body gives, and gives what the model gives."""
        found: Any = self._network.get_output_embeddings()
        body_is_known = self._network.base_model is not self._network
        if not body_is_known or not plain_linear(found) or found.bias is not None:
            return
        seen, sign = [], torch.linspace(-100, 100, found.out_features, dtype=found.weight.dtype)

        def replaced(_: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            seen.append(inputs[0][0])
            return sign.to(output.device).expand_as(output)

        handle = found.register_forward_hook(replaced)
        try:
            given = self.logits(rows)
        finally:
            handle.remove()
        self._head_weight = found.weight.data
        states = self._output(rows)
        same = len(seen[0]) >= len(states) and torch.equal(seen[0][: len(states)], states)
        if not same or not torch.equal(given, sign.to(given.device).expand_as(given)):
            self._head_weight = None

    def _output(self, rows: Sequence[Row]) -> Tensor:
        if self._head_weight is None:
            return self.logits(rows)
        given = rounded(rows)
        tokens, places, wanted, spans = self.flat(given)
        with self._adapters.under(spans):
            states = self._network.base_model(
                input_ids=tokens[None].to(self.device),
                position_ids=places[None].to(self.device),
                use_cache=False,
                layout=layout_of(given, self.device),
            ).last_hidden_state[0]
        return states[wanted[: sum(len(row.wanted) for row in rows)].to(self.device)]

    def logits(
        self, rows: Sequence[Row], cache: Cache | None = None, places: Sequence[int] = ()
    ) -> Tensor:
        """[sum of wanted, V], row after row. Keys and values are kept at these ``places`` of a
        cache if there is one."""
        given = rounded(rows)
        if cache is not None and len(given) > len(rows):
            places = [*places, cache.spare]
        layout = layout_of(given, self.device, cache, places)
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
            torch.from_numpy(positions(lengths, [row.parent for row in rows])),
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

    shares = False
    way = "row by row: packed rows of this model would not give its own logits"

    def __init__(self, network: PreTrainedModel, adapters: Adapters, device: str) -> None:
        self._network, self._adapters, self.device = network, adapters, device

    def _output(self, rows: Sequence[Row]) -> Tensor:
        return self.logits(rows)

    def logits(self, rows: Sequence[Row]) -> Tensor:
        """[sum of wanted, V], row after row."""
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
