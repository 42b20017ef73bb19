"""Facts are read with their ids and places, and every bad line is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorecraft.errors import DataError
from lorecraft.knowledge.facts import Fact, load_facts


def written(folder: Path, *lines: str) -> Path:
    path = folder / "facts.jsonl"
    path.write_text("\n".join(lines), "utf-8")
    return path


def test_a_sentence_alone_is_a_fact_numbered_by_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, '{"text": "Ostrin has two bridges."}', "", '{"text": " B is C. "}')
    assert load_facts(path) == (
        Fact("f001", "Ostrin has two bridges.", "", None, "facts.jsonl line 1"),
        Fact("f003", "B is C.", "", None, "facts.jsonl line 3"),
    )


def test_id_source_and_triple_are_kept_and_other_keys_left_alone(tmp_path: Path) -> None:
    line = '{"id":"x","text":"A is B.","source":"a.md","triple":["A","is","B"],"author":"me"}'
    (fact,) = load_facts(written(tmp_path, line))
    assert fact == Fact("x", "A is B.", "a.md", ("A", "is", "B"), "facts.jsonl line 1")


def test_all_bad_lines_are_named_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '{"text": "Fine."}',
        '{"text": ',
        '["a list"]',
        '{"text": "  "}',
        '{"source": "x"}',
        '{"text": "T.", "triple": ["a", "b"]}',
        '{"text": "T.", "triple": ["a", "b", 3]}',
        '{"text": "T.", "id": "f001"}',
        '{"text": "T.", "tripel": ["a", "b", "c"]}',
    )
    with pytest.raises(DataError) as caught:
        load_facts(path)
    message = str(caught.value)
    for number in range(2, 10):
        assert f"facts.jsonl line {number}: " in message
    assert "line 1:" not in message
    assert "broken JSON" in message
    assert "also that of line 1" in message
    assert "did you mean 'triple'?" in message


def test_only_the_first_twenty_mistakes_are_shown(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="and 5 more"):
        load_facts(written(tmp_path, *["{", "[]"] * 12, "{"))


def test_neighbours_with_the_same_mistake_are_told_as_one(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        load_facts(written(tmp_path, "[]", "[]", '{"text": "Fine."}', "[]"))
    seen = [line.partition("facts.jsonl ")[2] for line in refused.value.seen.splitlines()]
    assert seen == [
        "lines 1 to 2: a JSON list, not an object",
        "line 4: a JSON list, not an object",
    ]


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match="empty"):
        load_facts(path)


def test_a_missing_file_and_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_facts(tmp_path / "none.jsonl")
    path = tmp_path / "facts.jsonl"
    path.write_bytes(b'{"text": "caf\xe9"}\n')
    with pytest.raises(DataError, match="line 1: not UTF-8"):
        load_facts(path)


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "A is B."}\r\n{"text": "C is D."}\r\n')
    assert [fact.text for fact in load_facts(path)] == ["A is B.", "C is D."]
