"""JSON lines: every line is read, and all that is wrong is reported at once."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar, overload

from lorecraft.errors import DataError

T = TypeVar("T")

MISTAKES_SHOWN = 20
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
        path: Path,
        parse: Callable[[dict[str, Any], int], T],
        copy: IO[bytes] | None = None,
        unit: str = "line",
    ) -> None:
        self.path, self.unit, self._parse = path, unit, parse
        self._file = copy or path.open("rb")
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
        line = self.raw(index, index + 1)[0]
        return self._parse(json_object(line), self._numbers[index])

    def raw(self, start: int, end: int) -> list[bytes]:
        """Some lines as they stand in the file, read together."""
        at = self._starts[start]
        self._file.seek(at)
        text = self._file.read(self._starts[end] - at if end < len(self) else -1)
        text = text.removeprefix(_MARK) if at == 0 else text
        return [line for line in text.split(b"\n") if line.strip()]


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
    try:
        lines = Lines(path, parse)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", expected) from error
    return list(checked(lines, expected))


def checked(lines: Lines[T], expected: str) -> Iterator[T]:
    """Every line that can be parsed; raises DataError at the end for those that cannot, in which
    neighbours with the same mistake are one."""
    runs: list[tuple[str, int, int]] = []  # a mistake, and the first and last index that has it
    hidden = 0
    for index in range(len(lines)):
        try:
            yield lines[index]
        except LineError as error:
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
        raise DataError("\n".join([*told, *more]), expected)
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
