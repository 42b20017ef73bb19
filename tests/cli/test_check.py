"""`lorecraft check`: every broken rule with its place, a summary, and exit code 1."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lorecraft.cli import app


@pytest.fixture
def format(tmp_path: Path) -> Path:
    path = tmp_path / "format.yaml"
    path.write_text("sentences: 1\nends_with: '?'\n")
    return path


def check(*paths: Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["check", *map(str, paths)])
    return result.exit_code, result.stdout, result.stderr


def test_texts_that_keep_to_the_format_pass(format: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Who lights it?")
    assert check(format, tmp_path / "a.txt") == (0, "1 of 1 texts keep to the format\n", "")


def test_a_broken_rule_is_told_and_fails_the_command(format: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ada did.")
    lines = [
        {"messages": [{"role": "user", "content": "Ask."}, {"role": "assistant", "content": said}]}
        for said in ("Who?", "Who? When?")
    ]
    records = tmp_path / "answers.jsonl"
    records.write_text("\n".join(map(json.dumps, lines)) + '\n{"text": "Why?"}')
    code, out, _ = check(format, tmp_path / "a.txt", records)
    assert code == 1
    assert out.splitlines() == [
        f"{tmp_path / 'a.txt'}: line 1: the text ends with 'Ada did.', expected '?' [ends_with]",
        "answers.jsonl:2: line 1: the text has 2 sentences, expected 1 [sentences]",
        "2 of 4 texts keep to the format (ends_with 1, sentences 1)",
    ]


def test_without_texts_the_format_is_told(format: Path) -> None:
    assert check(format) == (0, "The whole: 1 sentence; ends with '?'.\n", "")


@pytest.mark.parametrize("name", ["none.txt", "none.jsonl", "broken.txt"])
def test_a_file_that_cannot_be_read_is_a_message(format: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.txt").write_bytes(b"\xff")
    code, _, err = check(format, tmp_path / name)
    assert code == 2
    assert name in err


def test_a_format_that_no_text_can_meet_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "format.yaml").write_text("words: 0\n")
    code, _, err = check(tmp_path / "format.yaml")
    assert code == 2
    assert ":1: words: no text is without words" in err
