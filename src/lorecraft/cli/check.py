"""`lorecraft check`: texts against a format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

BROKEN = 1


def check(
    format: Annotated[Path, typer.Argument(help="A format, such as format.yaml.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Texts, or JSON lines (.jsonl) whose assistant turns are the texts."),
    ] = None,
) -> None:
    """Check texts against a format; without texts, say in plain words what it asks for.

    Ends with exit code 1 when a text breaks a rule.
    """
    from lorecraft.style.check import check as broken_rules
    from lorecraft.style.describe import describe
    from lorecraft.style.load import load_format

    wanted = load_format(format)
    if not files:
        typer.echo(describe(wanted))
        return
    texts, failed, rules = 0, 0, Counter[str]()
    for place, text in (named for path in files for named in _texts(path)):
        broken = broken_rules(wanted, text)
        texts, failed = texts + 1, failed + bool(broken)
        rules.update({found.rule for found in broken})
        for found in broken:
            typer.echo(f"{place}: {found}")
    by_rule = ", ".join(f"{rule} {count}" for rule, count in rules.most_common())
    typer.echo(
        f"{texts - failed} of {texts} texts keep to the format" + f" ({by_rule})" * bool(rules)
    )
    if failed:
        raise typer.Exit(BROKEN)


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """``(where it stands, text)`` of a file's texts."""
    from lorecraft.data.sources import read_records
    from lorecraft.errors import DataError
    from lorecraft.recipe import RecordsSection

    if path.suffix == ".jsonl":
        for record in read_records(RecordsSection(path=str(path))):
            answers = [m.content for m in record.messages if m.role == "assistant"]
            for text in answers or [record.text]:
                yield record.id, text
        return
    try:
        yield str(path), path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise DataError(f"cannot read {path}: {why}", "a text, or records in .jsonl") from error
