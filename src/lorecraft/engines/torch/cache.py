"""Keys and values of rows that are being continued, and attention to them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lorecraft.engines.torch.attention import EVEN, Score, weights_of


class Cache:
    """Keys and values of the rows that are being continued, in fixed room."""

    def __init__(self, rows: int, room: int) -> None:
        self._rows, self.room = rows, room
        self._kept: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def write(self, module: nn.Module, k: Tensor, v: Tensor, rows: Tensor, places: Tensor) -> None:
        """k, v [T, H_kv, D] to row ``rows[t]``, position ``places[t]``."""
        if module not in self._kept:
            self._kept[module] = tuple(  # type: ignore[assignment]
                x.new_zeros(self._rows, x.shape[1], self.room, x.shape[2]) for x in (k, v)
            )
        for store, new in zip(self._kept[module], (k, v), strict=True):
            store[rows, :, places] = new

    def read(self, module: nn.Module, length: int) -> tuple[Tensor, Tensor]:
        """Keys and values [rows, H_kv, length, D]."""
        keys, values = self._kept[module]
        return keys[:, :, :length], values[:, :, :length]

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        self._rows = len(rows)
        self._kept = {m: (k[rows], v[rows]) for m, (k, v) in self._kept.items()}


class NextTokens:
    """One new token for each cached row, at ``places`` [rows]."""

    def __init__(self, cache: Cache, places: Tensor) -> None:
        self._cache, self._places = cache, places
        self._rows = torch.arange(len(places), device=places.device)
        longest = int(places.max()) + 1
        self._length = min(cache.room, longest + -longest % EVEN)
        self._distance = places[:, None] - torch.arange(self._length, device=places.device)

    def attend(self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, how: Score) -> Tensor:
        q, k, v = (x[0].transpose(0, 1) for x in (q, k, v))
        self._cache.write(module, k, v, self._rows, self._places)
        keys, values = self._cache.read(module, self._length)
        rows, groups = len(q), keys.shape[1]
        scores = q.reshape(rows, groups, -1, q.shape[-1]) @ keys.transpose(-1, -2)
        hidden = self._distance < 0
        if how.window is not None:
            hidden = hidden | (self._distance >= how.window)
        weights = weights_of(scores, hidden[:, None, None], how).to(values.dtype)
        return (weights @ values).reshape(1, rows, -1, values.shape[-1])
