"""`lorecraft chat`: talk with a model of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from lorecraft.cli.targets import RUN_HELP, locate_run

if TYPE_CHECKING:
    from lorecraft.data.records import Message

HELP = "/base  talk with the base model, or back   /reset  start anew   /quit  leave"


def chat(
    run: Annotated[str, typer.Argument(help=RUN_HELP)],
    model: Annotated[
        str | None, typer.Option(help="base, cpt or sft; the last stage if not given.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0, help="0 says what is most probable; 1 draws as it is probable.")
    ] = 0.0,
    top_p: Annotated[
        float, typer.Option(min=0, max=1, help="Draw among the tokens that make up this share.")
    ] = 1.0,
    min_p: Annotated[
        float,
        typer.Option(min=0, max=1, help="Draw no token less probable than this share of the best."),
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Other seeds draw other answers.")] = 0,
    stop: Annotated[
        list[str] | None, typer.Option(help="End an answer before this text; may be repeated.")
    ] = None,
) -> None:
    """Chat with the tuned model, or with the base model beside it."""
    from functools import partial

    from lorecraft.errors import RunError
    from lorecraft.runs.ask import open_run

    asker = open_run(locate_run(run))
    if model is not None and model not in asker.models:
        raise RunError(f"no model {model} in this run", f"one of {', '.join(asker.models)}")
    typer.echo(HELP)
    answer = partial(
        asker.ask, temperature=temperature, top_p=top_p, min_p=min_p, seed=seed, stop=stop or ()
    )
    _converse(answer, asker.models[0], model or asker.models[-1])


def _converse(ask: Callable[..., Iterator[str]], base: str, tuned: str) -> None:
    """Read, answer and print until /quit, Ctrl-D or Ctrl-C at the prompt."""
    from lorecraft.data.records import Message

    speaking = tuned
    turns: list[Message] = []
    while (said := _read(f"you to {speaking}> ")) != "/quit":
        if said == "/base":
            speaking = tuned if speaking == base else base
        elif said == "/reset":
            turns = []
        elif said.startswith("/"):
            typer.echo(HELP)
        elif said:
            turns.append(Message("user", said))
            turns.append(Message("assistant", _answer(ask, turns, speaking)))


def _read(prompt: str) -> str:
    try:
        return input(prompt).strip()
    except (EOFError, KeyboardInterrupt):
        typer.echo()
        return "/quit"


def _answer(ask: Callable[..., Iterator[str]], turns: list[Message], model: str) -> str:
    """Print an answer as it comes; Ctrl-C cuts it short and keeps what was said."""
    pieces: list[str] = []
    typer.echo(f"{model}> ", nl=False)
    try:
        for piece in ask(turns, model=model):
            pieces.append(piece)
            typer.echo(piece, nl=False)
    except KeyboardInterrupt:
        pass
    typer.echo()
    return "".join(pieces).strip()
