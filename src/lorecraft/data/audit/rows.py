"""The rows that are audited: every one of every file, also those that cannot be read."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, islice
from typing import Any

from lorecraft.data import forms
from lorecraft.data.pairs import parse_pair
from lorecraft.data.records import Record
from lorecraft.data.split import question
from lorecraft.errors import DataError
from lorecraft.knowledge.files import SourceFile
from lorecraft.knowledge.jsonl import LineError, Lines, json_object
from lorecraft.knowledge.rows import MORE, Row, rows_that_can_be_read
from lorecraft.recipe import RecordsSection

_PIECE = 1000
_PREFERENCES = frozenset({"chosen", "rejected", "preferred_output", "non_preferred_output"})


@dataclass(frozen=True)
class Split:
    """A part of a data set: its name, its files, and how their columns are mapped, if they are.

    ``stage`` names those that are compared with each other alone; ``""`` is compared with all.
    ``ours``: Lorecraft wrote the files itself.
    """

    name: str
    files: tuple[SourceFile, ...]
    section: RecordsSection | None = None
    stage: str = ""
    ours: bool = False


def digest(text: str) -> int:
    """64 bits of a text, the same for texts that differ in case, white space or the last stop."""
    plain = " ".join(text.lower().split()).rstrip(" .!?")
    return int.from_bytes(hashlib.blake2b(plain.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Entry:
    """A row: what it says, or why it says nothing (``problem``).

    Attributes:
        index: among all rows of the audit.
        split: the number of its split.
        row: its columns as they stand in the file.
        record: what would be trained; of a preference pair, the prompt and the chosen answer.
    """

    index: int
    split: int = 0
    row: Mapping[str, Any] = field(default_factory=dict)
    record: Record | None = None
    problem: str = ""

    @cached_property
    def words(self) -> str:
        """All that it says."""
        said = self.record.words() if self.record else ""
        return f"{said}\n{self.rejected}" if self.rejected else said

    @property
    def rejected(self) -> str:
        """The other answer of a preference pair."""
        return self.record.rejected if self.record else ""

    @cached_property
    def digest(self) -> int:
        """Of all that it says."""
        return digest(self.words)

    @cached_property
    def question(self) -> str:
        """What it is compared by: all of the user's turns, or a plain text."""
        return question(self.record) or self.words if self.record else ""

    @cached_property
    def answer(self) -> str:
        """The last turn of the assistant, if it is the last of all."""
        messages = self.record.messages if self.record else ()
        return messages[-1].content if messages and messages[-1].role == "assistant" else ""

    @cached_property
    def context(self) -> str:
        """All turns before the answer."""
        messages = self.record.messages if self.record else ()
        return "\n".join(f"{message.role}: {message.content}" for message in messages[:-1])


@dataclass(frozen=True)
class Piece:
    """Some rows of one split, as bytes that any process can read."""

    start: int
    lines: Sequence[bytes]
    number: int
    split: Split

    def entries(self) -> list[Entry]:
        """What stands on the lines."""
        return [
            _entry(line, self.start + nth, self.number, self.split)
            for nth, line in enumerate(self.lines)
        ]


def _entry(line: bytes, index: int, number: int, split: Split) -> Entry:
    row: Row = {}
    try:
        row = json_object(line)
        if MORE in row:
            raise LineError("more values than there are columns")
        if split.ours:
            return Entry(index, number, row, _written(row))
        if row.keys() & _PREFERENCES and not split.section:
            pair, other = parse_pair(row, str(index))
            if pair.prompt != other:
                raise LineError("the chosen and the rejected answer have different prompts")
            return Entry(index, number, row, pair.to_record())
        messages, text = forms.mapped(row, split.section) if split.section else _said(row)
    except LineError as error:
        return Entry(index, number, row, problem=str(error))
    return Entry(index, number, row, Record(str(index), messages, text))


def _written(row: Row) -> Record:
    try:
        return Record.from_json(row)
    except (KeyError, TypeError) as error:
        raise LineError(f"not as Lorecraft wrote it ({error!r})") from error


def _said(row: Row) -> forms.Content:
    """Questions alone, as exams have them, are read too."""
    if row.get("prompt") and not row.keys() & forms.COLUMNS - {"prompt", "system"}:
        return forms.turns(row["prompt"], "'prompt'", "user"), ""
    return forms.said(row)


class Rows:
    """All rows of some splits, which stay in their files.

    Attributes:
        broken: ``(file, why)`` of what cannot be read at all, or not to its end.
    """

    def __init__(self, splits: Sequence[Split]) -> None:
        self.splits = splits
        self.broken: list[tuple[str, str]] = []
        self._files: list[tuple[int, SourceFile, Lines[Row]]] = []
        for number, split in enumerate(splits):
            for file in split.files:
                why = _binary(file) or self._open(number, file)
                if why:
                    self.broken.append((file.name, why))
        self._ends = list(accumulate(len(lines) for _, _, lines in self._files))

    def _open(self, number: int, file: SourceFile) -> str:
        try:
            lines, why = rows_that_can_be_read(file.path, lambda row, number: row)
        except DataError as error:
            return error.seen.removeprefix(str(file.path)).strip(" :")
        self._files.append((number, file, lines))
        return why or ("" if len(lines) else "the file is empty")

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @cached_property
    def bounds(self) -> list[tuple[int, int]]:
        """Of each split the first row, and the first that is no longer its."""
        sizes = [
            sum(len(lines) for number, _, lines in self._files if number == wanted)
            for wanted in range(len(self.splits))
        ]
        ends = list(accumulate(sizes))
        return [(end - size, end) for end, size in zip(ends, sizes, strict=True)]

    @cached_property
    def _split_ends(self) -> list[int]:
        return [end for _, end in self.bounds]

    def split(self, index: int) -> int:
        """The number of a row's split."""
        return bisect_right(self._split_ends, index)

    def place(self, index: int) -> str:
        """Where a row stands: ``train.jsonl line 3``."""
        file, lines, nth = self._at(index)
        return f"{file.name} {lines.unit} {lines.number(nth)}"

    def entry(self, index: int) -> Entry:
        """A row, read again."""
        _, lines, nth = self._at(index)
        number = self.split(index)
        return _entry(lines.raw(nth, nth + 1)[0], index, number, self.splits[number])

    def pieces(self) -> Iterator[Piece]:
        """All rows in order."""
        at = 0
        for number, _, lines in self._files:
            for start in range(0, len(lines), _PIECE):
                end = min(start + _PIECE, len(lines))
                yield Piece(at + start, lines.raw(start, end), number, self.splits[number])
            at += len(lines)

    def _at(self, index: int) -> tuple[SourceFile, Lines[Row], int]:
        number = bisect_right(self._ends, index)
        _, file, lines = self._files[number]
        return file, lines, index - (self._ends[number - 1] if number else 0)

    def hashes(self) -> dict[str, str]:
        """sha256 of every file."""
        found = {}
        for file in (file for split in self.splits for file in split.files):
            with file.path.open("rb") as opened:
                found[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
        return found


class Recorded(Rows):
    """Records that are at hand, by split."""

    def __init__(self, parts: Sequence[tuple[Split, Sequence[Record]]]) -> None:
        super().__init__([split for split, _ in parts])
        self._parts = [records for _, records in parts]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    @cached_property
    def bounds(self) -> list[tuple[int, int]]:
        ends = list(accumulate(map(len, self._parts)))
        return [(end - len(part), end) for end, part in zip(ends, self._parts, strict=True)]

    def entry(self, index: int) -> Entry:
        number = self.split(index)
        return Entry(index, number, record=self._parts[number][index - self.bounds[number][0]])

    def place(self, index: int) -> str:
        record = self.entry(index).record
        return record.place or record.id if record else ""

    def entries(self) -> Iterator[list[Entry]]:
        """All of them in order, some at a time."""
        for number, (start, records) in enumerate(
            zip((start for start, _ in self.bounds), self._parts, strict=True)
        ):
            left = enumerate(records, start)
            while some := [Entry(i, number, record=r) for i, r in islice(left, _PIECE)]:
                yield some


def _binary(file: SourceFile) -> str:
    """Why a file is no text, if it is none (Parquet is read as it is)."""
    with file.path.open("rb") as opened:
        start = opened.read(8192)
    if start.startswith(b"PAR1") or file.path.suffix.lower() == ".parquet":
        return ""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16, not UTF-8"
    if start.startswith((b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd")):
        return "compressed; unpack it first"
    return "a binary file, not JSON lines, JSON, CSV or Parquet" if b"\0" in start else ""
