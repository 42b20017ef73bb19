"""Figures go where the recipe says; what fails there stops nothing.

The clients are stubs that note what they are sent: none is a dependency.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lorecraft.errors import RecipeError
from lorecraft.recipe import load_recipe
from lorecraft.runs import pipeline, tracking
from lorecraft.runs.directory import RunDirectory
from lorecraft.runs.progress import Silent
from lorecraft.runs.tracking import Trackers

WriteRecipe = Callable[..., Path]
SETTINGS = {"seed": 3, "stage.epochs": 2}
STAGE = {"epochs": 2, "batch_size": 8, "validate_every": 2}
SMALL = {
    "data": {"general": "none"},
    "stages": [{"kind": kind, **STAGE} for kind in ("cpt", "sft")],
}
FIGURES = {"loss": 1.5, "memory": 7}


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Client:
    """Notes calls; as a run of any library, and as that library."""

    def __init__(self, **attributes: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.__dict__.update(attributes)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Client:
            self.calls.append((method, *arguments, *([named] if named else [])))
            return self

        return call


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a module in the place of a library."""

    def put(name: str, **attributes: Any) -> None:
        module = ModuleType(name)
        module.__dict__.update(attributes)
        monkeypatch.setitem(sys.modules, name, module)

    return put


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    (tmp_path / "company").mkdir()
    return RunDirectory(tmp_path / "company")


def track(directory: RunDirectory, name: str, *steps: int) -> None:
    """A stage that ends after the steps, and is then gone on with."""
    trackers = Trackers([name], directory, Silent())
    with trackers.stage("cpt", directory.folder / "checkpoints", SETTINGS) as log:
        for step in steps:
            log(step, FIGURES)


def name_of_run(directory: RunDirectory) -> str:
    return f"company-cpt-{(directory.folder / 'checkpoints/began').read_text()}"


def test_tensorboard_gets_a_folder_of_scalars(
    stub: Callable[..., None], directory: RunDirectory
) -> None:
    writer = Client()
    folders: list[str] = []
    stub("tensorboard")
    stub("tensorboard.summary", Writer=lambda folder: folders.append(folder) or writer)
    track(directory, "tensorboard", 1, 2)
    assert folders == [str(directory.folder / "tensorboard" / name_of_run(directory))]
    assert writer.calls == [
        ("add_scalar", "loss", 1.5, 1),
        ("add_scalar", "memory", 7, 1),
        ("flush",),
        ("add_scalar", "loss", 1.5, 2),
        ("add_scalar", "memory", 7, 2),
        ("flush",),
        ("close",),
    ]


def test_wandb_gets_a_run_that_a_resumed_stage_goes_on_with(
    stub: Callable[..., None], directory: RunDirectory
) -> None:
    begun: list[dict[str, Any]] = []
    runs = iter([Client(step=0), Client(step=3)])
    made: list[Client] = []

    def init(**options: Any) -> Client:
        begun.append(options)
        made.append(next(runs))
        return made[-1]

    stub("wandb", init=init, Settings=lambda **options: options)
    track(directory, "wandb", 1, 2, 3)
    track(directory, "wandb", 2, 3, 4)
    assert begun[0] == begun[1]
    assert begun[0]["name"] == name_of_run(directory)
    assert (begun[0]["project"], begun[0]["group"]) == ("lorecraft", "company")
    assert (begun[0]["resume"], begun[0]["config"]) == ("allow", SETTINGS)
    assert len(begun[0]["id"]) == 16
    assert made[0].calls[0] == ("log", FIGURES, {"step": 1})
    sent = [[call[-1]["step"] for call in run.calls if call[0] == "log"] for run in made]
    assert sent == [[1, 2, 3], [3, 4]], "what was taken before is not sent again"
    assert [run.calls[-1] for run in made] == [("finish",), ("finish",)]


class Store(Client):
    """MLflow's client, with the runs that there are."""

    def __init__(self) -> None:
        super().__init__(runs=[])

    def get_experiment_by_name(self, name: str) -> SimpleNamespace | None:
        return SimpleNamespace(experiment_id="7") if self.runs else None

    def create_experiment(self, name: str) -> str:
        assert name == "lorecraft"
        return "7"

    def search_runs(self, experiments: list[str], having: str) -> list[Any]:
        assert experiments == ["7"]
        return [run for run in self.runs if f"= '{run.name}'" in having]

    def create_run(self, experiment: str, run_name: str) -> Any:
        self.runs.append(SimpleNamespace(name=run_name, info=SimpleNamespace(run_id=run_name)))
        return self.runs[-1]


def test_mlflow_gets_a_run_that_a_resumed_stage_goes_on_with(
    stub: Callable[..., None], directory: RunDirectory
) -> None:
    store = Store()
    stub("mlflow")
    stub("mlflow.tracking", MlflowClient=lambda: store)
    stub("mlflow.entities", Param=lambda *param: param, Metric=lambda *metric: metric)
    track(directory, "mlflow", 1)
    track(directory, "mlflow", 2)
    (run,) = [run.name for run in store.runs]
    assert run == name_of_run(directory)
    begun, params, first, ended = store.calls[:4]
    assert begun == ("update_run", run, {"status": "RUNNING"})
    assert params == ("log_batch", run, {"params": [("seed", "3"), ("stage.epochs", "2")]})
    sent = [(key, value, step) for key, value, time, step in first[2]["metrics"]]
    assert sent == [("loss", 1.5, 1), ("memory", 7, 1)]
    assert ended == ("set_terminated", run)


def test_trackio_gets_a_run_and_standard_output_stays_clean(
    stub: Callable[..., None], directory: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Client()
    begun: list[tuple[Any, ...]] = []

    def init(*arguments: Any, **options: Any) -> Client:
        print("* Created new run")
        begun.append((*arguments, options))
        return run

    stub("trackio", init=init)
    track(directory, "trackio", 1)
    ((project, name, options),) = begun
    assert (project, name) == ("lorecraft", name_of_run(directory))
    assert (options["config"], options["resume"]) == (SETTINGS, "allow")
    assert run.calls == [("log", FIGURES, {"step": 1}), ("finish",)]
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "* Created new run\n")


def test_what_is_tracked_is_what_the_events_say(
    write_recipe: WriteRecipe, stub: Callable[..., None]
) -> None:
    run = Client()
    stub("trackio", init=lambda *arguments, **options: run)
    folder = pipeline.train(write_recipe(**SMALL, track=["trackio"]), progress=Silent()).folder
    sent = [call[1:] for call in run.calls if call[0] == "log"]
    expected = [
        (
            {name: event[name] for name in ("loss", "learning_rate", "tokens_per_second", "memory")}
            if event["kind"] == "step"
            else {"validation_loss": event["loss"], "validation_error": event["error"]},
            {"step": event["step"]},
        )
        for event in RunDirectory(folder).read_events()
        if event["kind"] in ("step", "valid")
    ]
    assert sent == expected != []
    assert run.calls.count(("finish",)) == 2, "once a stage"


@pytest.mark.parametrize("breaks", ["init", "log", "finish"])
def test_a_tracker_that_raises_is_told_of_once_and_left_alone(
    write_recipe: WriteRecipe, stub: Callable[..., None], breaks: str
) -> None:
    begun: list[str] = []

    class Broken(Client):
        def __getattr__(self, method: str) -> Callable[..., Any]:
            if method == breaks:
                raise ConnectionError("no network")
            return super().__getattr__(method)

    def init(project: str, name: str, **options: Any) -> Client:
        begun.append(name)
        if breaks == "init":
            raise ConnectionError("no network")
        return Broken()

    stub("trackio", init=init)
    progress = Notes()
    folder = pipeline.train(write_recipe(**SMALL, track=["trackio"]), progress=progress).folder
    assert [note for note in progress.notes if "trackio" in note] == [
        "trackio failed and is left alone: no network"
    ]
    assert len(begun) == 1, "not tried again in the second stage"
    events = RunDirectory(folder).read_events()
    assert [event["error"] for event in events if event["kind"] == "tracker"] == ["no network"]
    assert len(list(folder.glob("stages/*/adapter/adapter_model.safetensors"))) == 2


def test_a_tracker_that_hangs_holds_up_nothing(
    stub: Callable[..., None], directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    never, other, progress = threading.Event(), Client(), Notes()
    monkeypatch.setattr(tracking, "PATIENCE", 0.05)
    stub("wandb", init=lambda **options: never.wait(60), Settings=dict)
    stub("trackio", init=lambda *arguments, **options: other)
    trackers = Trackers(["wandb", "trackio"], directory, progress)
    with trackers.stage("cpt", directory.folder / "checkpoints", SETTINGS) as log:
        log(1, FIGURES)
    never.set()
    assert len(progress.notes) == 1 and progress.notes[0].startswith("wandb failed")
    assert other.calls == [("log", FIGURES, {"step": 1}), ("finish",)]


def test_a_stage_that_stops_half_way_ends_its_run_there(
    stub: Callable[..., None], directory: RunDirectory
) -> None:
    run = Client()
    stub("trackio", init=lambda *arguments, **options: run)
    trackers = Trackers(["trackio"], directory, Silent())
    with (
        pytest.raises(KeyboardInterrupt),
        trackers.stage("cpt", directory.folder / "checkpoints", SETTINGS) as log,
    ):
        log(1, FIGURES)
        raise KeyboardInterrupt
    assert run.calls == [("log", FIGURES, {"step": 1}), ("finish",)]


def test_missing_libraries_are_named_before_any_work(
    write_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RecipeError) as refused:
        pipeline.run(write_recipe(track=["wandb", "mlflow"]), progress=Silent())
    assert refused.value.fix == "pip install wandb mlflow"
    assert list((tmp_path / "runs").iterdir()) == []


def test_tracking_changes_no_key(write_recipe: WriteRecipe, stub: Callable[..., None]) -> None:
    folder = pipeline.train(write_recipe(**SMALL), progress=Silent()).folder
    finished = [folder / "data/prepared.json", *folder.glob("stages/*/stage.json")]
    before = [path.stat().st_mtime_ns for path in finished]
    stub("trackio")
    pipeline.train(write_recipe(**SMALL, track=["trackio"]), progress=Silent())
    assert [path.stat().st_mtime_ns for path in finished] == before


def test_the_settings_sent_are_those_of_the_stage(write_recipe: WriteRecipe) -> None:
    recipe = load_recipe(write_recipe())
    sent = tracking.settings_of(recipe, recipe.stages[1])
    assert (sent["seed"], sent["adapter.rank"], sent["stage.kind"]) == (0, 2, "sft")
    assert not any(isinstance(value, dict) for value in sent.values())
