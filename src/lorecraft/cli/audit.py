"""`lorecraft audit`: what is wrong with a data set, whoever made it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorecraft.cli.targets import DATA_HELP, MAP_HELP, locate_data, mapping

if TYPE_CHECKING:
    from rich.table import Table

    from lorecraft.data.audit.audit import Audit
    from lorecraft.data.audit.finding import Spot

FOUND = 1
SHOWN = 3
SAID = 60


def audit(
    data: Annotated[list[str], typer.Argument(help=DATA_HELP)],
    columns: Annotated[list[str] | None, typer.Option("--map", help=MAP_HELP)] = None,
    model: Annotated[
        str | None, typer.Option(help="Tell lengths and what is trained in this model's tokens.")
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(min=1, help="The longest record: in tokens with a model, else in words."),
    ] = None,
    facts: Annotated[
        Path | None, typer.Option(help="Facts (with --ontology) that the data must not contradict.")
    ] = None,
    ontology: Annotated[Path | None, typer.Option(help="The ontology of the facts.")] = None,
    gates: Annotated[
        Path | None, typer.Option(help="What every row's metadata must hold (gates.yaml).")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page to read and sign.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all findings with all places.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with exit code 1 when something is found.")
    ] = False,
) -> None:
    """Look for what is wrong with data: duplicates, leaks between splits, contradictions, secrets,
    broken rows, templates, lengths, and more.

    Several files are several splits (train.jsonl valid.jsonl test.jsonl).
    """
    from rich.console import Console

    from lorecraft.cli.progress import TerminalProgress
    from lorecraft.data.audit.gates import load_gates
    from lorecraft.errors import DataError
    from lorecraft.runs import auditing
    from lorecraft.runs.files import write_json, write_text

    if bool(facts) != bool(ontology):
        raise DataError("facts and their ontology go together", "--facts FILE --ontology FILE")
    targets = locate_data(data)
    with auditing.opened(targets, mapping(columns)) as audited:
        if model or max_length:
            audited = auditing.measured(audited, model, max_length)
        if facts and ontology:
            audited = auditing.with_facts(audited, facts, ontology)
        gated = load_gates(gates) if gates else None
        found = auditing.run(audited, gated, progress=TerminalProgress())
        typer.echo(_summary(found))
        if found.findings:
            Console().print(_table(found))
        if json:
            write_json(json, found.to_json())
        if html:
            from lorecraft.reports import audit as page

            created = datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z")
            write_text(html, page.render(found, ", ".join(targets), created))
            typer.echo(html)
    if strict and not found.clean:
        raise typer.Exit(FOUND)


def _table(found: Audit) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "check", "found", "where")
    colours = {"error": "red", "warning": "yellow", "note": "dim"}
    for finding in found.findings:
        spots = [_where(found, spot) for spot in finding.spots[:SHOWN]]
        more = finding.count - len(spots)
        where = "\n".join([*spots, *([f"and {more:,} more"] if spots and more > 0 else [])])
        style = colours[finding.severity]
        table.add_row(
            f"[{style}]{finding.severity}[/]", finding.check, escape(finding.text), escape(where)
        )
    return table


def _where(found: Audit, spot: Spot) -> str:
    """The places of a spot; of several rows with what they say, so that they can be judged."""
    places = [found.rows.place(index) for index in spot.rows[:SHOWN]]
    if len(places) > 1:
        said = (found.excerpt(index, SAID) for index in spot.rows)
        places = [f"{place}: {words}" for place, words in zip(places, said, strict=False)]
    return "\n  ".join(places) + f" ({spot.why})" * bool(spot.why)


def _summary(found: Audit) -> str:
    splits = [
        f"{split.name} {end - start:,}"
        for split, (start, end) in zip(found.rows.splits, found.rows.bounds, strict=True)
    ]
    count = len(found.findings)
    told = f"{count} finding{'s' * (count != 1)}" if count else "nothing found"
    rows = len(found.rows)
    return f"{rows:,} row{'s' * (rows != 1)} ({', '.join(splits)}): {told}"
