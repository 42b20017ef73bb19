"""`lorecraft show`: records as they stand, and what of them is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lorecraft.cli.targets import DATA_HELP, MAP_HELP, locate_data, mapping

if TYPE_CHECKING:
    from rich.text import Text

    from lorecraft.data.audit.rows import Entry
    from lorecraft.models.tokenizer import HFTokenizer

TRAINED = "bold green"


def show(
    data: Annotated[list[str], typer.Argument(help=DATA_HELP)],
    tokens: Annotated[
        bool, typer.Option("--tokens", help="As the model sees them, what is trained in colour.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="In this model's tokens; the recipe's, else pocket's.")
    ] = None,
    columns: Annotated[list[str] | None, typer.Option("--map", help=MAP_HELP)] = None,
    start: Annotated[int, typer.Option("--from", min=1, help="The first record to show.")] = 1,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many.")] = 3,
) -> None:
    """Print records. With --tokens: under the chat template, the trained tokens in colour (where
    there is no colour, between ⟦ and ⟧)."""
    from rich.console import Console
    from rich.text import Text

    from lorecraft.data.audit.rows import Rows
    from lorecraft.runs import auditing

    console = Console(highlight=False)
    with auditing.opened(locate_data(data), mapping(columns)) as audited:
        rows = Rows(audited.splits)
        if tokens and (model or not audited.tokenizer):
            model = model or "pocket"
            audited = auditing.measured(audited, model, None)
            console.print(Text(f"In the tokens of {model}.\n", "dim"))
        tokenizer = audited.tokenizer() if tokens and audited.tokenizer else None
        for index in range(start - 1, min(start - 1 + count, len(rows))):
            entry = rows.entry(index)
            title, body = (
                _masked(entry, tokenizer, audited.limit, console.color_system is not None)
                if tokenizer
                else _turns(entry)
            )
            console.print(Text(rows.place(index) + title, "dim"))
            console.print(body, soft_wrap=True)
            console.print()
        if start > len(rows):
            console.print(f"there are {len(rows):,} records")


def _turns(entry: Entry) -> tuple[str, Text]:
    """What a record says, turn by turn."""
    from rich.text import Text

    if entry.record is None:
        return "", Text(entry.problem, "red")
    body = Text(entry.record.text)
    for message in entry.record.messages:
        body.append(f"{message.role}: ", "bold")
        body.append(f"{message.content}\n")
    if entry.rejected:
        body.append("rejected: ", "bold")
        body.append(f"{entry.rejected}\n")
    return "", body


def _masked(
    entry: Entry, tokenizer: HFTokenizer, limit: int | None, colours: bool
) -> tuple[str, Text]:
    """What is said of a record's tokens; the tokens as text, those that are trained marked, those
    beyond the limit struck out."""
    from itertools import groupby

    from rich.text import Text

    from lorecraft.data.encode import encode_record
    from lorecraft.errors import DataError

    if entry.record is None:
        return _turns(entry)
    try:
        [encoded] = encode_record(entry.record, tokenizer, 1 << 30)
    except DataError as error:
        return "", Text(error.seen.removeprefix(": "), "red")
    body = Text()
    length = kept = 0
    for nth, (tokens, weight) in enumerate(encoded.example.conversations()):
        most = len(tokens) if limit is None or entry.record.text else limit  # texts go on further
        marked = [(share > 0, at >= most) for at, share in enumerate(weight)]
        length = max(length, len(marked))
        kept += sum(trained and not cut for trained, cut in marked)
        at = 0
        if nth:  # the prompt stands there once
            at = encoded.example.answers[0]
            body.append("\nrejected: ", "bold")
        for (trained, cut), run in groupby(marked[at:]):
            end = at + len(list(run))
            said = tokenizer.written(tokens[at:end].tolist())
            at = end
            body.append(
                f"⟦{said}⟧" if trained and not cut and not colours else said,
                "dim strike" if cut else TRAINED if trained else "",
            )
    title = f": {length:,} tokens, {kept:,} trained"
    long = limit is not None and length > limit and not entry.record.text
    return title + (f", cut after {limit:,}" if long else ""), body
