"""Lines of JSON."""

from __future__ import annotations

from pathlib import Path

from lorecraft.runs.directory import RunDirectory
from lorecraft.runs.files import read_lines, write_lines

SEPARATED = "one\u2028two\u0085three\rfour"


def test_a_text_may_hold_any_line_separator(tmp_path: Path) -> None:
    write_lines(tmp_path / "records.jsonl", [{"text": SEPARATED}, {"text": "next"}])
    assert read_lines(tmp_path / "records.jsonl") == [{"text": SEPARATED}, {"text": "next"}]
    RunDirectory(tmp_path).log("cpt", "moon", text=SEPARATED)
    assert [event["text"] for event in RunDirectory(tmp_path).read_events()] == [SEPARATED]
