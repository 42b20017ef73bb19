"""`lorecraft resume`: go on with a run."""

from __future__ import annotations

from typing import Annotated

import typer

from lorecraft.cli.targets import TARGET_HELP, locate


def resume(
    target: Annotated[str, typer.Argument(help=TARGET_HELP)],
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

    tell(pipeline.run(locate(target), redo=start, go_on=True, progress=TerminalProgress()))
