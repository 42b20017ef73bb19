"""JSON lines: every line is read, and all that is wrong is reported at once."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar, overload

from lorecraft.errors import DataError
from lorecraft.knowledge.files import Readable
from lorecraft.knowledge.strictness import Bad, strict

T = TypeVar("T")

MISTAKES_SHOWN = 20
LONGEST = 1 << 26
"""Bytes of one record: what is longer is no record, and may have no end."""
_MARK = b"\xef\xbb\xbf"


class LineError(ValueError):
    """What is wrong with one line, in words for the person who wrote it."""


class Lines(Sequence[T]):
    """The lines of a file, each parsed whenever it is asked for: only their places are held.

    Blank lines are passed over. ``parse`` takes a line's JSON object and its number, from 1.
    ``copy`` holds the lines in the file's stead, which has a ``unit`` of its own (``row``).
    """

    def __init__(
        self,
        path: Readable,
        parse: Callable[[dict[str, Any], int], T],
        copy: IO[bytes] | None = None,
        unit: str = "line",
    ) -> None:
        self.path, self.unit, self._parse = path, unit, parse
        self._file: IO[bytes] = copy or path.open("rb")
        self._starts, self._numbers = array("q"), array("q")
        start = 0
        for number, line in enumerate(iter(lambda: self._file.readline(LONGEST), b""), start=1):
            if len(line) == LONGEST:
                raise DataError(
                    f"{path} {unit} {number}: longer than {LONGEST >> 20} MB",
                    "a record on each line",
                )
            if (line.removeprefix(_MARK) if start == 0 else line).strip():
                self._starts.append(start)
                self._numbers.append(number)
            start += len(line)

    def __len__(self) -> int:
        return len(self._starts)

    def keep(self, indices: Sequence[int]) -> None:
        """Let go of all other lines."""
        self._starts = array("q", (self._starts[index] for index in indices))
        self._numbers = array("q", (self._numbers[index] for index in indices))

    def number(self, index: int) -> int:
        """The number of a line in its file."""
        return self._numbers[index]

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """Raises LineError for a line that is no JSON object, and what ``parse`` raises."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        start = self._starts[index]
        self._file.seek(start)
        line = self._file.readline()
        value = json_object(line.removeprefix(_MARK) if start == 0 else line)
        return self._parse(value, self._numbers[index])

    def raw(self, start: int, end: int) -> list[bytes]:
        """Lines as they stand in the file, read together; of a file of which all were kept."""
        at = self._starts[start]
        self._file.seek(at)
        text = self._file.read(self._starts[end] - at if end < len(self) else -1)
        text = text.removeprefix(_MARK) if at == 0 else text
        return [line for line in text.split(b"\n") if line.strip()]


def read_lines(
    path: Path,
    parse: Callable[[dict[str, Any], int], T],
    expected: str,
    bad: Bad = strict,
) -> list[T]:
    """Each line's JSON object, parsed; blank lines are passed over.

    Args:
        path: the file, UTF-8, one JSON object a line.
        parse: takes the object and its line number (from 1); raises ``LineError``.
        expected: what a right line looks like, for the error.
        bad: is told of bad lines (the first 20 are named with their numbers).

    Raises:
        DataError: the file cannot be read or holds no line; what ``bad`` raises.
    """
    try:
        lines = Lines(path, parse)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", expected) from error
    return [item for _, item in checked(lines, expected, bad)]


def checked(lines: Lines[T], expected: str, bad: Bad = strict) -> Iterator[tuple[int, T]]:
    """The index and the value of every line that can be parsed; ``bad`` is told at the end of those
    that cannot, in which neighbours with the same mistake are one."""
    runs: list[tuple[str, int, int]] = []  # a mistake, and the first and last index that has it
    hidden = count = 0
    for index in range(len(lines)):
        try:
            yield index, lines[index]
        except LineError as error:
            count += 1
            text, last = str(error), runs[-1] if runs else None
            if last and last[0] == text and last[2] == index - 1:
                runs[-1] = text, last[1], index
            elif len(runs) < MISTAKES_SHOWN:
                runs.append((text, index, index))
            else:
                hidden += 1
    if runs:
        more = [f"and {hidden} more"] if hidden else []
        told = [f"{lines.path} {_places(lines, first, last)}: {text}" for text, first, last in runs]
        bad(DataError("\n".join([*told, *more]), expected), lines.unit, count)
    if not len(lines):
        raise DataError(f"{lines.path}: the file is empty", expected)


def _places(lines: Lines[T], first: int, last: int) -> str:
    if first == last:
        return f"{lines.unit} {lines.number(first)}"
    return f"{lines.unit}s {lines.number(first)} to {lines.number(last)}"


def json_object(line: bytes) -> dict[str, Any]:
    """What stands on a line. Raises LineError."""
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise LineError(f"not UTF-8 (byte {error.start + 1})") from error
    except json.JSONDecodeError as error:
        raise LineError(f"broken JSON ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 1,000 brackets
        raise LineError(f"JSON that cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise LineError(f"a JSON {type(value).__name__}, not an object")
    return value
