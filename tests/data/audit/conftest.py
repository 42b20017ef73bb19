"""Small data sets in files, and their audit."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lorecraft.data.audit.audit import Audit, audit, checks
from lorecraft.data.audit.check import Check
from lorecraft.data.audit.lengths import Lengths
from lorecraft.data.audit.rows import Rows, Split
from lorecraft.knowledge.files import SourceFile

from .planted import Row

Write = Callable[..., Path]
Look = Callable[..., Audit]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(name: str, rows: Sequence[Row | str]) -> Path:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
        return tmp_path / name

    return written


@pytest.fixture
def look(write: Write) -> Look:
    """The audit of some splits, each given as its rows."""

    def looked(
        *splits: Sequence[Row | str],
        more: Sequence[Check] = (),
    ) -> Audit:
        names = ("train", "valid", "test")
        parts = []
        for name, rows in zip(names, splits, strict=False):
            path = write(f"{name}.jsonl", rows)
            parts.append(Split(name, (SourceFile(path, path.name),)))
        return audit(Rows(parts), checks([Lengths(), *more]))

    return looked
