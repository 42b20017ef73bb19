"""`lorecraft run`: the whole path."""

from __future__ import annotations

from typing import Annotated

import typer

from lorecraft.cli.targets import KEEP_GOING_HELP, TARGET_HELP, locate


def run(
    target: Annotated[str, typer.Argument(help=TARGET_HELP)],
    force: Annotated[bool, typer.Option("--force", help="Do again what is finished.")] = False,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke", help="Only try it: the embedded model, 10 records and 3 steps a stage."
        ),
    ] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help=KEEP_GOING_HELP)] = False,
) -> None:
    """Prepare, train, examine and report; what is finished is skipped.

    Ends with exit code 3 when the recipe requires something that was not reached.
    """
    from lorecraft.cli.outcome import tell
    from lorecraft.cli.progress import TerminalProgress
    from lorecraft.runs import pipeline

    tell(
        pipeline.run(
            locate(target),
            redo="prepare" if force else None,
            small=smoke,
            keep_going=keep_going,
            progress=TerminalProgress(),
        )
    )
