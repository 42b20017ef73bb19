"""`lorecraft report`: the report alone."""

from __future__ import annotations

from typing import Annotated

import typer

from lorecraft.cli.targets import TARGET_HELP, locate


def report(target: Annotated[str, typer.Argument(help=TARGET_HELP)]) -> None:
    """Write report.html and report.md anew from what a run holds."""
    from lorecraft.cli.outcome import tell
    from lorecraft.cli.progress import TerminalProgress
    from lorecraft.runs import pipeline

    tell(pipeline.report(locate(target), progress=TerminalProgress()))
