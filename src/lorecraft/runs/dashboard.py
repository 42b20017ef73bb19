"""A dashboard of runs: what their folders hold -> one page, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from lorecraft.errors import RunError
from lorecraft.reports import dashboard as pages
from lorecraft.reports.data import Results
from lorecraft.runs.directory import RunDirectory
from lorecraft.runs.files import read_json, write_text
from lorecraft.runs.results import read_results


def write_dashboard(folders: Sequence[Path], output: Path, pictures: Path | None = None) -> None:
    """Write the page to ``output`` and, where ``pictures`` is given, its SVGs into that folder.

    Args:
        folders: of runs, or of sweeps, which stand for all their runs.

    Raises RunError for a folder that is neither, or has not begun.
    """
    runs = _named(folders)
    write_text(
        output, pages.render(runs, datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z"))
    )
    if pictures is not None:
        for name, picture in pages.pictures(runs).items():
            write_text(pictures / f"{name}.svg", picture)


def _named(folders: Sequence[Path]) -> list[Results]:
    """The runs, each with a name that none of the others has."""
    found: dict[Path, str] = {}
    for folder in folders:
        found |= _runs(folder)
    names = [*found.values()]
    return [
        replace(
            read_results(RunDirectory(folder), answers=True),
            name=name if names.count(name) == 1 else f"{folder.parent.name}/{name}",
        )
        for folder, name in found.items()
    ]


def _runs(folder: Path) -> dict[Path, str]:
    """Folder of a run -> its name, without the sweep's where it is a part of one."""
    if (folder / "sweep.json").exists():
        swept = read_json(folder / "sweep.json")
        folders = [folder / one["folder"] for one in swept["variants"]]
        begun = [one for one in folders if (one / "manifest.json").exists()]
        if not begun:
            raise RunError(f"{folder} has no run that has begun", "a sweep that has run")
        return {path: name for one in begun for path, name in _runs(one).items()}
    if not (folder / "manifest.json").exists():
        raise RunError(
            f"{folder} is no run that has begun",
            "the folder of a run, or of a sweep",
            "`lorecraft runs list` shows the runs",
        )
    around, name = folder.parent / "sweep.json", folder.name
    if around.exists():
        name = name.removeprefix(f"{read_json(around)['name']}-")
    return {folder.absolute(): name}
