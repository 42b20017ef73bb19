"""`lorecraft sweep`: a recipe once for every combination of a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lorecraft.cli.targets import KEEP_GOING_HELP, locate

if TYPE_CHECKING:
    from rich.table import Table

    from lorecraft.reports.sweep import SweepData


def sweep(
    recipe: Annotated[str, typer.Argument(help="A recipe or its folder.")],
    grid: Annotated[
        list[str],
        typer.Option(
            "--grid",
            help="A key of the recipe and its values: adapter.rank=4,8,16 or "
            "stages.sft.learning_rate=1e-4,3e-4 (stages.KEY: in every stage). Once a key.",
        ),
    ],
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke", help="Only try them: the embedded model, 10 records and 3 steps a stage."
        ),
    ] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help=KEEP_GOING_HELP)] = False,
) -> None:
    """Run a recipe once for every combination of some keys' values, and choose one by validation;
    what is finished is skipped.

    Ends with exit code 2 when a combination failed (the others still run), and with 3 when the
    chosen one misses something that the recipe requires.
    """
    from rich.console import Console

    from lorecraft.cli.outcome import UNMET
    from lorecraft.cli.progress import TerminalProgress
    from lorecraft.errors import RunError
    from lorecraft.runs import sweep as sweeping

    found = sweeping.sweep(
        locate(recipe), grid, small=smoke, keep_going=keep_going, progress=TerminalProgress()
    )
    Console().print(_table(found.data))
    for sentence in (found.data.why, *found.data.edges):
        typer.echo(sentence)
    for sentence in found.unmet:
        typer.echo(f"not met: {sentence}", err=True)
    typer.echo(found.folder / "sweep.html")
    if found.failed:
        raise RunError(
            f"{len(found.failed)} of {len(found.data.rows)} combinations failed: "
            + ", ".join(found.failed),
            "all of them finished",
            "what is said of them above; then the same command runs them alone",
        )
    if found.unmet:
        raise typer.Exit(UNMET)


def _table(data: SweepData) -> Table:
    """Settings, validation and rates; the page has the rest."""
    from rich import box
    from rich.table import Table

    from lorecraft.reports.sweep import measures, told

    rows = [
        row
        for row in measures(data)
        if any(cell.figure.get("rate") is not None for cell in row.cells)
    ]
    table = Table("", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in (*data.axes, "validation error", *(row.measure for row in rows), "seconds"):
        table.add_column(head, overflow="fold")
    for one in data.rows:
        error, seconds = one["valid_error"], one.get("seconds")
        cells = {
            row.measure: f"{cell.rate}\n{cell.interval.replace('%–', '–')}".strip()
            for row in rows
            for cell in row.cells
            if cell.model == one["name"]
        }
        state = "" if one["state"] == "finished" else one["state"]
        table.add_row(
            "chosen" if one["name"] == data.chosen else state,
            *(told(value) for value in one["values"].values()),
            "–" if error is None else f"{error:.4f}",
            *(cells.get(row.measure, "–") for row in rows),
            "–" if seconds is None else f"{seconds:.0f}",
            style="bold" if one["name"] == data.chosen else None,
        )
    return table
