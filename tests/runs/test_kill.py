"""kill -9, again and again: the run ends with the bits of the one that nobody killed."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lorecraft.runs import pipeline
from lorecraft.runs.directory import RunDirectory
from lorecraft.runs.progress import Silent

KILLS = 20
LORECRAFT = str(Path(sys.executable).with_name("lorecraft"))


def made(folder: Path) -> dict[str, str]:
    """What a run leaves -> sha256."""
    files = [
        *folder.glob("stages/*/adapter/adapter_model.safetensors"),
        *folder.glob("data/**/*.jsonl"),
        folder / "exam/answers.jsonl",
    ]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def what_is_there(folder: Path) -> str:
    """How far a killed run is: its last event."""
    events = RunDirectory(folder).read_events()
    if not events:
        return "nothing yet"
    last = events[-1]
    return " ".join(str(last[key]) for key in ("stage", "kind", "step") if key in last)


def newest_checkpoint(folder: Path) -> tuple[str, int] | None:
    """Of the stage that a kill hit: its name, and the step that it has to go on from."""
    for stage in sorted(folder.glob("stages/*")):
        steps = [int(path.name[5:]) for path in stage.glob("checkpoints/step-*")]
        if steps and not (stage / "stage.json").exists():
            return stage.name[3:], max(steps)
    return None


def went_on(folder: Path, since: int, waiting: tuple[str, int]) -> bool:
    """Whether the stage was begun since so many events, which then has to go on from there."""
    events = RunDirectory(folder).read_events()[since:]
    begun = [i for i, event in enumerate(events) if event["kind"] == "start"]
    if not begun or begun[0] + 1 == len(events):
        return False  # killed again before it came to that
    first = events[begun[0] + 1]
    assert (first["stage"], first["kind"], first.get("step")) == (waiting[0], "resume", waiting[1])
    return True


def count(folder: Path) -> int:
    """Lines of the log; quicker than to read them."""
    log = RunDirectory(folder).events
    return log.read_bytes().count(b"\n") if log.exists() else 0


def killed(process: subprocess.Popen[bytes], folder: Path, events: int, seconds: float) -> bool:
    """Kill the process after so many new events and then so many seconds, if it has not ended."""
    known = count(folder)
    while process.poll() is None and count(folder) < known + events:
        time.sleep(0.002)
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True


@pytest.mark.timeout(600)
def test_killed_at_twenty_moments_it_ends_with_the_same_bits(
    write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A quarter of them while it starts and prepares, by time; the others by what it has done."""
    stage = {"epochs": 40, "learning_rate": 0.01, "general": 0.3, "validate_every": 5}
    stages = [{"kind": "cpt", **stage}, {"kind": "sft", **stage}]
    stages.append({"kind": "dpo", "epochs": 10, "learning_rate": 0.01, "validate_every": 5})
    given = {"stages": stages, "data": {"general": "general.jsonl", "pairs": "pairs.jsonl"}}
    whole = pipeline.run(write_recipe(name="whole", **given), progress=Silent()).folder
    expected = made(whole)
    recipe = write_recipe(name="killed", **given)
    folder = whole.with_name("killed")
    draw, table, kills, resumed = random.Random(0), [], 0, 0
    while kills < KILLS:
        waiting, known = newest_checkpoint(folder), len(RunDirectory(folder).read_events())
        early, moment = draw.random() < 0.25, draw.random()
        events, seconds = (0, 2 * moment) if early else (draw.randrange(1, 60), 0.05 * moment)
        process = subprocess.Popen(
            [LORECRAFT, "run", str(recipe)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if killed(process, folder, events, seconds):
            kills += 1
            table.append(what_is_there(folder))
            resumed += waiting is not None and went_on(folder, known, waiting)
            continue
        assert process.returncode == 0
        assert made(folder) == expected
        table.append("ended, the same")
        resumed += waiting is not None and went_on(folder, known, waiting)
        shutil.rmtree(folder)
    pipeline.run(recipe, progress=Silent())
    assert resumed >= 5, "most kills hit the training"
    assert made(folder) == expected
    assert (folder / "report.html").is_file()
    with capsys.disabled():
        print(f"\n{resumed} went on with a stage; killed after:", *table, sep="\n")
