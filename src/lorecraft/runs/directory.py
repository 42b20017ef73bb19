"""The run directory: what stands where, who may write to it, and which runs there are."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lorecraft.disk import naming
from lorecraft.errors import RunError
from lorecraft.recipe import Recipe, load_recipe, smoke, to_yaml
from lorecraft.runs.files import read_json, write_text


@dataclass(frozen=True)
class RunDirectory:
    """``runs/<name>/``; see docs/run-directory.md."""

    folder: Path

    @property
    def recipe(self) -> Path:
        return self.folder / "recipe.yaml"

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def kept_going(self) -> bool:
        """Whether its data were prepared without what was bad in their sources."""
        prepared = self.data / "prepared.json"
        return prepared.exists() and bool(read_json(prepared).get("keep_going"))

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"

    @property
    def exam(self) -> Path:
        return self.folder / "exam"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def origin_note(self) -> Path:
        return self.folder / ".origin"

    @property
    def origin(self) -> Path:
        """The recipe that the run was started with."""
        note = self.origin_note
        return Path(note.read_text("utf-8")) if note.exists() else self.recipe

    def stage(self, number: int, kind: str) -> Path:
        """``stages/01-cpt``; ``number`` counts from 1."""
        return self.folder / "stages" / f"{number:02}-{kind}"

    def stages(self, recipe: Recipe) -> dict[str, Path]:
        """Model name (``cpt``, ``sft``, a second ``sft-2``) -> folder of its stage, in order."""
        return {
            name: self.stage(number, stage.kind)
            for number, (name, stage) in enumerate(
                zip(recipe.stage_names, recipe.stages, strict=True), 1
            )
        }

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process works in a run directory. Raises RunError when another one does."""
        import fcntl

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.folder / ".lock"
        with lock.open("a+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                raise RunError(
                    f"{self.folder} is in use by process {file.read().decode() or 'unknown'}",
                    "one process at a time in a run directory",
                    "wait for it, stop it, or give the recipe another name",
                ) from None
            with naming(lock):
                file.truncate(0)
                file.write(str(os.getpid()).encode())
            yield

    def log(self, stage: str, kind: str, **fields: Any) -> None:
        """Append one event, on a line of its own even after one that a kill cut short."""
        event = {"time": round(time.time(), 3), "stage": stage, "kind": kind, **fields}
        with naming(self.events), self.events.open("a+b") as file:
            if file.tell() and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n":
                file.write(b"\n")  # a kill, or a full disk, cut the line before short
            file.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")

    def read_events(self) -> list[dict[str, Any]]:
        """All events; a line that a kill cut short is left out."""
        if not self.events.exists():
            return []
        return list(parse_events(self.events.read_bytes().split(b"\n")))


def parse_events(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The events of those lines that are whole."""
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def resolve(target: Path, small: bool = False) -> tuple[Recipe, RunDirectory]:
    """A recipe file, or a run's folder -> what to do and where; ``small`` tries it (``smoke``).

    Raises RunError for neither; RecipeError for a recipe that cannot be run.
    """
    if target.is_dir():
        directory = RunDirectory(target.absolute())
        if not directory.recipe.is_file():
            raise RunError(
                f"{target} is not a run's folder: it has no recipe.yaml",
                "a folder that `lorecraft run` made, or a recipe file",
                "`lorecraft runs list` shows the runs",
            )
        recipe = load_recipe(directory.recipe)
        if not small:
            return recipe, directory
    else:
        recipe = load_recipe(target)
    recipe = smoke(recipe) if small else recipe
    return recipe, RunDirectory(recipe.output / recipe.name)


def adapter_folder(start: str, output: Path) -> Path:
    """Where the adapter lies that a recipe's ``adapter.start`` names: a folder, or run/stage.

    Raises RunError when there is no such adapter.
    """
    folder = Path(start)
    if folder.is_absolute():
        return folder
    run, _, stage = start.rpartition("/")
    directory = RunDirectory(output / run)
    if not run or not directory.recipe.is_file():
        raise RunError(
            f"adapter.start: no adapter {start!r}",
            f"a folder with an adapter, or a stage of a run in {output}, such as company/sft",
        )
    stages = directory.stages(load_recipe(directory.recipe))
    if stage not in stages or not (stages[stage] / "stage.json").exists():
        raise RunError(
            f"adapter.start: {run} has no trained stage {stage!r}",
            f"one of {', '.join(stages)}, trained",
            f"lorecraft run {directory.folder}",
        )
    return stages[stage] / "adapter"


def check_claim(directory: RunDirectory, target: Path) -> None:
    """Raises RunError when the folder holds something else, or the run of another recipe."""
    if directory.manifest.exists() or directory.origin_note.exists():
        before, own = directory.origin, (target.absolute(), directory.recipe)
        if target.is_file() and before not in own and before.is_file():
            raise RunError(
                f"{directory.folder} is the run of {before}",
                "one recipe to a run directory",
                f"give {target} another `name`",
            )
    elif any(path.name not in (".lock", "..origin.partial") for path in directory.folder.iterdir()):
        raise RunError(
            f"{directory.folder} is not empty, and no run's folder",
            "a new folder, or one that `lorecraft run` made",
            "give the recipe another `name` or `output`",
        )


def claim(recipe: Recipe, directory: RunDirectory, target: Path) -> None:
    """Write the resolved recipe into its run directory, which is locked; ``check_claim`` first."""
    check_claim(directory, target)
    if target.is_file():
        write_text(directory.origin_note, str(target.absolute()))
    text = to_yaml(recipe)
    if not directory.recipe.exists() or directory.recipe.read_text("utf-8") != text:
        write_text(directory.recipe, text)


@dataclass(frozen=True)
class RunSummary:
    """One line of ``lorecraft runs list``."""

    name: str
    folder: Path
    state: str
    started: str
    stages: tuple[str, ...]
    verdict: dict[str, Any] | None


def list_runs(output: Path) -> list[RunSummary]:
    """The runs under a folder, the newest first."""
    if not output.is_dir():
        return []
    found = [summary_of(RunDirectory(path.parent)) for path in output.glob("*/manifest.json")]
    return sorted(found, key=lambda run: run.started, reverse=True)


def summary_of(directory: RunDirectory) -> RunSummary:
    """How far a run is that has begun."""
    manifest = read_json(directory.manifest)
    verdict_file = directory.exam / "verdict.json"
    done = sorted(path.parent.name for path in directory.folder.glob("stages/*/stage.json"))
    if directory.report.exists():
        state = "reported"
    elif verdict_file.exists():
        state = "examined"
    elif done:
        state = "trained" if len(done) == len(manifest["stages"]) else "training"
    else:
        state = "prepared" if directory.data.is_dir() else "started"
    started = datetime.fromtimestamp(manifest["started"]).isoformat(" ", "minutes")
    return RunSummary(
        name=directory.folder.name,
        folder=directory.folder,
        state=state,
        started=started,
        stages=tuple(done),
        verdict=read_json(verdict_file) if verdict_file.exists() else None,
    )
