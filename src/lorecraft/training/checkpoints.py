"""Checkpoints: everything that exact resume needs, whole or not there."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorecraft.errors import RunError

ARRAYS, STATE = "arrays.safetensors", "state.json"
KEPT = 2
FORMAT = 1
"""Of what a checkpoint's state means: counted up when an older one cannot be gone on from."""

Arrays = dict[str, NDArray[np.generic]]


class CheckpointStore:
    """The checkpoints of one stage, in one folder: the last two, a sub-folder each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, step: int, arrays: Mapping[str, NDArray[Any]], state: dict[str, Any]) -> None:
        """Write a checkpoint under a temporary name, sync it, rename it, drop all but two.

        Those that are there stay when it cannot be written. Raises RunError when there is no room
        for it, OSError for any other trouble of the disk.
        """
        from safetensors.numpy import save

        content = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
        partial = self._folder / ".partial"
        shutil.rmtree(partial, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._check_room(len(content))
        try:
            partial.mkdir()
            _write(partial / ARRAYS, content)
            sealed = {"format": FORMAT, "sha256": _digest(content, state), "state": state}
            _write(partial / STATE, json.dumps(sealed).encode())
            _sync(partial)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._check_room(math.inf)
            raise
        whole = self._folder / f"step-{step:08}"
        shutil.rmtree(whole, ignore_errors=True)
        partial.rename(whole)
        _sync(self._folder)
        for old in list(self._newest_first())[KEPT:]:
            shutil.rmtree(old)

    def _check_room(self, needed: float) -> None:
        free = shutil.disk_usage(self._folder).free
        if needed < free:
            return
        wanted = f"{needed / 1e6:,.0f} MB" if needed < math.inf else "more"
        raise RunError(
            f"no room for a checkpoint in {self._folder}: {free / 1e6:,.0f} MB are free",
            f"{wanted}; the checkpoint before is whole",
            "free some space, then `lorecraft run` goes on from there",
        )

    def load(
        self, on_damaged: Callable[[str], None] = lambda name: None
    ) -> tuple[Arrays, dict[str, Any]] | None:
        """The newest checkpoint that is whole by its checksum, or None; ``on_damaged`` is told the
        names of those passed over. Raises RunError for one that another version wrote."""
        from safetensors.numpy import load

        for folder in self._newest_first():
            try:
                content = (folder / ARRAYS).read_bytes()
                sealed = json.loads((folder / STATE).read_text("utf-8"))
                if sealed["sha256"] == _digest(content, sealed["state"]):
                    if sealed["format"] != FORMAT:
                        raise RunError(
                            f"{folder} is of format {sealed['format']}",
                            f"format {FORMAT}, of this version of Lorecraft",
                            "the version that began the stage, or `lorecraft resume RUN --from "
                            "STAGE`",
                        )
                    return load(content), sealed["state"]
            except (FileNotFoundError, ValueError, KeyError, TypeError):
                pass
            on_damaged(folder.name)
        return None

    def _newest_first(self) -> Iterator[Path]:
        yield from sorted(self._folder.glob("step-*"), reverse=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make the names in a folder last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(content: bytes, state: dict[str, Any]) -> str:
    digest = hashlib.sha256(content)
    digest.update(json.dumps(state, sort_keys=True).encode())
    return digest.hexdigest()
