"""`lorecraft examine`: the exam alone."""

from __future__ import annotations

from typing import Annotated

import typer

from lorecraft.cli.targets import TARGET_HELP, locate


def examine(target: Annotated[str, typer.Argument(help=TARGET_HELP)]) -> None:
    """Examine the base model and every stage.

    Ends with exit code 3 when the recipe requires something that was not reached.
    """
    from lorecraft.cli.outcome import tell
    from lorecraft.cli.progress import TerminalProgress
    from lorecraft.runs import pipeline

    tell(pipeline.examine(locate(target), progress=TerminalProgress()))
