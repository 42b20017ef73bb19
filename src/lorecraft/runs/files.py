"""Text and JSON in files, each written as a whole; and their hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lorecraft.disk import replacing


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` (UTF-8), atomically."""
    _write(path, [text])


def _write(path: Path, parts: Iterable[str]) -> None:
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(parts)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Replace ``path`` by JSON lines, which are written as they come."""
    _write(path, (json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def file_hash(path: Path) -> str:
    """sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_hash(folder: Path) -> str:
    """sha256 over the names and contents of a folder's files."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return fingerprint([(path.name, file_hash(path)) for path in files])


def fingerprint(*parts: Any) -> str:
    """sha256 over JSON-able values: the key under which a finished part is known."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
