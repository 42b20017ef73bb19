"""JSON lines: every line is read, and all that is wrong is reported at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lorecraft.errors import DataError

T = TypeVar("T")

MISTAKES_SHOWN = 20


class LineError(ValueError):
    """What is wrong with one line, in words for the person who wrote it."""


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
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", expected) from error
    parsed: list[T] = []
    mistakes: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            parsed.append(parse(_json_object(line), number))
        except LineError as error:
            mistakes.append(f"{path} line {number}: {error}")
    if mistakes:
        hidden = len(mistakes) - MISTAKES_SHOWN
        more = [f"and {hidden} more"] if hidden > 0 else []
        raise DataError("\n".join([*mistakes[:MISTAKES_SHOWN], *more]), expected)
    if not parsed:
        raise DataError(f"{path}: the file is empty", expected)
    return parsed


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
