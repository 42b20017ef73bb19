"""`lorecraft resume`: go on with a run."""

from __future__ import annotations

from typing import Annotated

import typer

from lorecraft.cli.targets import RUN_HELP, locate_run


def resume(
    run: Annotated[str, typer.Argument(help=RUN_HELP)],
    start: Annotated[
        str | None,
        typer.Option("--from", help="Do again from this part on: prepare, or a stage (cpt, sft)."),
    ] = None,
) -> None:
    """Go on with a run where it was, also where a deadline stopped it.

    Ends with exit code 3 when the recipe requires something that was not reached.
    """
    from lorecraft.cli.outcome import tell
    from lorecraft.cli.progress import TerminalProgress
    from lorecraft.runs import pipeline

    folder = locate_run(run)
    tell(pipeline.run(folder, redo=start, go_on=True, progress=TerminalProgress()))
