"""Checkpoints: everything that exact resume needs, whole or not there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorecraft.disk import replacing
from lorecraft.errors import RunError

ARRAYS, STATE = "arrays.safetensors", "state.json"
KEPT = 2
FORMAT = 2
"""Of what a checkpoint's state means: counted up when an older one cannot be gone on from."""

Arrays = dict[str, NDArray[np.generic]]


class CheckpointStore:
    """The checkpoints of one stage, in one folder: the last two, a sub-folder each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._passed_over: set[Path] = set()

    def save(self, step: int, arrays: Mapping[str, NDArray[Any]], state: dict[str, Any]) -> None:
        """Write a checkpoint as a whole, then drop all but two; when it cannot be written, those
        that are there stay.

        Raises RunError when there is no room for it, OSError for any other trouble of the disk.
        """
        from safetensors.numpy import save

        content = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
        sealed = {"format": FORMAT, "sha256": _digest(content, state), "state": state}
        self._folder.mkdir(parents=True, exist_ok=True)
        for abandoned in self._folder.glob(".step-*"):  # a kill left them half written
            shutil.rmtree(abandoned)
        self._check_room(len(content))
        whole = self._folder / f"step-{step:08}"
        with replacing(whole) as partial:
            partial.mkdir()
            (partial / ARRAYS).write_bytes(content)
            (partial / STATE).write_text(json.dumps(sealed), "utf-8")
        for useless in self._passed_over - {whole}:
            shutil.rmtree(useless)
        self._passed_over.clear()
        for old in list(self._newest_first())[KEPT:]:
            shutil.rmtree(old)

    def _check_room(self, needed: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if needed >= free:
            raise RunError(
                f"no room for a checkpoint in {self._folder}: {free / 1e6:,.1f} MB are free",
                f"{needed / 1e6:,.1f} MB; what was saved before is whole",
                "free some space, then `lorecraft run` goes on from there",
            )

    def load(
        self, on_passed_over: Callable[[str, str], None] = lambda name, why: None
    ) -> tuple[Arrays, dict[str, Any]] | None:
        """The newest checkpoint that can be used, or None; ``on_passed_over`` is told the names of
        those that cannot, and why. Raises RunError when all that are whole are another version's.
        """
        foreign = []
        for folder in self._newest_first():
            sealed, arrays = _read(folder)
            if arrays is not None and sealed["format"] == FORMAT:
                return arrays, sealed["state"]
            why = "is damaged"
            if arrays is not None:
                why = f"is of format {sealed['format']}, not {FORMAT}"
                foreign.append(f"{folder} {why}")
            self._passed_over.add(folder)
            on_passed_over(folder.name, why)
        if foreign:
            raise RunError(
                foreign[0],
                "a checkpoint of this version of Lorecraft",
                "the version that began the stage, or `lorecraft resume RUN --from STAGE`",
            )
        return None

    def _newest_first(self) -> Iterator[Path]:
        yield from sorted(self._folder.glob("step-*"), reverse=True)


def _read(folder: Path) -> tuple[dict[str, Any], Arrays | None]:
    """What stands in a checkpoint; no arrays when it is not whole by its checksum."""
    from safetensors.numpy import load

    try:
        content = (folder / ARRAYS).read_bytes()
        sealed = json.loads((folder / STATE).read_text("utf-8"))
        if sealed["sha256"] == _digest(content, sealed["state"]):
            return sealed, load(content)
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {}, None


def _digest(content: bytes, state: dict[str, Any]) -> str:
    digest = hashlib.sha256(content)
    digest.update(json.dumps(state, sort_keys=True).encode())
    return digest.hexdigest()
