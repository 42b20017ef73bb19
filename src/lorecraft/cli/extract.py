"""`lorecraft extract`: facts from documents, for a person to accept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def extract(
    documents: Annotated[list[str], typer.Argument(help="Files, folders or globs.")],
    ontology: Annotated[Path, typer.Option(help="The ontology whose relations are looked for.")],
    endpoint: Annotated[str, typer.Option(help="An endpoint such as http://localhost:8000/v1.")],
    model: Annotated[str, typer.Option(help="The model's name there.")],
    key: Annotated[
        str | None, typer.Option(help="The environment variable with its key, as '$API_KEY'.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens that prompts and answers may have in all.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where the facts are written.")] = Path(
        "facts.jsonl"
    ),
) -> None:
    """Find facts in the sentences of documents with a language model.

    Each is held to the ontology and has its sentence as the source. Read them before you teach
    them: take out what is wrong, and add the new names to the ontology.
    """
    from pydantic import ValidationError

    from lorecraft.cli.progress import TerminalProgress
    from lorecraft.errors import RunError
    from lorecraft.recipe import TellerSection
    from lorecraft.runs import telling
    from lorecraft.runs.files import write_lines

    if output.exists():
        raise RunError(f"{output} is there already", "a new file", "--output another.jsonl")
    try:
        section = TellerSection(
            endpoint=endpoint, model=model, key=key, temperature=0.0, max_tokens=max_tokens
        )
    except ValidationError as error:
        options = {
            "endpoint": "a URL such as http://localhost:8000/v1",
            "key": "the name of an environment variable, as '$API_KEY'",
            "model": "a model's name",
        }
        (wrong, *_) = error.errors()[0]["loc"] or ["endpoint" if model else "model"]
        raise RunError(f"--{wrong} is none", options[str(wrong)]) from None
    found = telling.extract(documents, ontology, section, TerminalProgress())
    write_lines(output, found.facts)
    if found.unasked:
        typer.echo(f"{found.unasked} passages are not read: --max-tokens is spent", err=True)
    for why, count in found.failed.items():
        typer.echo(f"not used: {count} {why}", err=True)
    for name, kind in found.unknown.items():
        typer.echo(f"not in the ontology: {name}, a {kind}", err=True)
    typer.echo(f"{len(found.facts)} facts in {output}")
