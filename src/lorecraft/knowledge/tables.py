"""Tables as facts: a row is an entity, a column a relation, as the ontology maps them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lorecraft.errors import DataError
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.files import files_at
from lorecraft.knowledge.mistakes import refuse
from lorecraft.knowledge.ontology import Entity, Ontology, Relation, Table, normal, render
from lorecraft.knowledge.rows import SUFFIXES, Row, open_rows
from lorecraft.knowledge.strictness import Bad, strict

_SQLITE = b"SQLite format 3\0"
Read = Callable[[str, str], list[Row]]
"""The rows of a table by its name, in the order of a column; KeyError with the names there are."""


def read_tables(
    source: str, ontology: Ontology, bad: Bad = strict
) -> tuple[tuple[Fact, ...], Ontology]:
    """The facts of a database or of files, and the ontology with an entity for each row.

    Each class that has a table is read. A value is told in the first statement of its relation;
    where the relation's range is a class with a table, it is that table's key, or a name. Values
    that are NULL tell nothing. A fact's source is ``table:key``.

    Args:
        source: an SQLite file, a file, folder or glob of CSV, Parquet or JSON, each a table named
            after its file; or an URL that SQLAlchemy opens, in which ``$NAME`` is taken from the
            environment.

    Raises:
        DataError: the tables cannot be opened, or tell nothing; what ``bad`` raises, which is told
            of every missing table or column, name used twice and key that is nowhere at once.
    """
    with _opened(source) as read:
        return _Reading(read, ontology).result(bad)


@dataclass(frozen=True)
class _Row:
    table: str
    key: str
    name: str
    values: Row

    @property
    def place(self) -> str:
        return f"{self.table}:{self.key}"


class _Reading:
    """What the tables hold, and all that is wrong with it."""

    def __init__(self, read: Read, ontology: Ontology) -> None:
        self.ontology = ontology
        self.mistakes: list[str] = []
        if not ontology.tables:
            raise DataError(
                "no class of the ontology has a table",
                "classes: {Product: {table: products, key: id, name: title}}",
            )
        self.rows = {kind: self._rows(read, table) for kind, table in ontology.tables.items()}

    def result(self, bad: Bad) -> tuple[tuple[Fact, ...], Ontology]:
        entities = self._entities()
        facts = tuple(
            fact
            for relation in self.ontology.relations.values()
            for fact in self._facts(relation, entities)
        )
        expected = "tables with the columns that the ontology names"
        try:
            refuse(self.mistakes, expected)
        except DataError as error:
            bad(error, "row", len(self.mistakes))
        if not facts:
            nothing = "the tables tell nothing: no column has a relation's name"
            raise DataError(nothing, expected)
        return facts, replace(self.ontology, entities=entities)

    def _rows(self, read: Read, table: Table) -> dict[str, _Row]:
        """By key."""
        try:
            values = read(table.name, table.key)
        except KeyError as error:
            self.mistakes.append(f"no table '{table.name}'" + _near(table.name, error.args[0]))
            return {}
        for column in {table.key, table.label}:
            if values and column not in values[0]:
                near = _near(column, values[0])
                self.mistakes.append(f"{table.name}: no column '{column}'{near}")
                return {}
        found: dict[str, _Row] = {}
        for number, row in enumerate(values, start=1):
            key, name = _text(row[table.key]), _text(row[table.label])
            if not key or not name:
                empty = table.label if key else table.key
                self.mistakes.append(f"{table.name} row {number}: no text in '{empty}'")
            elif key in found:
                self.mistakes.append(f"{table.name} row {number}: key {key} stands twice")
            else:
                found[key] = _Row(table.name, key, name, row)
        return found

    def _entities(self) -> dict[str, Entity]:
        """Those of the ontology, and one for each row."""
        entities = dict(self.ontology.entities)
        owners = {
            normal(name): entity.name
            for entity in entities.values()
            for name in (entity.name, *entity.aliases)
        }
        rows: dict[str, _Row] = {}
        for kind, found in self.rows.items():
            for row in list(found.values()):
                known = entities.get(row.name)
                owner = owners.setdefault(normal(row.name), row.name)
                twin = rows.setdefault(normal(row.name), row)
                if twin is row and owner == row.name and (not known or known.kind == kind):
                    entities[row.name] = known or Entity(row.name, kind)
                    continue
                other = owner if twin is row else twin.place
                self.mistakes.append(f"{row.place}: '{row.name}' also names {other}")
                del found[row.key]
        return entities

    def _facts(self, relation: Relation, entities: Mapping[str, Entity]) -> Iterator[Fact]:
        column = relation.column or relation.name
        linked = relation.range in self.ontology.classes
        targets = self._of(relation.range)
        for row in (row for rows in self._of(relation.domain) for row in rows.values()):
            if column not in row.values:
                if relation.column:
                    near = _near(column, row.values)
                    self.mistakes.append(f"{row.table}: no column '{column}'{near}")
                return
            value = row.values[column]
            if value is None or value == "":
                continue
            told = _text(value)
            found = [rows[told] for rows in targets if told in rows]
            if len(found) > 1:
                both = " and ".join(row.place for row in found)
                self.mistakes.append(f"{row.place}: {column} is {value!r}, which is {both}")
                continue
            told = found[0].name if found else told
            if not told or (linked and told not in entities):
                wanted = f"neither a key nor a name of a {relation.range}" if linked else "no text"
                self.mistakes.append(f"{row.place}: {column} is {value!r}, {wanted}")
                continue
            yield Fact(
                id=f"{row.place}:{relation.name}",
                text=render(relation.statements[0], row.name, told),
                source=row.place,
                triple=(row.name, relation.name, told),
                place=row.place,
            )

    def _of(self, kind: str) -> list[dict[str, _Row]]:
        """The rows of a class and of those below it."""
        return [rows for name, rows in self.rows.items() if self.ontology.is_a(name, kind)]


def _text(value: Any) -> str:
    """A cell as it is told; nothing for what is not text, a number or a date."""
    if value is None or isinstance(value, bytes | list | dict):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split())


def _near(name: str, names: Sequence[str] | Mapping[str, Any]) -> str:
    near = get_close_matches(name, list(names), 1, cutoff=0.5)
    listed = ", ".join(list(names)[:10]) or "nothing"
    return f"; did you mean '{near[0]}'?" if near else f"; there is {listed}"


@contextmanager
def _opened(source: str) -> Iterator[Read]:
    if "://" in source:
        with _database(os.path.expandvars(source)) as read:
            yield read
        return
    path = Path(source)
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(_SQLITE)) == _SQLITE:
                with _sqlite(path) as read:
                    yield read
                return
    files = {file.path.stem: file.path for file in files_at(source, SUFFIXES)}

    def read_file(table: str, key: str) -> list[Row]:
        if table not in files:
            raise KeyError(list(files))
        return list(open_rows(files[table], lambda row, number: row, "a table with rows"))

    yield read_file


@contextmanager
def _sqlite(path: Path) -> Iterator[Read]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            listed = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
            names = [row[0] for row in database.execute(listed)]

            def read(table: str, key: str) -> list[Row]:
                if table not in names:
                    raise KeyError(names)
                quoted = '"' + table.replace('"', '""') + '"'
                rows = [dict(row) for row in database.execute(f"SELECT * FROM {quoted}")]
                return _in_order(rows, key)

            yield read
    except sqlite3.Error as error:
        raise DataError(f"{path}: cannot be read ({error})", "an SQLite database") from error


@contextmanager
def _database(url: str) -> Iterator[Read]:
    try:
        import sqlalchemy
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise DataError(
            "reading a database by its URL needs SQLAlchemy",
            "the extra, and the database's driver",
            "pip install 'lorecraft[tables]'",
        ) from error
    shown = url.partition("://")[0] + "://..."
    try:
        shown = sqlalchemy.make_url(url).render_as_string(hide_password=True)
        engine = sqlalchemy.create_engine(url)
        with closing(engine.connect()) as connection:
            inspector = sqlalchemy.inspect(connection)
            names = [*inspector.get_table_names(), *inspector.get_view_names()]

            def read(table: str, key: str) -> list[Row]:
                if table not in names:
                    raise KeyError(names)
                every = sqlalchemy.select(sqlalchemy.text("*")).select_from(sqlalchemy.table(table))
                return _in_order([dict(row) for row in connection.execute(every).mappings()], key)

            yield read
    except (SQLAlchemyError, ImportError) as error:  # the latter for a driver that is missing
        first = str(error).splitlines()[0]
        raise DataError(f"{shown}: cannot be read ({first})", "a database that answers") from error


def _in_order(rows: list[Row], key: str) -> list[Row]:
    """A database may give its rows in any order."""
    return sorted(rows, key=lambda row: (len(str(row.get(key))), str(row.get(key))))
