"""`lorecraft dashboard`: runs side by side on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorecraft.cli.targets import locate_run


def dashboard(
    runs: Annotated[
        list[str],
        typer.Argument(help="Runs or sweeps: their folders, or their names under runs/."),
    ],
    output: Annotated[Path, typer.Option(help="The page to write.")] = Path("dashboard.html"),
    pictures: Annotated[
        Path | None,
        typer.Option(help="A folder to write the pictures into too, as SVG for a README."),
    ] = None,
) -> None:
    """Compare runs on one page: settings, measures, curves, outputs and data, side by side."""
    from lorecraft.runs.dashboard import write_dashboard

    write_dashboard([locate_run(run) for run in runs], output, pictures)
    typer.echo(output)
