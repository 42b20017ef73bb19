"""Where figures go besides ``events.jsonl``: TensorBoard, Weights & Biases, MLflow, trackio.

Each is its own client library, imported only when a recipe names it.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol

from lorecraft.errors import RecipeError
from lorecraft.recipe import Recipe, StageSection
from lorecraft.runs.directory import RunDirectory
from lorecraft.runs.files import write_text
from lorecraft.runs.progress import Progress

PROJECT = "lorecraft"
PATIENCE = 60.0
"""Seconds at the end of a stage for a tracker to take what it has not taken yet."""

Settings = Mapping[str, Any]
Figures = dict[str, float]
Log = Callable[[int, Figures], None]


class Tracker(Protocol):
    """One such place; each training of a stage is one of its runs. Any call may raise."""

    def start(self, name: str, settings: Settings) -> None:
        """Begin the run of this name, or go on with it when it is there."""

    def log(self, step: int, figures: Figures) -> None:
        """Figures of a step; a run that goes on may give a step again."""

    def close(self) -> None:
        """End the run."""


class TensorBoard:
    """Event files under ``<folder of the run>/tensorboard``, by TensorBoard's own writer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tensorboard"

    def start(self, name: str, settings: Settings) -> None:
        from tensorboard.summary import Writer

        self._writer = Writer(str(self._folder / name))

    def log(self, step: int, figures: Figures) -> None:
        for key, value in figures.items():
            self._writer.add_scalar(key, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WandB:
    """A run on Weights & Biases; its files stand in the run's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, name: str, settings: Settings) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            group=self._folder.name,
            name=name,
            id=hashlib.sha256(name.encode()).hexdigest()[:16],  # a name may be too long for one
            resume="allow",
            config=dict(settings),
            dir=str(self._folder),
            settings=wandb.Settings(console="off", silent=True),
        )

    def log(self, step: int, figures: Figures) -> None:
        if step >= self._run.step:  # it takes no step twice
            self._run.log(figures, step=step)

    def close(self) -> None:
        self._run.finish()


class MLflow:
    """A run in MLflow's experiment; where that is, MLFLOW_TRACKING_URI says."""

    def __init__(self, folder: Path) -> None:
        pass

    def start(self, name: str, settings: Settings) -> None:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client = client = MlflowClient()
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        there = client.get_experiment_by_name(title)
        experiment = there.experiment_id if there else client.create_experiment(title)
        same = client.search_runs([experiment], f"tags.`mlflow.runName` = '{name}'")
        run = same[0] if same else client.create_run(experiment, run_name=name)
        self._run = run.info.run_id
        client.update_run(self._run, status="RUNNING")
        params = [Param(key, str(value)) for key, value in settings.items()]
        client.log_batch(self._run, params=params)

    def log(self, step: int, figures: Figures) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(key, value, now, step) for key, value in figures.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self) -> None:
        self._client.set_terminated(self._run)


class Trackio:
    """A run of trackio, on this machine or where TRACKIO_SPACE_ID says."""

    def __init__(self, folder: Path) -> None:
        self._group = folder.name

    def start(self, name: str, settings: Settings) -> None:
        import trackio

        with redirect_stdout(sys.stderr):  # it talks; standard output holds results alone
            self._run = trackio.init(
                PROJECT, name, group=self._group, config=dict(settings), resume="allow", embed=False
            )

    def log(self, step: int, figures: Figures) -> None:
        self._run.log(figures, step=step)

    def close(self) -> None:
        with redirect_stdout(sys.stderr):
            self._run.finish()


TRACKERS: dict[str, Callable[[Path], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
    "trackio": Trackio,
}


def check(names: Sequence[str]) -> None:
    """Import the libraries. Raises RecipeError for those that cannot be, all of them at once."""
    failed = {}
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            failed[name] = f"{name} ({error})"
    if failed:
        raise RecipeError(
            f"the recipe tracks with what cannot be imported: {', '.join(failed.values())}",
            "their own client libraries",
            f"pip install {' '.join(failed)}",
        )


def settings_of(recipe: Recipe, stage: StageSection) -> Settings:
    """What a stage is trained with, flat: ``stage.epochs``, ``stage.limits.steps``."""
    sections = {"model": recipe.model, "adapter": recipe.adapter, "stage": stage}
    dumped = {name: section.model_dump(mode="json") for name, section in sections.items()}
    return {"seed": recipe.seed} | dict(_flat(dumped))


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class Trackers:
    """The trackers that a recipe names. One that fails is told of once, then left alone for good;
    training never waits for one but ``PATIENCE`` at the end of a stage."""

    def __init__(self, names: Sequence[str], directory: RunDirectory, progress: Progress) -> None:
        self._directory, self._progress = directory, progress
        self._trackers = {name: TRACKERS[name](directory.folder) for name in names}

    @contextmanager
    def stage(self, stage: str, checkpoints: Path, settings: Settings) -> Iterator[Log]:
        """Track one stage; what is yielded takes the figures of a step.

        A stage that goes on from its ``checkpoints`` goes on in the trackers.
        """
        if not self._trackers:
            yield lambda step, figures: None
            return
        workers = [_Worker(name, tracker) for name, tracker in self._trackers.items()]

        def each(call: Callable[[Tracker], None]) -> None:
            for worker in workers:
                worker.calls.put(call)
            self._leave_alone(stage, workers)

        name = f"{self._directory.folder.name}-{stage}-{_began(checkpoints)}"
        each(lambda tracker: tracker.start(name, settings))
        try:
            yield lambda step, figures: each(lambda tracker: tracker.log(step, figures))
        finally:
            each(lambda tracker: tracker.close())
            _end(workers)
            self._leave_alone(stage, workers)

    def _leave_alone(self, stage: str, workers: list[_Worker]) -> None:
        """Those that have failed, and say so."""
        for worker in [worker for worker in workers if worker.error]:
            workers.remove(worker)
            del self._trackers[worker.name]
            self._directory.log(stage, "tracker", name=worker.name, error=worker.error)
            self._progress.note(f"{worker.name} failed and is left alone: {worker.error}")


class _Worker(Thread):
    """The calls to a tracker, in a thread of their own: what raises there, or waits for a network,
    holds up nothing. ``error`` says what went wrong."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        super().__init__(name=name, daemon=True)
        self.calls: SimpleQueue[Callable[[Tracker], None] | None] = SimpleQueue()
        self.error = ""
        self._tracker = tracker
        self.start()

    def run(self) -> None:
        try:
            while (call := self.calls.get()) is not None:
                call(self._tracker)
        except BaseException as error:  # a library that exits ends its own thread
            self.error = str(error) or type(error).__name__


def _end(workers: Sequence[_Worker]) -> None:
    """Wait for what is not taken yet, but not for ever."""
    for worker in workers:
        worker.calls.put(None)
    limit = time.monotonic() + PATIENCE
    for worker in workers:
        worker.join(max(0.0, limit - time.monotonic()))
        if worker.is_alive():
            worker.error = f"not done {PATIENCE:.0f} seconds after the stage"


def _began(checkpoints: Path) -> str:
    """When the training began that these checkpoints are of."""
    note = checkpoints / "began"
    if not note.exists():
        write_text(note, time.strftime("%Y%m%d-%H%M%S"))
    return note.read_text("utf-8")
