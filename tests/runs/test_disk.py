"""A disk that fills up, or may not be written: a message, and nothing that was finished is lost."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lorecraft import disk
from lorecraft.cli import app
from lorecraft.errors import RunError
from lorecraft.runs import pipeline
from lorecraft.runs.directory import RunDirectory
from lorecraft.runs.progress import Silent

WriteRecipe = Callable[..., Path]
STAGES = [{"kind": "sft", "epochs": 1, "learning_rate": 0.01, "general": 0.3, "validate_every": 3}]


def made(folder: Path) -> dict[str, str]:
    """What a run leaves -> sha256."""
    files = [
        *folder.glob("stages/*/adapter/*"),
        *folder.glob("data/**/*.jsonl"),
        *folder.glob("exam/*s.jsonl"),
    ]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_a_disk_that_is_full_costs_nothing_that_was_finished(
    write_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each of these there is room only when the command is called again."""
    names = [
        "manifest.json", "data", "train.arrow", "step-00000000", "step-00000003", "adapter",
        "stage.json", "verdict.json", "report.html",
    ]  # fmt: skip
    whole = pipeline.run(write_recipe(name="whole", stages=STAGES), progress=Silent()).folder
    recipe, folder = write_recipe(name="full", stages=STAGES), whole.with_name("full")
    left, sync = names.copy(), disk._sync

    def full(path: Path) -> None:
        if left and path.name == f".{left[0]}.partial":
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(path)

    monkeypatch.setattr(disk, "_sync", full)
    for name in names:
        result = CliRunner().invoke(app, ["run", str(recipe)])
        assert result.exit_code == 2
        assert f"lorecraft: No space left on device: {folder}/" in result.stderr
        assert f"/{name}\n  expected: room for it" in result.stderr
        assert not list(folder.rglob(".*.partial"))
        del left[0]
    assert CliRunner().invoke(app, ["run", str(recipe)]).exit_code == 0
    assert made(folder) == made(whole)
    kinds = [event["kind"] for event in RunDirectory(folder).read_events()]
    assert kinds.count("resume") == 3, "after the second checkpoint failed, all goes on from there"


def test_a_folder_that_a_kill_left_without_its_manifest_is_still_a_run_s(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    recipe, folder = write_recipe(), tmp_path / "runs/lights"
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    (folder / "..origin.partial").write_text("half")
    pipeline.prepare(recipe, progress=Silent())
    (folder / "manifest.json").unlink()
    pipeline.prepare(recipe, progress=Silent())
    other = recipe.with_name("other.yaml")
    other.write_text(recipe.read_text())
    (folder / "manifest.json").unlink()
    with pytest.raises(RunError, match=r"is the run of .*lights\.yaml"):
        pipeline.prepare(other, progress=Silent())


LIMITED = """
import resource, sys
from lorecraft.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop()),) * 2)
main()
"""


def test_a_file_that_may_not_grow_is_a_message_on_the_command_line(
    write_recipe: WriteRecipe,
) -> None:
    """A real refusal by the system, as a quota's."""
    recipe = write_recipe()
    limited = subprocess.run(
        [sys.executable, "-c", LIMITED, "prepare", str(recipe), "10000"],
        capture_output=True,
        text=True,
    )
    assert limited.returncode == 2
    assert "lorecraft: File too large: " in limited.stderr
    assert "Traceback" not in limited.stderr
    assert (pipeline.prepare(recipe, progress=Silent()).folder / "data/exam.jsonl").is_file()


def test_a_folder_that_may_not_be_written_is_a_message(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    recipe = write_recipe()
    (tmp_path / "runs").mkdir(mode=0o500)
    if os.access(tmp_path / "runs", os.W_OK):
        pytest.skip("nothing is closed to root")
    result = CliRunner().invoke(app, ["run", str(recipe)])
    assert result.exit_code == 2
    assert f"Permission denied: {tmp_path / 'runs/lights'}\n  expected: " in result.stderr


def test_an_output_that_is_a_file_is_a_message(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    result = CliRunner().invoke(app, ["run", str(write_recipe(output=str(tmp_path / "taken")))])
    assert result.exit_code == 2
    assert "lorecraft: Not a directory: " in result.stderr
