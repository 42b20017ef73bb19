"""What is written is whole or not there, whatever goes wrong with the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lorecraft.disk import naming, replacing
from lorecraft.runs.directory import RunDirectory


def fill(path: Path, text: str) -> None:
    path.mkdir()
    (path / "a").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_the_place_of_another(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with replacing(tmp_path / "new" / "file") as partial:
            partial.write_text(text)
    assert (tmp_path / "new" / "file").read_text() == "two"
    assert names(tmp_path / "new") == ["file"]


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with replacing(tmp_path / "folder") as partial:
            fill(partial, text)
    assert (tmp_path / "folder" / "a").read_text() == "two"
    assert names(tmp_path) == ["folder"]


def test_what_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    fill(tmp_path / "folder", "before")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "file") as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(ValueError), replacing(tmp_path / "folder") as partial:
        fill(partial, "half")
        raise ValueError
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "a").read_text() == "before"
    assert names(tmp_path) == ["file", "folder"]


def test_what_a_kill_left_is_in_nobody_s_way(tmp_path: Path) -> None:
    fill(tmp_path / ".folder.partial", "half")
    fill(tmp_path / ".folder.replaced", "old")
    with replacing(tmp_path / "folder") as partial:
        fill(partial, "whole")
    assert names(tmp_path) == ["folder"]


def test_trouble_that_names_no_file_is_given_one(tmp_path: Path) -> None:
    with pytest.raises(OSError) as found, replacing(tmp_path / "file"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert found.value.filename == str(tmp_path / "file")
    with pytest.raises(FileNotFoundError) as other, naming(tmp_path):
        (tmp_path / "none").read_text()
    assert other.value.filename == str(tmp_path / "none")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_event_for_which_there_is_no_room_is_an_error_that_names_the_log(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError) as found:
        RunDirectory(tmp_path).log("cpt", "start")
    assert found.value.errno == errno.ENOSPC
    assert found.value.filename == str(tmp_path / "events.jsonl")


def test_what_is_written_is_synced_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append(names(tmp_path)))
    with replacing(tmp_path / "file") as partial:
        partial.write_text("text")
    assert seen == [[".file.partial"], ["file"]]


def test_a_folder_that_was_being_replaced_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "folder", "before")

    def stopped(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stopped)
        with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "folder") as partial:
            fill(partial, "new")
    assert (tmp_path / "folder" / "a").read_text() == "before"
    (tmp_path / "folder").rename(tmp_path / ".folder.replaced")  # as a kill leaves it
    with pytest.raises(ValueError), replacing(tmp_path / "folder"):
        raise ValueError
    assert (tmp_path / "folder" / "a").read_text() == "before"
    assert names(tmp_path) == ["folder"]
