"""Keys and values of rows that are being continued, and attention to them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lorecraft.engines.torch.attention import Score, weights_of

READ = 16
"""The cache is read to multiples of this, so that few sizes of products are met."""
WASTE = 1.2
"""How much longer than its rows a part of the cache is read,"""
TOGETHER = 16
"""unless the rows are as few as these: then one more operation costs more."""


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

    def read(self, module: nn.Module, rows: slice, length: int) -> tuple[Tensor, Tensor]:
        """Keys and values of some rows, [rows, H_kv, length, D]."""
        keys, values = self._kept[module]
        return keys[rows, :, :length], values[rows, :, :length]

    def copy(self, row: int, to: slice | list[int], length: int) -> None:
        """The first ``length`` tokens of a row to other rows."""
        for pair in self._kept.values():
            for store in pair:
                store[to, :, :length] = store[row, :, :length]


class NextTokens:
    """A new token for each of the first cached rows: the i-th given belongs to row ``rows[i]`` and
    stands at ``places[i]``."""

    def __init__(
        self, cache: Cache, rows: Sequence[int], places: Sequence[int], device: str
    ) -> None:
        self._cache = cache
        self._rows = torch.tensor(rows, device=device)
        self._places = torch.tensor(places, device=device)
        self._in_order = list(rows) == list(range(len(rows)))
        self._back = torch.argsort(self._rows)
        lengths = [0] * len(rows)
        for row, place in zip(rows, places, strict=True):
            lengths[row] = place + 1
        self._parts = [_Part(part, lengths[part], cache.room, device) for part in _parts(lengths)]

    def attend(self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, how: Score) -> Tensor:
        q, k, v = (x[0].transpose(0, 1) for x in (q, k, v))
        self._cache.write(module, k, v, self._rows, self._places)
        if not self._in_order:
            q = q[self._back]
        mixed = [
            part.attend(q[part.rows], *self._cache.read(module, part.rows, part.length), how)
            for part in self._parts
        ]
        together = mixed[0] if len(mixed) == 1 else torch.cat(mixed)
        return (together if self._in_order else together[self._rows])[None]


class _Part:
    """Neighbouring rows, attended to as if they were as long as the longest of them."""

    def __init__(self, rows: slice, lengths: Sequence[int], room: int, device: str) -> None:
        self.rows = rows
        longest = max(lengths)
        self.length = min(room, longest + -longest % READ)
        here = torch.arange(self.length, device=device)
        last = torch.tensor(lengths, device=device) - 1
        self._distance = (last[:, None] - here)[:, None, None]
        self._masks: dict[tuple[int | None, torch.dtype], Tensor] = {}

    def attend(self, q: Tensor, keys: Tensor, values: Tensor, how: Score) -> Tensor:
        """q [rows, H, D], keys and values [rows, H_kv, length, D] -> [rows, H, D]."""
        count, groups, _, size = keys.shape
        q = q.reshape(count, groups, -1, size)
        # Keys on the left: on a CPU the product of few queries then reads them as they lie.
        scores = (keys @ q.transpose(-1, -2)).transpose(-1, -2).contiguous()
        return (self._weights(scores, how) @ values).view(count, -1, size)

    def _weights(self, scores: Tensor, how: Score) -> Tensor:
        if how.softcap is not None:
            return weights_of(scores, self._hidden(how), how).to(scores.dtype)
        kind = how.window, scores.dtype
        if kind not in self._masks:
            mask = scores.new_zeros(len(scores), 1, 1, self.length)
            self._masks[kind] = mask.masked_fill_(self._hidden(how), -torch.inf)
        return scores.mul_(how.scaling).add_(self._masks[kind]).softmax(-1)

    def _hidden(self, how: Score) -> Tensor:
        hidden = self._distance < 0
        return hidden if how.window is None else hidden | (self._distance >= how.window)


def _parts(lengths: Sequence[int]) -> list[slice]:
    """Runs of rows, so that little is read beyond what there is."""
    found: list[slice] = []
    for first in range(0, len(lengths), TOGETHER):
        part = slice(first, min(first + TOGETHER, len(lengths)))
        if found:
            wider = slice(found[-1].start, part.stop)
            given = lengths[wider]
            if max(given) * len(given) <= WASTE * sum(given):
                found[-1] = wider
                continue
        found.append(part)
    return found
