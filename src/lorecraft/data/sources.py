"""Ready-made records, in the forms that people have them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from lorecraft.data import forms, hub_sets
from lorecraft.data.records import Origin, Record
from lorecraft.data.views import Joined
from lorecraft.errors import DataError
from lorecraft.knowledge.files import SourceFile, files_at
from lorecraft.knowledge.jsonl import LineError, Lines
from lorecraft.knowledge.rows import SUFFIXES, open_rows, unit_of
from lorecraft.recipe import DatasetSection, RecordsSection
from lorecraft.recipe.values import HUB


def read_records(
    section: RecordsSection, origin: Origin = "source", tags: Sequence[str] = ()
) -> Sequence[Record]:
    """The records of JSON lines, JSON arrays, CSV and Parquet, which stay there.

    Each row may have its own form (see ``forms.content``), unless the recipe maps the columns. A
    list of names under ``facts`` keeps records with a common name on one side of a split. The
    columns ``tags`` are kept as the records' tags.

    Raises:
        DataError: all bad rows at once, with what was wrong; or an empty or missing file.
    """
    wanted = section.columns()
    found: list[Lines[Record]] = []
    wrong: list[DataError] = []
    for file in files_of(section):
        try:
            unit = unit_of(file.path)
            parse = partial(_record, section if wanted else None, origin, tags, file.name, unit)
            columns = (wanted | {"facts"} if wanted else forms.COLUMNS) | set(tags)
            found.append(open_rows(file.path, parse, forms.EXPECTED, columns))
        except DataError as error:
            wrong.append(error)
    if wrong:
        seen = "\n".join(error.seen for error in wrong)
        expected = "the columns that the templates name" if wanted else wrong[0].expected
        raise DataError(seen, expected, forms.FIX if forms.UNKNOWN in seen else "")
    return Joined(*found)


def files_of(section: DatasetSection) -> list[SourceFile]:
    """The files that a section names; those of the hub are fetched. Raises DataError."""
    if section.path.startswith(HUB):
        name = section.path.removeprefix(HUB)
        return hub_sets.fetch(name, section.config, section.split, section.revision)
    return files_at(section.path, SUFFIXES)


def _record(
    section: RecordsSection | None,
    origin: Origin,
    tags: Sequence[str],
    name: str,
    unit: str,
    row: dict[str, Any],
    number: int,
) -> Record:
    messages, text = forms.mapped(row, section) if section else forms.content(row)
    return Record(
        id=f"{name}:{number}",
        messages=messages,
        text=text,
        origin=origin,
        facts=_facts(row.get("facts") or []),
        place=f"{name} {unit} {number}",
        tags={tag: _tag(row, tag) for tag in tags},
    )


def _tag(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str | int | float | bool):
        raise LineError(f"column '{name}' is {value!r}, not a word")
    return str(value)


def _facts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise LineError(f"'facts' is {value!r}, not a list of names")
    return tuple(value)
