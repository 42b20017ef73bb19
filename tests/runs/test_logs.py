"""A run's events as a person reads them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from lorecraft.cli import app
from lorecraft.data.records import Record
from lorecraft.recipe import load_recipe
from lorecraft.runs import logs, manifest, pipeline
from lorecraft.runs.directory import RunDirectory
from lorecraft.runs.files import write_json, write_lines
from lorecraft.runs.progress import Silent

WriteRecipe = Callable[..., Path]


STAGE = {"epochs": 2, "batch_size": 8, "validate_every": 2}
SMALL = {
    "data": {"general": "none"},
    "stages": [{"kind": kind, **STAGE} for kind in ("cpt", "sft")],
}


def step(number: int, loss: float = 1.0, **more: Any) -> dict[str, Any]:
    figures = {"total": 300, "learning_rate": 0.002, "memory": 2_500_000_000}
    counted = {"tokens": 100 * number, "seconds": 0.5 * number}
    event = {"time": 1000.0 + number, "stage": "cpt", "kind": "step", "step": number, "loss": loss}
    return event | figures | counted | more


def event(kind: str, stage: str = "cpt", **fields: Any) -> dict[str, Any]:
    return {"time": 1000.0, "stage": stage, "kind": kind, **fields}


def told(*events: dict[str, Any]) -> list[str]:
    """The sentences without their times."""
    return [line.split("  ", 1)[1] for line in logs.sentences(events)]


def test_the_steps_up_to_a_validation_are_one_line_with_their_mean_loss() -> None:
    steps = [step(number, loss=float(number)) for number in range(1, 5)]
    valid = event("valid", step=4, loss=2.0, error=0.25, best=True)
    assert told(*steps, valid) == [
        "cpt: step 4 of 300: validation error 0.25, the best so far; loss 2.5 (mean of 4 steps), "
        "learning rate 0.002, 200 tokens/s, 2.5 GB"
    ]


def test_of_pairs_margin_accuracy_and_log_probabilities_are_told() -> None:
    figures = {"accuracy": 0.9, "margin": 1.25, "chosen": -31.5, "rejected": -44.0}
    valid = event("valid", "dpo", step=4, loss=0.5, error=0.5, best=False, **figures)
    fallen = event("unlearning", "dpo", step=4, fallen=2.5, chosen=-31.5)
    first, second = told(valid, fallen)
    assert first == (
        "dpo: step 4: validation loss 0.5, accuracy 90%, margin 1.25, "
        "log-probability -31.5 chosen, -44 rejected"
    )
    assert second.startswith("dpo: by step 4 the chosen answers have become less likely")
    assert "by 2.5 nats an answer" in second


def test_steps_without_a_validation_are_a_line_a_hundred_or_five_minutes() -> None:
    lines = told(*(step(number) for number in range(1, 251)))
    assert [line.split(":")[1] for line in lines] == [
        " step 100 of 300",
        " step 200 of 300",
        " step 250 of 300",
    ]
    slow = [step(number, time=60.0 * number) for number in range(1, 14)]
    assert [line.split(":")[1] for line in told(*slow)] == [
        " step 6 of 300",
        " step 12 of 300",
        " step 13 of 300",
    ]


def test_what_is_not_a_step_is_a_sentence() -> None:
    sizes = {"cpt": {"train": 90, "valid": 10}}
    assert told(
        event("end", "prepare", records=sizes, questions=20),
        event("start", records=90, cut=2, start=""),
        event("passed_over", checkpoint="step-00000008", why="is damaged"),
        event("resume", step=4, total=300),
        event("spike", step=30, loss=4.0, median=1.25, records=["a", "b"]),
        event("nan", step=31, loss="nan", back_to=30, rate_scale=0.5, records=["a", "b"]),
        event("tracker", name="wandb", error="no network"),
        event("stop", step=31, by="patience", kept="best", best_step=20),
        event("end", "exam", seconds=21.7),
    ) == [
        "prepare: records to train on + to validate: cpt 90 + 10; 20 exam questions",
        "cpt: begins with 90 records, 2 of them cut",
        "cpt: checkpoint step-00000008 is damaged; passed over",
        "cpt: goes on after step 4 of 300",
        "cpt: spike at step 30: loss 4, where 1.25 is usual; --spikes names its 2 records",
        "cpt: step 31: loss nan; back to step 30, at 0.5 of the learning rate",
        "cpt: wandb failed and is left alone: no network",
        "exam: took 22 s",
    ]


def test_a_kind_that_has_no_sentence_is_told_as_it_is() -> None:
    assert told(event("moon", phase="full", day=3)) == ["cpt: moon phase=full day=3"]


def test_the_log_of_a_run_tells_how_every_stage_ended(write_recipe: WriteRecipe) -> None:
    folder = pipeline.train(write_recipe(**SMALL), progress=Silent()).folder
    result = CliRunner().invoke(app, ["logs", str(folder)])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) < len(RunDirectory(folder).read_events())
    assert [sum(f"{stage}: ran all" in line for line in lines) for stage in ("cpt", "sft")] == [
        1,
        1,
    ]
    manifest.finish(RunDirectory(folder))
    followed = CliRunner().invoke(app, ["logs", str(folder), "--follow"])
    assert followed.stdout == result.stdout


def test_the_loss_that_is_shown_is_the_loss_that_was_computed(write_recipe: WriteRecipe) -> None:
    class Shown(Silent):
        losses: ClassVar[list[float]] = []

        def advance(self, amount: int, **figures: float | str) -> None:
            self.losses += [float(figures["loss"])] if "loss" in figures else []

    folder = pipeline.train(write_recipe(**SMALL), progress=Shown()).folder
    events = RunDirectory(folder).read_events()
    assert Shown.losses == [e["loss"] for e in events if e["kind"] == "step"] != []


def test_following_waits_for_the_rest_of_a_line_and_for_the_end(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    write_json(directory.manifest, {})
    lines = [json.dumps(event("moon", day=day)) + "\n" for day in range(3)]
    halves = ["", lines[0][:9], lines[0][9:] + lines[1], lines[2][:-1], "\n"]

    def work() -> None:
        for half in halves:
            with directory.events.open("a") as file:
                file.write(half)
            time.sleep(0.05)
        write_json(directory.manifest, {"finished": 1.0})

    logs_seen: list[dict[str, Any]] = []
    writer = threading.Thread(target=work)
    writer.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "POLL_SECONDS", 0.01)
        logs_seen += logs.follow(directory)
    writer.join()
    assert [seen["day"] for seen in logs_seen] == [0, 1, 2]


def test_following_ends_quietly_with_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = RunDirectory(tmp_path)
    write_json(directory.manifest, {})
    directory.log("cpt", "moon", day=0)

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    result = CliRunner().invoke(app, ["logs", str(tmp_path), "--follow"])
    assert result.exit_code == 0
    assert result.stdout.endswith("cpt: moon day=0\n")


def test_a_run_that_is_done_again_is_not_finished_yet(write_recipe: WriteRecipe) -> None:
    recipe = load_recipe(write_recipe())
    directory = RunDirectory(recipe.output / "lights")
    manifest.begin(recipe, directory)
    manifest.finish(directory)
    assert "finished" in json.loads(directory.manifest.read_text())
    manifest.begin(recipe, directory)
    assert "finished" not in json.loads(directory.manifest.read_text())


def test_an_event_after_a_line_cut_short_is_not_lost(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.log("cpt", "moon", day=0)
    with directory.events.open("a") as file:
        file.write('{"time": 1')
    directory.log("cpt", "moon", day=1)
    assert [event["day"] for event in directory.read_events()] == [0, 1]


@pytest.fixture
def spiked(tmp_path: Path) -> Iterator[RunDirectory]:
    directory = RunDirectory(tmp_path)
    write_json(directory.manifest, {})
    texts = {"a": "A tidy record.", "b": "word " * 50, "c": "Two\nlines."}
    records = (Record(name, text=text) for name, text in texts.items())
    write_lines(directory.data / "cpt" / "train.jsonl", (r.to_json() for r in records))
    yield directory


def test_spikes_are_told_worst_first_with_their_records(spiked: RunDirectory) -> None:
    for kind, fields in (
        ("start", {}),
        ("spike", {"step": 30, "loss": 2.5, "median": 1.5, "records": ["a", "b"]}),
        ("spike", {"step": 40, "loss": 4.0, "median": 1.25, "records": ["c", "b"]}),
        ("nan", {"step": 50, "loss": "nan", "records": ["gone"]}),
    ):
        spiked.log("cpt", kind, **fields)
    words = ("word " * 50)[:79].rstrip() + "…"
    assert list(logs.name_spikes(spiked)) == [
        "cpt step 50: loss nan",
        "  gone: no longer in the data",
        "cpt step 40: loss 4, where 1.25 is usual",
        f"  b (in 2 spikes): {words}",
        "  c: Two lines.",
        "cpt step 30: loss 2.5, where 1.5 is usual",
        f"  b (in 2 spikes): {words}",
        "  a: A tidy record.",
    ]


def test_spikes_of_a_training_that_was_done_again_do_not_count(spiked: RunDirectory) -> None:
    def spike(step: int) -> None:
        spiked.log("cpt", "spike", step=step, loss=3.0, median=1.0, records=["a"])

    spiked.log("cpt", "start")
    spike(11)
    spiked.log("cpt", "start")
    spike(12)
    spike(20)
    spiked.log("cpt", "start")
    spiked.log("cpt", "resume", step=15, total=300)
    spike(20)
    spiked.log("sft", "start")
    steps = [line for line in logs.name_spikes(spiked) if not line.startswith(" ")]
    assert [line.split(":")[0] for line in steps] == ["cpt step 12", "cpt step 20"]


def test_a_run_without_spikes_says_so(spiked: RunDirectory) -> None:
    result = CliRunner().invoke(app, ["logs", str(spiked.folder), "--spikes"])
    assert result.stdout == "no spikes: no step's loss stood out from those before it\n"


def test_a_folder_that_is_no_run_is_a_message(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["logs", str(tmp_path)])
    assert result.exit_code == 2
    assert "has not begun" in result.stderr
