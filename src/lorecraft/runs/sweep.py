"""A sweep: a recipe run once for every combination of a grid, and which combination to take."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lorecraft.errors import LorecraftError, RunError
from lorecraft.recipe import Recipe, load_recipe, to_yaml
from lorecraft.recipe.grid import Axis, Variant, variants
from lorecraft.reports import sweep as pages
from lorecraft.reports.data import Results
from lorecraft.reports.sweep import SweepData
from lorecraft.runs import manifest, pipeline
from lorecraft.runs.directory import RunDirectory, adapter_folder, resolve
from lorecraft.runs.files import file_hash, fingerprint, read_json, write_json, write_text
from lorecraft.runs.progress import Progress
from lorecraft.runs.results import read_results
from lorecraft.runs.work import Work

Row = dict[str, Any]


@dataclass(frozen=True)
class Swept:
    """How a sweep ended. ``unmet`` says what the chosen one misses of what the recipe requires."""

    folder: Path
    data: SweepData
    unmet: tuple[str, ...] = ()

    @property
    def failed(self) -> list[str]:
        """The combinations that failed."""
        return [row["name"] for row in self.data.rows if row["state"] == "failed"]


def sweep(
    target: Path,
    grid: Sequence[str],
    *,
    small: bool = False,
    keep_going: bool = False,
    progress: Progress,
) -> Swept:
    """Run every combination that is not finished; one that fails does not hold up the others.

    Args:
        target: a recipe.
        grid: ``key=value,value,...`` each; see `recipe.grid`.
        small, keep_going: as for a run.

    Raises:
        RecipeError: the recipe, a key or a value cannot be used; nothing has run then.
        RunError: the sweep's folder holds something else.
    """
    axes = [Axis.parse(text) for text in grid]
    found = variants(target, axes)
    recipe = load_recipe(target)
    folder = recipe.output / f"{recipe.name}-sweep{'-smoke' * small}"
    with RunDirectory(folder).locked():
        _check_claim(folder, target)
        recipes = {variant.name: _written(variant, folder) for variant in found}
        rows = [_row(variant, resolve(recipes[variant.name], small)[1]) for variant in found]
        unmet: dict[str, tuple[str, ...]] = {}
        data = _save(folder, target, recipe.name, axes, rows, small)
        for number, (row, file) in enumerate(zip(rows, recipes.values(), strict=True), 1):
            progress.note(f"{row['name']} ({number} of {len(rows)})")
            unmet[row["name"]] = _ran(row, file, small, keep_going, progress)
            gc.collect()  # an error's frames held their model until now
            data = _save(folder, target, recipe.name, axes, rows, small)
    return Swept(folder, data, unmet.get(data.chosen or "", ()))


def _check_claim(folder: Path, target: Path) -> None:
    file = folder / "sweep.json"
    before = Path(read_json(file)["recipe"]) if file.exists() else None
    if before is not None and before != target.absolute() and before.is_file():
        raise RunError(
            f"{folder} is the sweep of {before}",
            "one recipe to a sweep's folder",
            f"give {target} another `name`",
        )
    if before is None and any(
        path.name != "recipes" and path.name[0] != "." for path in folder.iterdir()
    ):
        raise RunError(
            f"{folder} is not empty, and no sweep's folder",
            "a new folder, or one that `lorecraft sweep` made",
            "give the recipe another `name` or `output`",
        )


def _written(variant: Variant, folder: Path) -> Path:
    """The recipe of a combination as a file of its own, whose run is in the sweep's folder."""
    recipe = variant.recipe
    adapter = recipe.adapter
    if adapter.start is not None:  # a run's stage is found from the folder of the runs
        start = adapter_folder(adapter.start, recipe.output)
        adapter = adapter.model_copy(update={"start": str(start)})
    file = folder / "recipes" / f"{variant.name}.yaml"
    text = to_yaml(recipe.model_copy(update={"output": folder, "adapter": adapter}))
    if not file.exists() or file.read_text("utf-8") != text:
        write_text(file, text)
    return file


def _row(variant: Variant, directory: RunDirectory) -> Row:
    """A combination before it has run."""
    return {
        "name": variant.name,
        "values": variant.values,
        "folder": directory.folder.name,
        "state": "waiting",
        "error": None,
        "valid_error": None,
        "measures": {},
    }


def _ran(
    row: Row, file: Path, small: bool, keep_going: bool, progress: Progress
) -> tuple[str, ...]:
    """Run a combination, unless it is finished, and enter what came out; what it misses of what is
    required."""
    recipe, directory = resolve(file, small)
    try:
        if manifest.is_finished(recipe, directory):
            progress.note("  finished before")
            unmet = Work(recipe, directory, progress).outcome().unmet
        else:
            done = pipeline.run(file, small=small, keep_going=keep_going, progress=progress)
            unmet = done.unmet
    except LorecraftError as error:
        row |= {"state": "failed", "error": str(error)}
        progress.note(f"  failed: {error}")
        return ()
    row |= {"state": "finished", "error": None, **_figures(recipe, directory)}
    return unmet


def _figures(recipe: Recipe, directory: RunDirectory) -> Row:
    """What a finished run has to show: the last stage's figures, and the seconds of all."""
    found = read_results(directory)
    stage = found.stages[found.last]
    losses = [point["loss"] for point in stage["curves"] if "loss" in point]
    tail = losses[-math.ceil(len(losses) / 10) :]
    kept = [
        point["valid_loss"]
        for point in stage["curves"]
        if "valid_loss" in point and point["step"] == stage["best_step"]
    ]
    return {
        "stage": found.last,
        "steps": stage["steps"],
        "best_step": stage["best_step"],
        "valid_error": found.valid_error,
        "valid_loss": kept[0] if kept else None,
        "train_loss": sum(tail) / len(tail) if tail else None,
        "seconds": found.seconds,
        "measures": found.measures,
        "validated_on": _validated_on(found, recipe, directory),
    }


def _validated_on(found: Results, recipe: Recipe, directory: RunDirectory) -> str:
    """Equal for runs whose validation errors are of the same tokens, and of the same loss."""
    records = file_hash(directory.data / found.last / "valid.jsonl")
    model, preference = recipe.model, recipe.stages[-1].preference
    return fingerprint(
        records, model.path, model.revision, recipe.data.max_length, found.last, preference
    )


def choose(rows: Sequence[Mapping[str, Any]]) -> tuple[str | None, str]:
    """``(name, why)`` of the combination to take, by validation alone; the name is None, with the
    reason, where validation cannot tell."""
    rivals = [row for row in rows if row["valid_error"] is not None]
    if not rivals:
        return None, "None is chosen: no combination has been validated."
    if len({row["validated_on"] for row in rivals}) > 1:
        return None, (
            "None is chosen: the combinations were validated on different records, models, "
            "lengths or losses, so that their validation errors do not compare."
        )
    best = min(rivals, key=lambda row: row["valid_error"])
    return best["name"], (
        f"Chosen is {best['name']}: its last stage has the lowest validation error of "
        f"{len(rivals)} ({best['valid_error']:.4f}). The exam's figures stand beside and chose "
        "nothing."
    )


def _save(
    folder: Path, target: Path, name: str, axes: Sequence[Axis], rows: Sequence[Row], small: bool
) -> SweepData:
    """Write what is known so far: ``sweep.json``, the pages and the pictures."""
    chosen, why = choose(rows)
    data = SweepData(
        name=name,
        created=datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z"),
        axes={axis.key: axis.values for axis in axes},
        numeric=[axis.key for axis in axes if axis.numeric],
        rows=rows,
        chosen=chosen,
        why=why,
        smoke=small,
    )
    write_json(
        folder / "sweep.json",
        {
            "name": name,
            "recipe": os.fspath(target.absolute()),
            "smoke": small,
            "grid": data.axes,
            "chosen": chosen,
            "why": why,
            "variants": rows,
        },
    )
    for file, text in pages.files(data).items():
        write_text(folder / file, text)
    return data
