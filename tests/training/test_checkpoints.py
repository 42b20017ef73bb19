"""Checkpoints: whole or not there, and those that cannot be used are passed over."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lorecraft.errors import RunError
from lorecraft.training.checkpoints import FORMAT, CheckpointStore


def test_one_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, {"a": np.ones(3)}, {"step": 1})

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*step-00000002"):
        store.save(2, {"a": np.ones(3)}, {"step": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    found = store.load()
    assert found is not None and found[1] == {"step": 1}


def test_room_is_looked_for_before_a_checkpoint_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, {"a": np.ones(3)}, {"step": 1})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1_000_000))
    with pytest.raises(RunError, match=r"1\.0 MB are free\n  expected: 8\.0 MB"):
        store.save(2, {"a": np.ones(10**6)}, {"step": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_what_a_kill_left_half_written_makes_room_for_the_next(tmp_path: Path) -> None:
    (tmp_path / ".step-00000007.partial").mkdir()
    CheckpointStore(tmp_path).save(9, {"a": np.ones(3)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000009"]


def cut(folder: Path) -> None:
    (folder / "arrays.safetensors").write_bytes((folder / "arrays.safetensors").read_bytes()[:-1])


def flip(folder: Path) -> None:
    content = bytearray((folder / "arrays.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "arrays.safetensors").write_bytes(content)


def lose(folder: Path) -> None:
    (folder / "arrays.safetensors").unlink()


def another_state(folder: Path) -> None:
    state = folder / "state.json"
    state.write_text(state.read_text().replace('"step": 3', '"step": 4'))


def no_json(folder: Path) -> None:
    (folder / "state.json").write_text("{")


def no_object(folder: Path) -> None:
    (folder / "state.json").write_text("[]")


def another_format(folder: Path) -> None:
    sealed = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(sealed | {"format": FORMAT + 1}))


def three_saved(folder: Path) -> CheckpointStore:
    store = CheckpointStore(folder)
    for step in (1, 2, 3):
        store.save(step, {"a": np.full(3, step)}, {"step": step})
    assert names(folder) == ["step-00000002", "step-00000003"]
    return CheckpointStore(folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("damage", "why"),
    [(damage, "is damaged") for damage in (cut, flip, lose, another_state, no_json, no_object)]
    + [(another_format, f"is of format {FORMAT + 1}, not {FORMAT}")],
)
def test_a_checkpoint_that_cannot_be_used_is_passed_over(
    tmp_path: Path, damage: Callable[[Path], None], why: str
) -> None:
    store, told = three_saved(tmp_path), []
    damage(tmp_path / "step-00000003")
    found = store.load(lambda *passed: told.append(passed))
    assert found is not None and found[1] == {"step": 2}
    assert told == [("step-00000003", why)]


@pytest.mark.parametrize(("step", "left"), [(3, [2, 3]), (4, [2, 4])])
def test_two_that_can_be_used_are_kept(tmp_path: Path, step: int, left: list[int]) -> None:
    store = three_saved(tmp_path)
    flip(tmp_path / "step-00000003")
    store.load()
    store.save(step, {"a": np.full(3, step)}, {"step": step})
    assert names(tmp_path) == [f"step-{number:08}" for number in left]
    found = store.load()
    assert found is not None and found[1] == {"step": step}


def test_checkpoints_all_damaged_are_none(tmp_path: Path) -> None:
    store = three_saved(tmp_path)
    for folder in tmp_path.iterdir():
        cut(folder)
    assert store.load() is None


def test_checkpoints_all_of_another_format_are_not_thrown_away(tmp_path: Path) -> None:
    store = three_saved(tmp_path)
    for folder in tmp_path.iterdir():
        another_format(folder)
    with pytest.raises(RunError, match="step-00000003 is of format"):
        store.load()
    assert names(tmp_path) == ["step-00000002", "step-00000003"]


def test_a_disk_in_trouble_is_not_a_damaged_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, {"a": np.ones(3)}, {"step": 1})

    def trouble(self: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", trouble)
        with pytest.raises(OSError, match="Input/output error"):
            store.load()
    found = store.load()
    assert found is not None and found[1] == {"step": 1}
