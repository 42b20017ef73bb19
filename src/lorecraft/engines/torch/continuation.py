"""Rows that are being continued, a token each at a time, through either kind of forward."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lorecraft.engines.torch.cache import Cache, NextTokens

if TYPE_CHECKING:
    from lorecraft.engines.torch.adapters import Span
    from lorecraft.engines.torch.forward import OneByOne, Packed, Row

SHARED = 16
"""So many tokens or more that all newcomers of a slot begin with are computed once."""
ROWS = 8
"""The rows of a step are multiples of this: see ``forward.rounded``."""


class Continuation(Protocol):
    """Rows at places 0, 1, ... without a gap."""

    def admit(self, prompts: Sequence[Row], copies: Sequence[int]) -> Tensor:
        """Newcomers behind the rows that are there, so many of each prompt: what follows each
        prompt, logits [prompts, V]. Prompts of one slot must be neighbours."""

    def append(self, tokens: Sequence[int]) -> Tensor:
        """A token more for every row: what follows each, [rows, V]."""

    def drop(self, place: int) -> None:
        """The row there ends; the last one takes its place."""


class PackedContinuation:
    """Every step is one forward of a token from each row; a static cache holds the rest."""

    def __init__(self, packed: Packed, rows: int, room: int) -> None:
        self._packed = packed
        self._cache = Cache(rows + -rows % ROWS, room)
        self._slots: list[int] = []
        self._lengths: list[int] = []

    def admit(self, prompts: Sequence[Row], copies: Sequence[int]) -> Tensor:
        """A prompt is computed once, and so is what prompts begin with alike; keys and values are
        copied."""
        places = (len(self._slots) + np.cumsum([0, *copies[:-1]])).tolist()
        lengths = [len(prompt.tokens) for prompt in prompts]
        rows, at, begun = _begun_alike(prompts, places)
        logits = self._packed.logits(rows, self._cache, at)
        for place, others, length in begun:
            self._cache.copy(place, others, length)
        for place, count, length in zip(places, copies, lengths, strict=True):
            if count > 1:
                self._cache.copy(place, slice(place + 1, place + count), length)
        for prompt, count in zip(prompts, copies, strict=True):
            self._slots += [prompt.slot] * count
            self._lengths += [len(prompt.tokens)] * count
        return logits

    def append(self, tokens: Sequence[int]) -> Tensor:
        """Rows of one slot go side by side. Idle rows fill up: what they write is in nobody's way,
        since their places are free."""
        rows = len(tokens)
        idle = -rows % ROWS
        order = sorted(range(rows), key=self._slots.__getitem__)
        last = order[-1]
        given = [*order, *[last] * idle]
        places = [self._lengths[row] for row in given]
        logits = self._packed.run(
            torch.tensor([tokens[row] for row in given]),
            torch.tensor(places),
            torch.arange(len(given)),
            spans_of([self._slots[row] for row in given], [1] * len(given)),
            NextTokens(
                self._cache, [*order, *range(rows, rows + idle)], places, self._packed.device
            ),
        )
        self._lengths = [length + 1 for length in self._lengths]
        if order == sorted(order):
            return logits[:rows]
        return logits[torch.argsort(torch.tensor(order, device=logits.device))]

    def drop(self, place: int) -> None:
        last = len(self._slots) - 1
        if place < last:
            self._cache.copy(last, slice(place, place + 1), self._lengths[last])
        for each in (self._slots, self._lengths):
            each[place] = each[last]
            del each[last]


class OneByOneContinuation:
    """Each row with the model's own cache."""

    def __init__(self, forward: OneByOne) -> None:
        self._forward = forward
        self._rows: list[tuple[int, Any]] = []

    def admit(self, prompts: Sequence[Row], copies: Sequence[int]) -> Tensor:
        logits = []
        for prompt, count in zip(prompts, copies, strict=True):
            tokens = torch.from_numpy(prompt.tokens).long()
            output = self._forward.run(tokens, prompt.slot, use_cache=True)
            logits.append(output.logits[0, -1])
            cache = output.past_key_values
            self._rows += [(prompt.slot, deepcopy(cache)) for _ in range(count - 1)]
            self._rows.append((prompt.slot, cache))
        return torch.stack(logits)

    def append(self, tokens: Sequence[int]) -> Tensor:
        logits = []
        for index, (token, (slot, cache)) in enumerate(zip(tokens, self._rows, strict=True)):
            output = self._forward.run(
                torch.tensor([token]), slot, use_cache=True, past_key_values=cache
            )
            self._rows[index] = slot, output.past_key_values
            logits.append(output.logits[0, -1])
        return torch.stack(logits)

    def drop(self, place: int) -> None:
        self._rows[place] = self._rows[-1]
        del self._rows[-1]


def _begun_alike(
    prompts: Sequence[Row], places: Sequence[int]
) -> tuple[list[Row], list[int], list[tuple[int, list[int], int]]]:
    """The prompts as rows, those of a slot behind a row with what they all begin with, which stands
    at the place of the first of them; the rows' places; and what is to be copied then: from which
    place, to which, how much."""
    rows: list[Row] = []
    at: list[int] = []
    begun: list[tuple[int, list[int], int]] = []
    for _, group in groupby(zip(prompts, places, strict=True), key=lambda pair: pair[0].slot):
        family, own = zip(*group, strict=True)
        length, parent = _alike([prompt.tokens for prompt in family]), -1
        if length:
            first, parent = family[0], len(rows)
            rows.append(replace(first, tokens=first.tokens[:length], wanted=first.wanted[:0]))
            at.append(own[0])
            begun.append((own[0], list(own[1:]), length))
        rows += [
            replace(one, tokens=one.tokens[length:], wanted=one.wanted - length, parent=parent)
            for one in family
        ]
        at += own
    return rows, at, begun


def _alike(prompts: Sequence[NDArray[np.int32]]) -> int:
    """How many tokens all of several prompts begin with, each with another to follow; 0 where that
    is too little to gain by."""
    most = min(map(len, prompts)) - 1
    if len(prompts) == 1 or most < SHARED:
        return 0
    other = np.any([prompt[:most] != prompts[0][:most] for prompt in prompts], 0)
    length = int(other.argmax()) if other.any() else most
    return length if length >= SHARED else 0


def spans_of(slots: Sequence[int], lengths: Sequence[int]) -> list[Span]:
    """Runs of tokens under one slot."""
    found, first = [], 0
    for slot, group in groupby(zip(slots, lengths, strict=True), key=lambda pair: pair[0]):
        last = first + sum(length for _, length in group)
        found.append((first, last, slot))
        first = last
    return found
