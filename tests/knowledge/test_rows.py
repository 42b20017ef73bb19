"""Rows are the same whatever the file is; what is broken is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lorecraft.errors import DataError
from lorecraft.knowledge import jsonl, rows
from lorecraft.knowledge.files import files_at
from lorecraft.knowledge.jsonl import LineError
from lorecraft.knowledge.rows import SUFFIXES, open_rows

ROWS = [
    {"name": "Lumen Pier", "note": 'first, "second"\nthird — ü'},
    {"name": "Tern Rock", "note": None},
    {"name": "[x] }", "note": "\\"},
]


def as_lines(path: Path) -> None:
    path.write_text("\n".join(json.dumps(row) for row in ROWS))


def as_array(path: Path) -> None:
    path.write_text("\ufeff " + json.dumps(ROWS, indent=2, ensure_ascii=False), "utf-8")


def as_csv(path: Path) -> None:
    lines = ["name,note", '"Lumen Pier","first, ""second""\nthird — ü"', "Tern Rock,", "[x] },\\"]
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))


def as_parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=2)


def rows_of(path: Path, wanted: Any = None) -> Any:
    return open_rows(path, lambda row, number: (number, row), "a row", wanted)


@pytest.mark.parametrize(
    ("name", "write", "numbers"),
    [
        ("rows.jsonl", as_lines, [1, 2, 3]),
        ("rows.json", as_lines, [1, 2, 3]),
        ("rows.json", as_array, [1, 2, 3]),
        ("rows.csv", as_csv, [2, 4, 5]),
        ("rows.parquet", as_parquet, [1, 2, 3]),
    ],
)
def test_rows_are_read_when_asked_for(
    tmp_path: Path, name: str, write: Callable[[Path], None], numbers: list[int]
) -> None:
    write(tmp_path / name)
    rows = rows_of(tmp_path / name)
    assert [rows[index] for index in (2, 0, 1)] == [
        (numbers[index], ROWS[index]) for index in (2, 0, 1)
    ]


def test_a_long_array_is_read_piece_by_piece(tmp_path: Path) -> None:
    items = [{"text": "ü" * 3000, "number": number} for number in range(1000)]
    (tmp_path / "rows.json").write_text(json.dumps(items))
    rows = rows_of(tmp_path / "rows.json")
    assert (len(rows), rows[999]) == (1000, (1000, items[999]))


def test_only_the_wanted_columns_of_a_parquet_file_are_read(tmp_path: Path) -> None:
    as_parquet(tmp_path / "rows.parquet")
    assert rows_of(tmp_path / "rows.parquet", {"name", "other"})[1] == (2, {"name": "Tern Rock"})
    assert rows_of(tmp_path / "rows.parquet", {"other"})[1] == (2, ROWS[1])


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_table_s_columns_may_be_parted_otherwise(tmp_path: Path, mark: str) -> None:
    (tmp_path / "rows.csv").write_text(f"a{mark}b\n1,5{mark}2\n")
    assert rows_of(tmp_path / "rows.csv")[0] == (2, {"a": "1,5", "b": "2"})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.json", b'[{"a": 1}, {"a": 2', "item 2: broken JSON"),
        ("rows.json", b'[{"a": 1} {"a": 2}]', "item 1: broken JSON .no comma"),
        ("rows.json", b'[{"a": 1},]', "item 2: broken JSON"),
        ("rows.json", b"[]", "the file is empty"),
        ("rows.json", b'[{"a": 1}, 7]', "item 2: a JSON int, not an object"),
        ("rows.json", b'[{"a": "caf\xe9"}]', "not UTF-8"),
        ("rows.csv", b"", "the file is empty"),
        ("rows.csv", b"a,b\n", "the file is empty"),
        ("rows.csv", b"a,b\n1,2\n1,2,3\n", "line 3: more values than there are columns"),
        ("rows.csv", b'a,b\n1,"2\n3,4\n', "broken CSV .unexpected end of data"),
        ("rows.csv", b"a,b\n1,caf\xe9\n", "not UTF-8"),
        ("rows.parquet", b"PAR1 and then nothing", "broken Parquet"),
        ("rows.parquet", b"text", "broken Parquet"),
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}.*{said}"):
        rows_of(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.jsonl", b'{"a": 1}\n' + b" " * 200, "line 2: longer than"),
        ("rows.json", b'[{"a": "' + b" " * (1 << 21), "item 1: broken JSON"),
        ("rows.csv", b'a,b\n1,2\n3,"' + b" " * 200, "line 3: broken CSV .field larger"),
    ],
)
def test_what_has_no_end_is_not_read_to_it(
    tmp_path: Path, name: str, content: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (rows, jsonl):
        monkeypatch.setattr(module, "LONGEST", 100)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}.*{said}"):
        rows_of(tmp_path / name)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.jsonl")
    with pytest.raises(DataError, match="no file there"):
        files_at(str(tmp_path / "rows.jsonl"), SUFFIXES)


def test_all_bad_rows_are_told_at_once(tmp_path: Path) -> None:
    as_parquet(tmp_path / "rows.parquet")

    def parse(row: dict[str, Any], number: int) -> None:
        if number != 2:
            raise LineError(f"no {number}")

    with pytest.raises(DataError, match=r"row 1: no 1\n.*row 3: no 3"):
        open_rows(tmp_path / "rows.parquet", parse, "a row")
