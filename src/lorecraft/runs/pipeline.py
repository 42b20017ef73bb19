"""A run: prepare, train, examine, report. What is finished is skipped; what is not goes on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lorecraft.errors import LorecraftError, RunError
from lorecraft.hub import Unreachable
from lorecraft.recipe import Recipe
from lorecraft.runs import manifest
from lorecraft.runs.directory import RunDirectory, check_claim, claim, resolve
from lorecraft.runs.progress import Progress
from lorecraft.runs.work import Outcome, Work, sizes

if TYPE_CHECKING:
    from lorecraft.runs.plan import Plan


def run(
    target: Path,
    *,
    redo: str | None = None,
    go_on: bool = False,
    small: bool = False,
    keep_going: bool = False,
    clock: Callable[[], float] = time.monotonic,
    progress: Progress,
) -> Outcome:
    """Everything, from a recipe or a run's folder.

    Args:
        redo: from where on to do again what is finished: ``prepare``, or a stage's name.
        go_on: also train on where a deadline stopped a stage.
        small: only try it, on the embedded model and a few records (``recipe.smoke``).
        keep_going: leave out what is bad in a source and use the rest.
        clock: seconds that never go back, which all limits are kept by.
    """
    with _begun(target, progress, redo, go_on, small, clock, keep_going) as work:
        work.check()
        work.prepare()
        work.plan()
        work.load()
        work.train()
        work.examine()
        manifest.finish(work.directory)
        return work.report()


def plan(target: Path, *, progress: Progress) -> Plan:
    """What a run would take; nothing of it stays.

    Raises what the run itself would raise for a model, an adapter or data that cannot be used.
    """
    from lorecraft.runs.plan import plan_without_model

    recipe, directory = resolve(target)
    with TemporaryDirectory() as folder:
        passing = RunDirectory(Path(folder))
        work = Work(recipe, passing, progress, keep_going=directory.kept_going, asks=False)
        try:
            work.check()
        except Unreachable:
            work.prepare()
            return plan_without_model(
                recipe, work.prepared, directory.folder, sizes(work.directory)
            )
        work.prepare()
        return work.planned(directory.folder)


def prepare(target: Path, *, keep_going: bool = False, progress: Progress) -> Outcome:
    """The data alone; no model is loaded."""
    with _begun(target, progress, keep_going=keep_going) as work:
        work.prepare()
        return Outcome(work.directory.folder)


def train(target: Path, *, progress: Progress) -> Outcome:
    """The data and the stages."""
    with _begun(target, progress) as work:
        work.check()
        work.prepare()
        work.plan()
        work.load()
        work.train()
        return Outcome(work.directory.folder)


def examine(target: Path, *, progress: Progress) -> Outcome:
    """The exam of what is trained; nothing is trained. Raises RunError when a stage is not."""
    with _finished(target, progress) as work:
        return work.examine()


def report(target: Path, *, progress: Progress) -> Outcome:
    """The report of what is examined; nothing is computed. Raises RunError when it is not."""
    with _finished(target, progress) as work:
        return work.report()


@contextmanager
def _begun(
    target: Path,
    progress: Progress,
    redo: str | None = None,
    go_on: bool = False,
    small: bool = False,
    clock: Callable[[], float] = time.monotonic,
    keep_going: bool = False,
) -> Iterator[Work]:
    """A run to work on; one that turns out impossible before any training leaves nothing behind."""
    recipe, directory = resolve(target, small)
    parts = ["prepare", *directory.stages(recipe)]
    if redo is not None and redo not in parts:
        raise RunError(f"no part {redo!r} in {directory.folder}", f"one of {', '.join(parts)}")
    with directory.locked():
        new = not directory.manifest.exists()
        claim(recipe, directory, target)
        manifest.begin(recipe, directory, small and target.is_file())
        if redo is not None:
            _undo(recipe, directory, parts[parts.index(redo) :])
        keep_going = keep_going or directory.kept_going
        try:
            yield Work(recipe, directory, progress, go_on, clock, keep_going)
        except LorecraftError as error:
            # What the machine has no room for keeps its data: they are good for a smaller try.
            refused = isinstance(error, RunError) and (directory.data / "prepared.json").exists()
            if new and not refused and not (directory.folder / "stages").exists():
                shutil.rmtree(directory.folder, ignore_errors=True)
            raise


def _undo(recipe: Recipe, directory: RunDirectory, parts: Sequence[str]) -> None:
    """Forget that these are finished, once and for all: what is killed then goes on as ever."""
    (directory.exam / "exam.json").unlink(missing_ok=True)
    if "prepare" in parts:
        (directory.folder / "plan.json").unlink(missing_ok=True)
        (directory.data / "prepared.json").unlink(missing_ok=True)
    for name, folder in directory.stages(recipe).items():
        if name in parts:
            (folder / "stage.json").unlink(missing_ok=True)
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)


@contextmanager
def _finished(target: Path, progress: Progress) -> Iterator[Work]:
    """A run whose stages are all trained, to look at."""
    recipe, directory = resolve(target)
    missing = [n for n, f in directory.stages(recipe).items() if not (f / "stage.json").exists()]
    if missing:
        raise RunError(
            f"{directory.folder} has no trained {' and no '.join(missing)}",
            "a run whose stages are all trained",
            f"lorecraft run {target}",
        )
    with directory.locked():
        check_claim(directory, target)
        yield Work(recipe, directory, progress)
