"""What a command says when it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from lorecraft.runs.pipeline import Outcome

UNMET = 3


def tell(outcome: Outcome) -> None:
    """Print the verdict's sentences and, as the last line, the report's path (or the run's folder).

    Raises:
        typer.Exit: with code 3 when a requirement was not met.
    """
    for claim in (outcome.verdict or {}).get("claims", ()):
        typer.echo(claim["text"])
    for sentence in outcome.unmet:
        typer.echo(f"not met: {sentence}", err=True)
    typer.echo(outcome.report or outcome.folder)
    if outcome.unmet:
        raise typer.Exit(UNMET)
