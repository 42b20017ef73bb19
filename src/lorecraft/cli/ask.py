"""`lorecraft ask`: one question, base and tuned side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from lorecraft.cli.targets import RUN_HELP, locate_run


def ask(
    run: Annotated[str, typer.Argument(help=RUN_HELP)],
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
) -> None:
    """Ask the base model and the tuned one the same question."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lorecraft.data.records import Message
    from lorecraft.runs.ask import open_run

    asker = open_run(locate_run(run))
    asked = list(dict.fromkeys([asker.models[0], asker.models[-1]]))
    table = Table(title=Text(question), title_justify="left", show_lines=True)
    for model in asked:
        table.add_column(model, ratio=1, overflow="fold")
    answers = ["".join(asker.ask([Message("user", question)], model=model)) for model in asked]
    table.add_row(*(Text(answer.strip()) for answer in answers))
    Console().print(table)
