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

from lorecraft.errors import LorecraftError, RunError
from lorecraft.recipe import Recipe
from lorecraft.runs import manifest, tracking
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
    with _begun(target, progress, force) as work:
        work.check()
        work.prepare()
        work.train()
        work.examine()
        manifest.finish(work.directory)
        return work.report()


def prepare(target: Path, *, progress: Progress) -> Outcome:
    """The data alone; no model is loaded."""
    with _begun(target, progress) as work:
        work.prepare()
        return Outcome(work.directory.folder)


def train(target: Path, *, progress: Progress) -> Outcome:
    """The data and the stages."""
    with _begun(target, progress) as work:
        work.check()
        work.prepare()
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
def _begun(target: Path, progress: Progress, force: bool = False) -> Iterator[_Run]:
    """A run to work on; one that turns out impossible before any training leaves nothing behind."""
    recipe, directory = resolve(target)
    with directory.locked():
        new = not directory.manifest.exists()
        claim(recipe, directory, target)
        manifest.begin(recipe, directory)
        try:
            yield _Run(recipe, directory, progress, force)
        except LorecraftError:
            if new and not (directory.folder / "stages").exists():
                shutil.rmtree(directory.folder, ignore_errors=True)
            raise


@contextmanager
def _finished(target: Path, progress: Progress) -> Iterator[_Run]:
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
        claim(recipe, directory, target)
        yield _Run(recipe, directory, progress)


class _Run:
    """One process's work on a run directory that it has locked."""

    def __init__(
        self, recipe: Recipe, directory: RunDirectory, progress: Progress, force: bool = False
    ) -> None:
        self.recipe, self.directory, self.progress, self.force = recipe, directory, progress, force
        self.folders = directory.stages(recipe)

    @property
    def models(self) -> list[str]:
        """The stages' model names, in order."""
        return list(self.folders)

    @cached_property
    def bench(self) -> Workbench:
        """The model, its tokenizer and the engine; loaded when first needed."""
        from lorecraft.runs.workbench import Workbench

        self.progress.note(f"Loading {self.recipe.model.path}")
        return Workbench.open(self.recipe)

    def check(self) -> None:
        """Load the model and try the adapter on it, before any work is done for them; import the
        trackers."""
        from lorecraft.runs.workbench import adapter_spec

        tracking.check(self.recipe.track)
        self.bench.check_adapter(adapter_spec(self.recipe))
        manifest.add(self.directory, model=self.bench.describe())

    # --- prepare ----------------------------------------------------------------------------

    @cached_property
    def data_key(self) -> str:
        """Changes with anything that the data are made from, Lorecraft's own code included."""
        recipe, sources = self.recipe, manifest.sources(self.recipe)
        settings = recipe.data.model_dump(
            exclude={key.removeprefix("data.") for key in sources if key.startswith("data.")}
        )
        files = {key: file_hash(path) for key, path in sources.items()}
        mixing = [(stage.kind, stage.general) for stage in recipe.stages]
        return fingerprint(
            manifest.code_version(), recipe.seed, settings, recipe.exam, mixing, files
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
        """A stage's key changes with anything that its adapter comes from but Lorecraft's code: a
        new version shall not train a night's work again unasked."""
        recipe, keys = self.recipe, {}
        before = fingerprint(
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
        from lorecraft.runs.stage import encode_stage, run_stage

        stages = dict(zip(self.models, self.recipe.stages, strict=True))
        trackers = tracking.Trackers(self.recipe.track, self.directory, self.progress)
        keys = self.stage_keys()
        waiting = {
            # All of them before the first is trained, so that no record fails in the night.
            name: encode_stage(self.bench, self.recipe, self.prepared.stages[name])
            for name in stages
            if self.force or self.trained_key(name) != keys[name]
        }
        start: Path | None = None
        for name, stage in stages.items():
            folder = self.folders[name]
            if name in waiting:
                if self.force:
                    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
                run_stage(
                    self.bench,
                    self.recipe,
                    stage,
                    waiting.pop(name),
                    name=name,
                    key=keys[name],
                    start=start,
                    directory=self.directory,
                    folder=folder,
                    progress=self.progress,
                    trackers=trackers,
                )
            start = folder / "adapter"

    def trained_key(self, name: str) -> str | None:
        """The key of a stage that is finished."""
        finished = self.folders[name] / "stage.json"
        return read_json(finished)["key"] if finished.exists() else None

    # --- examine ----------------------------------------------------------------------------

    def examine(self) -> Outcome:
        """The exam of the adapters that are there."""
        from lorecraft.runs.exam import sit_exam

        key = fingerprint(
            manifest.code_version(),
            [self.trained_key(name) for name in self.models],
            file_hash(self.directory.data / "exam.jsonl"),
            self.recipe.exam,
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
        return self.outcome()

    def outcome(self, report: Path | None = None) -> Outcome:
        """What the exam that was sat says."""
        from lorecraft.evaluation.measures import requirements

        verdict = read_json(self.directory.exam / "verdict.json")
        require = self.recipe.require
        results = requirements(verdict, require.measures(), require.at, self.models[-1])
        missed = tuple(result["text"] for result in results if not result["met"])
        return Outcome(self.directory.folder, report, missed, verdict)

    # --- report -----------------------------------------------------------------------------

    def report(self) -> Outcome:
        from lorecraft.runs.reporting import write_report

        if not (self.directory.exam / "exam.json").exists():
            folder = self.directory.folder
            raise RunError(
                f"{folder} is not examined yet",
                "a run with its exam",
                f"lorecraft examine {folder}",
            )
        write_report(self.recipe, self.directory, self.models, self.prepared)
        return self.outcome(self.directory.report)
