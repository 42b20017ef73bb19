"""`lorecraft prepare`: the data alone."""

from __future__ import annotations

from typing import Annotated

import typer

from lorecraft.cli.targets import KEEP_GOING_HELP, TARGET_HELP, locate


def prepare(
    target: Annotated[str, typer.Argument(help=TARGET_HELP)],
    keep_going: Annotated[bool, typer.Option("--keep-going", help=KEEP_GOING_HELP)] = False,
) -> None:
    """Make the training data and the exam, and audit both."""
    from lorecraft.cli.outcome import tell
    from lorecraft.cli.progress import TerminalProgress
    from lorecraft.runs import pipeline

    tell(pipeline.prepare(locate(target), keep_going=keep_going, progress=TerminalProgress()))
