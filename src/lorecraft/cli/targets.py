"""Runs by folder or by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lorecraft.errors import RunError

if TYPE_CHECKING:
    from lorecraft.recipe import RecordsSection

OUTPUT = Path("runs")
TARGET_HELP = "A recipe or its folder, a run's folder, or a run's name under runs/."
DATA_HELP = (
    "Files (.jsonl, .json, .csv, .parquet), a folder or glob of them, hf:owner/name, a recipe, or "
    "a run's folder or name."
)
MAP_HELP = "Map a column as in a recipe: --map 'prompt={question}' --map 'completion={answer}'."
KEEP_GOING_HELP = "Leave out bad files and rows, which are named, and use the rest."
RUN_HELP = "A run's folder, or its name under runs/."


def locate(target: str) -> Path:
    """A path as given, the recipe in a folder, or the folder of the run of that name; what opens
    it checks that it is."""
    path, named = Path(target), OUTPUT / target
    if not _is_run(path) and (path / "recipe.yaml").is_file():
        return path / "recipe.yaml"
    return named if named.is_dir() and not path.exists() else path


def locate_data(targets: list[str]) -> list[str]:
    """One target may be a recipe or a run, by any of its names; all else stays as it is."""
    return [str(locate(targets[0]))] if len(targets) == 1 and ":" not in targets[0] else targets


def mapping(columns: list[str] | None) -> RecordsSection | None:
    """``prompt={question}`` and the like as the section of a recipe. Raises DataError."""
    from pydantic import ValidationError

    from lorecraft.errors import DataError
    from lorecraft.recipe import RecordsSection

    if not columns:
        return None
    given = dict(column.partition("=")[::2] for column in columns)
    try:
        return RecordsSection.model_validate({"path": "hf:owner/name", **given})
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"--map {' '.join(columns)}: {first['msg']}",
            f"KEY=TEMPLATE, the keys of {', '.join(list(RecordsSection.model_fields)[1:])}",
        ) from None


def locate_run(target: str) -> Path:
    """The folder of a run; a recipe's folder of the same name does not hide it.

    Raises RunError when there is none; it names those that there are.
    """
    path, named = Path(target), OUTPUT / target
    folder = named if named.is_dir() and not _is_run(path) else path
    if folder.is_dir():
        return folder.absolute()
    names = sorted(path.parent.name for path in OUTPUT.glob("*/manifest.json"))
    raise RunError(
        f"no run at {target}",
        f"a run's folder, or a name under {OUTPUT}/ ({', '.join(names) or 'none yet'})",
        "lorecraft runs list",
    )


def _is_run(folder: Path) -> bool:
    return (folder / "manifest.json").is_file()
