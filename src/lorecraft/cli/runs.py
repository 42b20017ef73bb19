"""`lorecraft runs`: what has been run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorecraft.cli.targets import OUTPUT, RUN_HELP, locate_run
from lorecraft.errors import RunError

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(help="List runs, show one.")


@app.callback(invoke_without_command=True)
def runs(context: typer.Context) -> None:
    """Without a command: the list."""
    if context.invoked_subcommand is None:
        list_command()


@app.command("list")
def list_command(
    output: Annotated[Path, typer.Option(help="The folder of the runs.")] = OUTPUT,
) -> None:
    """List the runs: how far each is, and what its last model reached."""
    from rich.console import Console
    from rich.table import Table

    from lorecraft.runs.directory import list_runs

    runs = list_runs(output)
    if not runs:
        typer.echo(f"no runs in {output}; `lorecraft run RECIPE` makes one")
        return
    table = Table("run", "state", "started", "stages", "recall", "retention")
    for run in runs:
        models = (run.verdict or {}).get("models", {})
        last = list(models.values())[-1] if models else {}
        figures = (_rate(last.get(measure)) for measure in ("recall", "retention"))
        table.add_row(run.name, run.state, str(run.started), " ".join(run.stages), *figures)
    Console().print(table)


@app.command("show")
def show(run: Annotated[str, typer.Argument(help=RUN_HELP)]) -> None:
    """Show a run: its verdict in sentences, and every measure of every model."""
    from rich.console import Console

    from lorecraft.runs.directory import list_runs

    folder = locate_run(run)
    summary = next((s for s in list_runs(folder.parent) if s.name == folder.name), None)
    if summary is None:
        raise RunError(f"{folder} has not begun", "a manifest.json", f"lorecraft run {folder}")
    typer.echo(f"{summary.name}: {summary.state}, started {summary.started}")
    if summary.verdict:
        for claim in summary.verdict["claims"]:
            typer.echo(claim["text"])
        Console().print(_measures(summary.verdict["models"]))
    report = folder / "report.html"
    typer.echo(report if report.exists() else folder)


def _measures(models: dict[str, dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("measure", *models)
    names = dict.fromkeys(name for measures in models.values() for name in measures)
    for name in names:
        table.add_row(name, *(_rate(measures.get(name)) for measures in models.values()))
    return table


def _rate(measure: dict[str, Any] | None) -> str:
    """A rate with its interval in percent; other figures, such as perplexity, as they are."""
    if not measure or measure.get("rate", 0) is None:
        return "-"
    if "rate" not in measure:
        return ", ".join(f"{name} {value:.4g}" for name, value in measure.items())
    rate, low, high = (100 * measure[part] for part in ("rate", "low", "high"))
    return f"{rate:.1f}% ({low:.1f}-{high:.1f}, n={measure['asked']})"
