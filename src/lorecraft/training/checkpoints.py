"""Checkpoints: everything that exact resume needs, whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARRAYS, STATE = "arrays.safetensors", "state.json"
KEPT = 2

Arrays = dict[str, NDArray[np.generic]]


class CheckpointStore:
    """The checkpoints of one stage, in one folder: the last two, a sub-folder each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, step: int, arrays: Mapping[str, NDArray[Any]], state: dict[str, Any]) -> None:
        """Write a checkpoint under a temporary name, sync it, rename it, drop all but two."""
        from safetensors.numpy import save

        content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        digest = hashlib.sha256(content).hexdigest()
        partial = self._folder / ".partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _write(partial / ARRAYS, content)
        _write(partial / STATE, json.dumps({"sha256": digest, **state}).encode())
        whole = self._folder / f"step-{step:08}"
        shutil.rmtree(whole, ignore_errors=True)
        partial.rename(whole)
        for old in list(self._newest_first())[KEPT:]:
            shutil.rmtree(old)

    def load(self) -> tuple[Arrays, dict[str, Any]] | None:
        """The newest checkpoint that is whole by its checksum, or None."""
        from safetensors.numpy import load

        for folder in self._newest_first():
            try:
                content = (folder / ARRAYS).read_bytes()
                state = json.loads((folder / STATE).read_text("utf-8"))
            except (OSError, ValueError):
                continue
            if hashlib.sha256(content).hexdigest() == state.pop("sha256", None):
                return load(content), state
        return None

    def _newest_first(self) -> Iterator[Path]:
        yield from sorted(self._folder.glob("step-*"), reverse=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
