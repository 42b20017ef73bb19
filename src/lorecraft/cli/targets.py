"""Runs by folder or by name."""

from __future__ import annotations

from pathlib import Path

from lorecraft.errors import RunError

OUTPUT = Path("runs")
TARGET_HELP = "A recipe or its folder, a run's folder, or a run's name under runs/."
KEEP_GOING_HELP = "Leave out bad files and rows, which are named, and use the rest."
RUN_HELP = "A run's folder, or its name under runs/."


def locate(target: str) -> Path:
    """A path as given, the recipe in a folder, or the folder of the run of that name; what opens
    it checks that it is."""
    path, named = Path(target), OUTPUT / target
    if not _is_run(path) and (path / "recipe.yaml").is_file():
        return path / "recipe.yaml"
    return named if named.is_dir() and not path.exists() else path


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
