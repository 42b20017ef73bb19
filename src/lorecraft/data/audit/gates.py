"""Quality gates: what every row's metadata must hold, written down in a file and checked."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from lorecraft.data.audit.check import Check, Kept, records
from lorecraft.data.audit.duplicates import groups
from lorecraft.data.audit.finding import Finding, Spot
from lorecraft.data.audit.rows import Entry, Rows
from lorecraft.errors import DataError
from lorecraft.knowledge.ontology import normal
from lorecraft.recipe.schema import Section
from lorecraft.recipe.source import Mistake, read
from lorecraft.recipe.values import Texts
from lorecraft.recipe.wording import explain


class GatesSection(Section):
    """What every row must hold. A gate that is not named is not there."""

    id: str | None = Field(None, description="The column of ids, none of which may come twice.")
    required: Texts = Field((), description="Columns that must not be empty.")
    values: dict[str, tuple[str, ...]] = Field(
        {}, description="Columns with the values that they may have."
    )
    hash: str | None = Field(
        None,
        description="The column with the SHA-256 of the normalised input: the user's turns (or the "
        "text) in lower case, without punctuation, single spaces.",
    )


def load_gates(path: Path) -> GatesSection:
    """Raises DataError with all mistakes, each with its line."""
    try:
        source = read(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise DataError(f"cannot read {path}: {why}", "gates, a YAML file") from error
    mistakes = source.mistakes
    if not mistakes:
        if not isinstance(source.value, dict):
            mistakes = [Mistake(1, "expected keys such as required:")]
        else:
            values = source.value.get("values")
            if isinstance(values, dict):  # 2024 and true are texts here
                source.value["values"] = {
                    column: [value if isinstance(value, str) else _shown(value) for value in some]
                    if isinstance(some, list)
                    else some
                    for column, some in values.items()
                }
            try:
                return GatesSection.model_validate_json(json.dumps(source.value), strict=True)
            except ValidationError as error:
                mistakes = explain(error.errors(include_url=False), source, GatesSection)
    told = "\n".join(f"{path}:{mistake.line}: {mistake.text}" for mistake in sorted(mistakes))
    raise DataError(told, "id, required, values, hash")


class Gates(Check):
    """Rows that fail a gate. A row that is no record fails as any other."""

    name = "gates"

    def __init__(self, section: GatesSection) -> None:
        self._section = section
        self._failed = Kept()
        self._places, self._ids = array("q"), array("Q")

    def _names(self) -> Iterator[str]:
        section = self._section
        if section.id:
            yield _TWICE.format(section.id)
        yield from (_FILLED.format(column) for column in section.required)
        yield from (_VALID.format(column) for column in section.values)
        if section.hash:
            yield _HASHED.format(section.hash)

    def look(
        self, entries: Sequence[Entry]
    ) -> tuple[list[tuple[str, int, str]], list[tuple[int, int]]]:
        failed = [(gate, e.index, why) for e in entries for gate, why in self._failures(e)]
        return failed, [
            (entry.index, int.from_bytes(blake2b(id_.encode(), digest_size=8).digest(), "little"))
            for entry in entries
            if self._section.id and (id_ := _shown(entry.row.get(self._section.id)))
        ]

    def _failures(self, entry: Entry) -> Iterator[tuple[str, str]]:
        section, row = self._section, entry.row
        if section.id and not _shown(row.get(section.id)):
            yield _TWICE.format(section.id), "no id"
        for column in section.required:
            if not _shown(row.get(column)):
                yield _FILLED.format(column), ""
        for column, allowed in section.values.items():
            if (value := _shown(row.get(column))) not in allowed:
                yield _VALID.format(column), f"'{value[:60]}'" if value else "nothing"
        if section.hash:
            right = hashlib.sha256(normal(entry.question).encode()).hexdigest()
            if entry.record is None or _shown(row.get(section.hash)).lower() != right:
                yield _HASHED.format(section.hash), f"should be {right[:12]}…"

    def take(self, looked: tuple[list[tuple[str, int, str]], list[tuple[int, int]]]) -> None:
        failed, ids = looked
        for gate, index, why in failed:
            self._failed.add(gate, Spot((index,), why))
        for index, id_ in ids:
            self._places.append(index)
            self._ids.append(id_)

    def findings(self, rows: Rows) -> Iterator[Finding]:
        if self._section.id:
            ids, places = (np.array(column) for column in (self._ids, self._places))
            for group in groups(ids, places):
                self._failed.add(_TWICE.format(self._section.id), Spot(tuple(group.tolist())))
        for gate, count in self._failed.counts.items():
            text = f"{gate}: fails for {records(count)}"
            yield Finding(self.name, "error", text, count, self._failed.spots[gate])

    def figures(self, rows: Rows) -> dict[str, Any]:
        """Made after the findings, which see ids that come twice."""
        return {"gates": {gate: self._failed.counts[gate] for gate in self._names()}}


_TWICE = "'{}' is there and comes once"
_FILLED = "'{}' is there"
_VALID = "'{}' has one of its values"
_HASHED = "'{}' is the SHA-256 of the normalised input"


def _shown(value: Any) -> str:
    """A value as a text; empty for none."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value).strip()
    return json.dumps(value) if value else ""
