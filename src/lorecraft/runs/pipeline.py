"""A run: prepare, train, examine, report. What is finished is skipped; what is not goes on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorecraft.errors import LorecraftError
from lorecraft.recipe import Recipe
from lorecraft.runs import manifest
from lorecraft.runs import prepare as preparing
from lorecraft.runs.directory import RunDirectory, claim, resolve
from lorecraft.runs.files import file_hash, fingerprint, read_json, write_json
from lorecraft.runs.prepare import Prepared
from lorecraft.runs.progress import Progress

if TYPE_CHECKING:
    from lorecraft.runs.workbench import Workbench


@dataclass(frozen=True)
class Outcome:
    """How a run, or a part of it, ended. ``unmet`` says which requirements were missed."""

    folder: Path
    report: Path | None = None
    unmet: tuple[str, ...] = ()
    verdict: dict[str, Any] | None = None


def run(target: Path, *, force: bool = False, progress: Progress) -> Outcome:
    """Everything, from a recipe or a run's folder. ``force`` does again what is finished."""
    with _opened(target, progress, force) as work:
        work.prepare()
        work.train()
        work.examine()
        return work.report()


def prepare(target: Path, *, force: bool = False, progress: Progress) -> Outcome:
    """The data alone; no model is loaded."""
    with _opened(target, progress, force) as work:
        work.prepare()
        return Outcome(work.directory.folder)


def train(target: Path, *, force: bool = False, progress: Progress) -> Outcome:
    """The data and the stages."""
    with _opened(target, progress, force) as work:
        work.prepare()
        work.train()
        return Outcome(work.directory.folder)


def examine(target: Path, *, force: bool = False, progress: Progress) -> Outcome:
    """The exam of what is trained, trained first where it is not."""
    with _opened(target, progress, force) as work:
        work.prepare()
        work.train()
        return work.examine()


def report(target: Path, *, force: bool = False, progress: Progress) -> Outcome:
    """The report of what is examined, examined first where it is not."""
    return run(target, force=force, progress=progress)


@contextmanager
def _opened(target: Path, progress: Progress, force: bool) -> Iterator[_Run]:
    recipe, directory = resolve(target)
    with directory.locked():
        new = not directory.manifest.exists()
        claim(recipe, directory, target)
        try:
            yield _Run(recipe, directory, progress, force)
        except LorecraftError:
            if new and not directory.data.exists():  # unusable sources leave nothing behind
                shutil.rmtree(directory.folder, ignore_errors=True)
            raise


class _Run:
    """One process's work on a run directory that it has locked."""

    def __init__(
        self, recipe: Recipe, directory: RunDirectory, progress: Progress, force: bool
    ) -> None:
        self.recipe, self.directory, self.progress, self.force = recipe, directory, progress, force
        self.folders = directory.stages(recipe)
        manifest.begin(recipe, directory)

    @property
    def models(self) -> list[str]:
        """The stages' model names, in order."""
        return list(self.folders)

    @cached_property
    def bench(self) -> Workbench:
        """The model, its tokenizer and the engine; loaded when first needed."""
        from lorecraft.runs.workbench import Workbench

        self.progress.note(f"Loading {self.recipe.model.path}")
        bench = Workbench.open(self.recipe)
        manifest.add(self.directory, model=bench.describe())
        return bench

    # --- prepare ----------------------------------------------------------------------------

    @cached_property
    def data_key(self) -> str:
        """Changes with anything that the data are made from."""
        recipe = self.recipe
        files = {str(path): file_hash(path) for path in manifest.sources(recipe)}
        mixing = [(stage.kind, stage.general) for stage in recipe.stages]
        return fingerprint(
            manifest.code_version(), recipe.seed, recipe.data, recipe.exam, mixing, files
        )

    @cached_property
    def prepared(self) -> Prepared:
        return preparing.load(self.directory.data, self.models)

    def prepare(self) -> None:
        finished = self.directory.data / "prepared.json"
        if not self.force and finished.exists() and read_json(finished)["key"] == self.data_key:
            return
        self.progress.note("Preparing the data")
        prepared = preparing.prepare(self.recipe, self.models)
        preparing.save(prepared, self.directory.data)
        write_json(finished, {"key": self.data_key})
        sizes = {
            name: {"train": len(data.train), "valid": len(data.valid)}
            for name, data in prepared.stages.items()
        }
        self.directory.log("prepare", "end", records=sizes, questions=len(prepared.questions))
        for name, size in sizes.items():
            self.progress.note(
                f"  {name}: {size['train']} records to train on, {size['valid']} to validate"
            )
        self.progress.note(f"  exam: {len(prepared.questions)} questions")

    # --- train ------------------------------------------------------------------------------

    def stage_keys(self) -> dict[str, str]:
        """A stage's key changes with anything that its adapter comes from."""
        recipe, keys = self.recipe, {}
        before = fingerprint(
            manifest.code_version(),
            self.bench.model_hash,
            recipe.model.dtype,
            recipe.model.quantization,
            self.bench.engine.name,
            self.bench.engine.device,
            recipe.adapter,
            recipe.seed,
            recipe.data.max_length,
        )
        for name, stage in zip(self.models, recipe.stages, strict=True):
            files = [self.directory.data / name / f"{part}.jsonl" for part in ("train", "valid")]
            before = keys[name] = fingerprint(before, stage, [file_hash(file) for file in files])
        return keys

    def train(self) -> None:
        from lorecraft.runs.stage import run_stage

        start: Path | None = None
        for (name, key), stage in zip(self.stage_keys().items(), self.recipe.stages, strict=True):
            folder = self.folders[name]
            finished = folder / "stage.json"
            if self.force or not finished.exists() or read_json(finished)["key"] != key:
                if self.force:
                    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
                run_stage(
                    self.bench,
                    self.recipe,
                    stage,
                    self.prepared.stages[name],
                    name=name,
                    key=key,
                    start=start,
                    directory=self.directory,
                    folder=folder,
                    progress=self.progress,
                )
            start = folder / "adapter"

    # --- examine ----------------------------------------------------------------------------

    def examine(self) -> Outcome:
        from lorecraft.evaluation.measures import requirements
        from lorecraft.runs.exam import sit_exam

        key = fingerprint(
            self.stage_keys(), file_hash(self.directory.data / "exam.jsonl"), self.recipe.exam
        )
        finished = self.directory.exam / "exam.json"
        if self.force or not finished.exists() or read_json(finished)["key"] != key:
            began = time.monotonic()
            sit_exam(
                self.bench,
                self.recipe,
                self.prepared,
                adapters={name: folder / "adapter" for name, folder in self.folders.items()},
                folder=self.directory.exam,
                progress=self.progress,
            )
            seconds = round(time.monotonic() - began, 1)
            write_json(finished, {"key": key, "seconds": seconds})
            self.directory.log("exam", "end", seconds=seconds)
        verdict = read_json(self.directory.exam / "verdict.json")
        require = self.recipe.require
        results = requirements(verdict, require.measures(), require.at, self.models[-1])
        missed = tuple(result["text"] for result in results if not result["met"])
        return Outcome(self.directory.folder, None, missed, verdict)

    # --- report -----------------------------------------------------------------------------

    def report(self) -> Outcome:
        from lorecraft.runs.reporting import write_report

        outcome = self.examine()
        manifest.finish(self.directory)
        write_report(self.recipe, self.directory, self.models, self.prepared)
        return Outcome(outcome.folder, self.directory.report, outcome.unmet, outcome.verdict)
