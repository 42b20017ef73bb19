"""Ready-made records, in the forms that people have them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from lorecraft import hub
from lorecraft.data import forms, hub_sets
from lorecraft.data.records import Origin, Record
from lorecraft.data.views import Joined
from lorecraft.errors import DataError
from lorecraft.knowledge.files import Readable, files_at
from lorecraft.knowledge.jsonl import LineError, Lines
from lorecraft.knowledge.rows import SUFFIXES, open_rows, unit_of
from lorecraft.knowledge.strictness import Bad, strict
from lorecraft.recipe import DatasetSection, RecordsSection
from lorecraft.recipe.values import HUB


def read_records(
    section: RecordsSection,
    origin: Origin = "source",
    tags: Sequence[str] = (),
    bad: Bad = strict,
) -> Sequence[Record]:
    """The records of JSON lines, JSON arrays, CSV and Parquet, which stay there.

    Each row may have its own form (see ``forms.content``), unless the recipe maps the columns. A
    list of names under ``facts`` keeps records with a common name on one side of a split. The
    columns ``tags`` are kept as the records' tags.

    Raises:
        DataError: a missing file; what ``bad`` raises, which is told of all bad rows, and of files
            that cannot be read.
    """
    with reaching(section):
        return _read(section, origin, tags, bad)


def reaching(section: DatasetSection) -> AbstractContextManager[None]:
    """Within: what a section names is read; see ``hub.reaching``."""
    return hub.reaching(section.path.removeprefix(HUB)) if section.streaming else nullcontext()


def _read(
    section: RecordsSection, origin: Origin, tags: Sequence[str], bad: Bad
) -> Sequence[Record]:
    wanted = section.columns()
    found: list[Lines[Record]] = []
    wrong: list[DataError] = []
    left = section.rows
    for name, file in files_of(section):
        if left == 0:
            break
        try:
            unit = unit_of(file)
            parse = partial(_record, section if wanted else None, origin, tags, name, unit)
            columns = (wanted | {"facts"} if wanted else forms.COLUMNS) | set(tags)
            found.append(open_rows(file, parse, forms.EXPECTED, columns, bad, left))
            left = None if left is None else max(0, left - len(found[-1]))
        except DataError as error:
            wrong.append(error)
    if wrong:
        seen = "\n".join(error.seen for error in wrong)
        expected = "the columns that the templates name" if wanted else wrong[0].expected
        fix = forms.FIX if forms.UNKNOWN in seen else ""
        bad(DataError(seen, expected, fix), "file", len(wrong))
    return Joined(*found)


def files_of(section: DatasetSection) -> list[tuple[str, Readable]]:
    """Each file that a section names, with its name; those of the hub are fetched, or read as they
    come. Raises DataError."""
    if not section.path.startswith(HUB):
        return [(file.name, file.path) for file in files_at(section.path, SUFFIXES)]
    which = section.path.removeprefix(HUB), section.config, section.split, section.revision
    if section.streaming:
        return [(file.name, file) for file in hub_sets.stream(*which)]
    return [(file.name, file.path) for file in hub_sets.fetch(*which)]


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
