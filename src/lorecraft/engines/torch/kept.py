"""What enters the lowest adapted block: it never changes, so it is computed once for each row."""

from __future__ import annotations

import os
import shutil
import tempfile
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SHARE = 4
"""Kept is at most this part of the free disk."""


def room() -> int:
    """Bytes that may be kept."""
    if not hasattr(os, "preadv"):  # on Windows
        return 0
    return shutil.disk_usage(tempfile.gettempdir()).free // SHARE


class Kept:
    """Hidden states by the tokens that they belong to.

    They stand in a file without a name, which ends with the process, whatever ends that. The
    operating system holds it in memory for as long as there is room.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="lorecraft-")  # noqa: SIM115 (as long as self)
        self._places: dict[bytes, tuple[int, torch.Size]] = {}
        self._end = 0
        self._full = False

    def put(self, tokens: NDArray[np.int32], states: Tensor) -> None:
        """Nothing is kept any more once the disk is full."""
        key = _key(tokens, len(states))
        if self._full or key in self._places:
            return
        content, written = _bytes(states.cpu().contiguous()), 0
        try:
            while written < len(content):
                written += os.pwrite(self._file.fileno(), content[written:], self._end + written)
        except OSError:
            self._full = True
            self._places.clear()
            self._file.truncate(0)
            return
        self._places[key] = self._end, states.shape
        self._end += written

    def get(self, tokens: NDArray[np.int32], count: int, dtype: torch.dtype) -> Tensor | None:
        """The states [count, hidden] of the last so many tokens, or None."""
        if (key := _key(tokens, count)) not in self._places:
            return None
        place, shape = self._places[key]
        states = torch.empty(shape, dtype=dtype)
        space, read = _bytes(states), 0
        while read < len(space):
            read += os.preadv(self._file.fileno(), [space[read:]], place + read)
        return states


def _bytes(states: Tensor) -> memoryview:
    """The memory that the numbers stand in."""
    return states.view(torch.uint8).numpy().data.cast("B")


def _key(tokens: NDArray[np.int32], count: int) -> bytes:
    return blake2b(tokens.tobytes(), digest_size=16, salt=count.to_bytes(8, "big")).digest()
