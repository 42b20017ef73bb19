"""JSON lines: every line is read, and all that is wrong is reported at once."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from lorecraft.errors import DataError

T = TypeVar("T")

MISTAKES_SHOWN = 20
_MARK = b"\xef\xbb\xbf"


class LineError(ValueError):
    """What is wrong with one line, in words for the person who wrote it."""


class Lines(Sequence[T]):
    """The lines of a file, each parsed whenever it is asked for: only their places are held.

    Blank lines are passed over. ``parse`` takes a line's JSON object and its number, from 1.
    """

    def __init__(self, path: Path, parse: Callable[[dict[str, Any], int], T]) -> None:
        self.path, self._parse = path, parse
        self._file = path.open("rb")
        self._starts, self._numbers = array("q"), array("q")
        start = 0
        for number, line in enumerate(self._file, start=1):
            if (line.removeprefix(_MARK) if start == 0 else line).strip():
                self._starts.append(start)
                self._numbers.append(number)
            start += len(line)

    def __len__(self) -> int:
        return len(self._starts)

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
        value = _json_object(line.removeprefix(_MARK) if start == 0 else line)
        return self._parse(value, self._numbers[index])


def read_lines(path: Path, parse: Callable[[dict[str, Any], int], T], expected: str) -> list[T]:
    """Each line's JSON object, parsed; blank lines are passed over.

    Args:
        path: the file, UTF-8, one JSON object a line.
        parse: takes the object and its line number (from 1); raises ``LineError``.
        expected: what a right line looks like, for the error.

    Raises:
        DataError: the file cannot be read, holds no line, or holds bad lines (the first 20 are
            named with their numbers).
    """
    return list(_checked(_opened(path, parse, expected), expected))


def open_lines(path: Path, parse: Callable[[dict[str, Any], int], T], expected: str) -> Lines[T]:
    """``read_lines`` for a file that may be larger than memory: checked now, parsed again later."""
    lines = _opened(path, parse, expected)
    for _ in _checked(lines, expected):
        pass
    return lines


def _opened(path: Path, parse: Callable[[dict[str, Any], int], T], expected: str) -> Lines[T]:
    try:
        return Lines(path, parse)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", expected) from error


def _checked(lines: Lines[T], expected: str) -> Iterator[T]:
    """Every line that can be parsed; raises DataError at the end for those that cannot."""
    mistakes: list[str] = []
    hidden = 0
    for index in range(len(lines)):
        try:
            yield lines[index]
        except LineError as error:
            if len(mistakes) < MISTAKES_SHOWN:
                mistakes.append(f"{lines.path} line {lines.number(index)}: {error}")
            else:
                hidden += 1
    if mistakes:
        more = [f"and {hidden} more"] if hidden else []
        raise DataError("\n".join([*mistakes, *more]), expected)
    if not len(lines):
        raise DataError(f"{lines.path}: the file is empty", expected)


def _json_object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise LineError(f"not UTF-8 (byte {error.start + 1})") from error
    except json.JSONDecodeError as error:
        raise LineError(f"broken JSON ({error.msg} at column {error.colno})") from error
    if not isinstance(value, dict):
        raise LineError(f"a JSON {type(value).__name__}, not an object")
    return value
