"""Keys and values of rows that are being continued, and attention to them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lorecraft.engines.torch.attention import Score, weights_of

EVEN = 16
"""Lengths in attention are multiples of this, so that few sizes of products are met."""


class Cache:
    """Keys and values of ``rows`` rows and a ``spare`` one, in fixed room for ``room`` tokens
    each."""

    def __init__(self, rows: int, room: int) -> None:
        self.spare, self.room = rows, room
        self._kept: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def write(self, module: nn.Module, k: Tensor, v: Tensor, rows: Tensor, places: Tensor) -> None:
        """k, v [T, H_kv, D] to row ``rows[t]``, position ``places[t]``."""
        if module not in self._kept:
            self._kept[module] = tuple(  # type: ignore[assignment]
                x.new_zeros(self.spare + 1, x.shape[1], self.room, x.shape[2]) for x in (k, v)
            )
        for store, new in zip(self._kept[module], (k, v), strict=True):
            store[rows, :, places] = new

    def read(self, module: nn.Module, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the first rows, [rows, H_kv, length, D]."""
        keys, values = self._kept[module]
        return keys[:rows, :, :length], values[:rows, :, :length]

    def copy(self, row: int, to: slice, length: int) -> None:
        """The first ``length`` tokens of a row to other rows."""
        for pair in self._kept.values():
            for store in pair:
                store[to, :, :length] = store[row, :, :length]


class NextTokens:
    """A new token for each of the first cached rows: the i-th given belongs to row ``rows[i]`` and
    stands at ``places[i]``."""

    def __init__(self, cache: Cache, rows: Sequence[int], places: Tensor) -> None:
        self._cache, self._places = cache, places
        self._rows = torch.tensor(rows, device=places.device)
        self._in_order = list(rows) == list(range(len(rows)))
        self._back = torch.argsort(self._rows)
        longest = int(places.max()) + 1
        self._length = min(cache.room, longest + -longest % EVEN)
        here = torch.arange(self._length, device=places.device)
        self._distance = (places[self._back][:, None] - here)[:, None, None]
        self._masks: dict[tuple[int | None, torch.dtype], Tensor] = {}

    def attend(self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, how: Score) -> Tensor:
        q, k, v = (x[0].transpose(0, 1) for x in (q, k, v))
        self._cache.write(module, k, v, self._rows, self._places)
        keys, values = self._cache.read(module, len(q), self._length)
        if not self._in_order:
            q = q[self._back]
        rows, groups = len(q), keys.shape[1]
        q = q.reshape(rows, groups, -1, q.shape[-1])
        # Keys on the left: on a CPU the product of few queries then reads them as they lie.
        scores = (keys @ q.transpose(-1, -2)).transpose(-1, -2).contiguous()
        mixed = (self._weights(scores, how) @ values).view(rows, -1, values.shape[-1])
        return (mixed if self._in_order else mixed[self._rows])[None]

    def _weights(self, scores: Tensor, how: Score) -> Tensor:
        if how.softcap is not None:
            return weights_of(scores, self._hidden(how), how).to(scores.dtype)
        kind = how.window, scores.dtype
        if kind not in self._masks:
            mask = scores.new_zeros(len(scores), 1, 1, self._length)
            self._masks[kind] = mask.masked_fill_(self._hidden(how), -torch.inf)
        return scores.mul_(how.scaling).add_(self._masks[kind]).softmax(-1)

    def _hidden(self, how: Score) -> Tensor:
        hidden = self._distance < 0
        return hidden if how.window is None else hidden | (self._distance >= how.window)
