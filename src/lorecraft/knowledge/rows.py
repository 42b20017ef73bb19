"""Rows of a file in any of four forms: JSON lines, a JSON array, CSV, Parquet."""

from __future__ import annotations

import csv
import json
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from lorecraft.errors import DataError
from lorecraft.knowledge.jsonl import LineError, Lines, checked

T = TypeVar("T")
Row = dict[str, Any]

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv")
_TABLES = (".csv", ".tsv")
_CHUNK = 1 << 20
_BATCH = 1000
MORE = "\0more"
"""The key of what a CSV row has beyond its columns."""
_SPACES = re.compile(r"\s*")


def open_rows(
    path: Path,
    parse: Callable[[Row, int], T],
    expected: str,
    wanted: Collection[str] | None = None,
) -> Lines[T]:
    """The rows of a file that may be larger than memory: checked now, parsed again when asked for.

    What is not JSON lines is copied to a temporary file of JSON lines, which is gone with the
    process. A cell of a CSV file that is empty is none.

    Args:
        parse: takes a row and its number, from 1 (in CSV the line's); raises ``LineError``.
        expected: what a right row looks like, for the error.
        wanted: the columns that are read of a Parquet file, where it has any of them.

    Raises:
        DataError: the file cannot be read, holds no row, or bad rows (the first 20 are named).
    """
    try:
        rows = _open(path, parse, wanted)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})", expected) from error
    for _ in checked(rows, expected):
        pass
    return rows


def rows_that_can_be_read(path: Path, parse: Callable[[Row, int], T]) -> tuple[Lines[T], str]:
    """All rows of a file, unchecked, with all their columns; and why there are no more, if the file
    is broken further on.

    Raises DataError when the file cannot be read at all.
    """
    broken: list[str] = []

    def until_broken(rows: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        try:
            yield from rows
        except DataError as error:
            broken.append(error.seen.removeprefix(str(path)).strip(" :"))

    try:
        return _open(path, parse, None, until_broken), "".join(broken)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def unit_of(path: Path) -> Literal["line", "item", "row"]:
    """What a file's records are: lines, items of a JSON array, rows of a Parquet file.

    Raises DataError when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if path.suffix.lower() == ".parquet" or start.startswith(b"PAR1"):
        return "row"
    return "item" if start.startswith(b"[") and path.suffix.lower() not in _TABLES else "line"


def _open(
    path: Path,
    parse: Callable[[Row, int], T],
    wanted: Collection[str] | None,
    through: Callable[[Iterator[tuple[int, Any]]], Iterator[tuple[int, Any]]] = iter,
) -> Lines[T]:
    unit = unit_of(path)
    if unit == "row":
        return _copied(path, parse, through(_parquet(path, wanted)), unit)
    if unit == "item":
        return _copied(path, parse, through(_array(path)), unit)
    if path.suffix.lower() in _TABLES:
        return _copied(path, parse, through(_csv(path)), unit)
    return Lines(path, parse)


def _copied(
    path: Path, parse: Callable[[Row, int], T], rows: Iterator[tuple[int, Any]], unit: str
) -> Lines[T]:
    """Rows from a copy as JSON lines; a row's number is where its line stands, the rest blank."""
    copy = tempfile.TemporaryFile(prefix="lorecraft-")  # noqa: SIM115  it lives with the rows
    at = 1
    for number, row in rows:
        copy.write(b"\n" * (number - at))
        copy.write(json.dumps(row, default=str).encode() + b"\n")
        at = number + 1
    copy.seek(0)

    def whole(row: Row, number: int) -> T:
        if MORE in row:
            raise LineError("more values than there are columns")
        return parse(row, number)

    return Lines(path, whole, copy, unit)


def _csv(path: Path) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(sys.maxsize)
    reader = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            reader = csv.DictReader(
                file, delimiter=max(",;\t", key=head.count), restkey=MORE, strict=True
            )
            last = 1
            for row in reader:
                yield last + 1, {name: value or None for name, value in row.items()}
                last = reader.line_num
    except csv.Error as error:
        line = f" line {reader.line_num}" if reader else ""
        raise DataError(
            f"{path}{line}: broken CSV ({error})", "values in quotes that are closed, or none"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start + 1})", "a file in UTF-8") from error


def _array(path: Path) -> Iterator[tuple[int, Any]]:
    """The items of a JSON array, of which little more than one is in memory."""
    decode = json.JSONDecoder().raw_decode
    number, size = 1, _CHUNK
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(size)
            at = text.index("[") + 1
            while True:
                at = _after_spaces(text, at)
                if number == 1 and text.startswith("]", at):
                    return
                try:
                    item, end = decode(text, at)
                    end, problem = _after_spaces(text, end), "no comma after it"
                except json.JSONDecodeError as error:
                    end, problem = len(text), error.msg
                following = text[end : end + 1]
                if following in (",", "]") and following:
                    yield number, item
                    if following == "]":
                        return
                    at, number, size = end + 1, number + 1, _CHUNK
                    continue
                more = file.read(size)
                if not more:
                    raise DataError(f"{path} item {number}: broken JSON ({problem})", "an array")
                text, at, size = text[at:] + more, 0, 2 * size
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (item {number} or later)", "a file in UTF-8") from error


def _after_spaces(text: str, at: int) -> int:
    found = _SPACES.match(text, at)
    return found.end() if found else at


def _parquet(path: Path, wanted: Collection[str] | None) -> Iterator[tuple[int, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if wanted is None or name in wanted]
        number = 0
        for batch in file.iter_batches(_BATCH, columns=names or None):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: broken Parquet ({str(error).splitlines()[0]})") from error
