"""`lorecraft train`: training alone."""

from __future__ import annotations

from typing import Annotated

import typer

from lorecraft.cli.targets import TARGET_HELP, locate


def train(target: Annotated[str, typer.Argument(help=TARGET_HELP)]) -> None:
    """Train the stages; makes the data first where it is not made."""
    from lorecraft.cli.outcome import tell
    from lorecraft.cli.progress import TerminalProgress
    from lorecraft.runs import pipeline

    tell(pipeline.train(locate(target), progress=TerminalProgress()))
