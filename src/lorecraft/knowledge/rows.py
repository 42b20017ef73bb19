"""Rows of a file in any of four forms: JSON lines, a JSON array, CSV, Parquet."""

from __future__ import annotations

import csv
import json
import re
import tempfile
from array import array
from collections.abc import Callable, Collection, Iterator
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

from lorecraft.errors import DataError
from lorecraft.knowledge.files import Readable
from lorecraft.knowledge.jsonl import LONGEST, LineError, Lines, checked
from lorecraft.knowledge.strictness import Bad, strict

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
    path: Readable,
    parse: Callable[[Row, int], T],
    expected: str,
    wanted: Collection[str] | None = None,
    bad: Bad = strict,
    first: int | None = None,
) -> Lines[T]:
    """The rows of a file that may be larger than memory: checked now, parsed again when asked for.

    What is not JSON lines is copied to a temporary file of JSON lines, which is gone with the
    process. A cell of a CSV file that is empty is none.

    Args:
        parse: takes a row and its number, from 1 (in CSV the line's); raises ``LineError``.
        expected: what a right row looks like, for the error.
        wanted: the columns that are read of a Parquet file, where it has any of them.
        bad: is told of bad rows (the first 20 are named).
        first: no more than the first so many rows are read.

    Raises:
        DataError: the file cannot be read or holds no row; what ``bad`` raises.
    """
    try:
        rows = _open(path, parse, wanted, first)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})", expected) from error
    good = array("q", (index for index, _ in checked(rows, expected, bad)))
    if len(good) < len(rows):
        rows.keep(good)
    return rows


def rows_that_can_be_read(path: Readable, parse: Callable[[Row, int], T]) -> tuple[Lines[T], str]:
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
        return _open(path, parse, None, None, until_broken), "".join(broken)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def unit_of(path: Readable) -> Literal["line", "item", "row"]:
    """What a file's records are: lines, items of a JSON array, rows of a Parquet file.

    Raises DataError when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if path.suffix.lower() == ".parquet" or start.startswith(b"PAR1"):
        return "row"
    return "item" if start.startswith(b"[") and path.suffix.lower() not in _TABLES else "line"


def _open(
    path: Readable,
    parse: Callable[[Row, int], T],
    wanted: Collection[str] | None,
    first: int | None,
    through: Callable[[Iterator[tuple[int, Any]]], Iterator[tuple[int, Any]]] = iter,
) -> Lines[T]:
    unit = unit_of(path)
    rows: Iterator[tuple[int, Any]]
    if unit == "row":
        rows = _parquet(path, wanted)
    elif unit == "item":
        rows = _array(path)
    elif path.suffix.lower() in _TABLES:
        rows = _csv(path)
    elif isinstance(path, Path) and first is None:
        return Lines(path, parse)
    else:
        rows = _lines(path)
    return _copied(path, parse, through(islice(rows, first)), unit)


def _copied(
    path: Readable, parse: Callable[[Row, int], T], rows: Iterator[tuple[int, Any]], unit: str
) -> Lines[T]:
    """Rows from a copy as JSON lines; a row's number is where its line stands, the rest blank."""
    copy = tempfile.TemporaryFile(prefix="lorecraft-")  # noqa: SIM115  it lives with the rows
    at = 1
    for number, row in rows:
        copy.write(b"\n" * (number - at))
        line = row if isinstance(row, bytes) else json.dumps(row, default=str).encode()
        copy.write(line + b"\n")
        at = number + 1
    copy.seek(0)

    def whole(row: Row, number: int) -> T:
        if MORE in row:
            raise LineError("more values than there are columns")
        return parse(row, number)

    return Lines(path, whole, copy, unit)


def _lines(path: Readable) -> Iterator[tuple[int, bytes]]:
    """Lines as they are; they are parsed with all others."""
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST), b""), start=1):
            if line.strip():
                yield number, line.rstrip(b"\r\n")


def _csv(path: Readable) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(LONGEST)
    last = 0
    try:
        with TextIOWrapper(path.open("rb"), encoding="utf-8-sig", newline="") as file:
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
        raise DataError(
            f"{path} line {last + 1}: broken CSV ({error})",
            "values in quotes that are closed, or none",
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start + 1})", "a file in UTF-8") from error


def _array(path: Readable) -> Iterator[tuple[int, Any]]:
    """The items of a JSON array, of which little more than one is in memory."""
    decode = json.JSONDecoder().raw_decode
    number, size = 1, _CHUNK
    try:
        with TextIOWrapper(path.open("rb"), encoding="utf-8-sig") as file:
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
                if not more or len(text) > LONGEST:
                    raise DataError(f"{path} item {number}: broken JSON ({problem})", "an array")
                text, at, size = text[at:] + more, 0, 2 * size
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (item {number} or later)", "a file in UTF-8") from error


def _after_spaces(text: str, at: int) -> int:
    found = _SPACES.match(text, at)
    return found.end() if found else at


def _parquet(path: Readable, wanted: Collection[str] | None) -> Iterator[tuple[int, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path if isinstance(path, Path) else path.open("rb"))
        names = [name for name in file.schema_arrow.names if wanted is None or name in wanted]
        number = 0
        for batch in file.iter_batches(_BATCH, columns=names or None):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: broken Parquet ({str(error).splitlines()[0]})") from error
