"""`lorecraft logs`: what happened in a run, and what is happening."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from lorecraft.cli.targets import RUN_HELP, locate_run


def logs(
    run: Annotated[str, typer.Argument(help=RUN_HELP)],
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until the run is finished, or Ctrl-C.")
    ] = False,
    spikes: Annotated[
        bool, typer.Option("--spikes", help="Name the records behind the worst steps.")
    ] = False,
) -> None:
    """Tell what happened in a run: a line for each validation, and for all that is not a step."""
    from lorecraft.errors import RunError
    from lorecraft.runs import logs as reading
    from lorecraft.runs.directory import RunDirectory

    directory = RunDirectory(locate_run(run))
    if not directory.manifest.exists():
        raise RunError(f"{run} has not begun", "a manifest.json", f"lorecraft run {run}")
    if follow and spikes:
        raise RunError("--follow and --spikes", "one of the two")
    if spikes:
        lines = reading.name_spikes(directory)
    else:
        events = reading.follow(directory) if follow else directory.read_events()
        lines = reading.sentences(events)
    with suppress(KeyboardInterrupt):
        for line in lines:
            typer.echo(line)
