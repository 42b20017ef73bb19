"""Ready-made records are read in every form, and every bad line is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorecraft.data.records import Message
from lorecraft.data.sources import read_records
from lorecraft.errors import DataError
from lorecraft.recipe import RecordsSection

USER, ASSISTANT = Message("user", "Hi."), Message("assistant", "Hello.")


def written(folder: Path, *lines: Any) -> RecordsSection:
    path = folder / "train.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
    return RecordsSection(path=str(path))


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


CHAT = [turn("user", "Hi."), turn("assistant", "Hello.")]


@pytest.mark.parametrize(
    "line",
    [
        {"messages": CHAT},
        {"prompt": "Hi.", "completion": "Hello."},
        {"prompt": CHAT[:1], "completion": CHAT[1:]},
        {"messages": CHAT, "text": "<user>Hi.<assistant>Hello.", "score": 1},
    ],
)
def test_chat_and_prompt_completion_become_messages(tmp_path: Path, line: dict[str, Any]) -> None:
    (record,) = read_records(written(tmp_path, line))
    assert record.messages == (USER, ASSISTANT)
    assert (record.text, record.origin, record.id) == ("", "source", "train.jsonl:1")


def test_text_stays_text_and_forms_may_be_mixed(tmp_path: Path) -> None:
    records = read_records(written(tmp_path, {"text": "Once."}, {"messages": CHAT}), "general")
    assert [record.text for record in records] == ["Once.", ""]
    assert [record.place for record in records] == ["train.jsonl line 1", "train.jsonl line 2"]
    assert {record.origin for record in records} == {"general"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"messages": []}, "not a list of messages"),
        ({"messages": "Hi."}, "not a list of messages"),
        ({"messages": [turn("user", "")]}, r"message 1 \(user\) is empty"),
        ({"messages": [turn("user", None)]}, r"message 1 \(user\) is None, not a text"),
        ({"messages": [{"content": "Hi."}]}, "not an object with a role"),
        ({"messages": CHAT[:1]}, "nothing would be trained"),
        ({"prompt": "Hi."}, "no 'completion'"),
        ({"prompt": "Hi.", "completion": " "}, "'completion' is empty"),
        ({"text": 7}, "'text' is 7, not a text"),
        ({"text": "  "}, "'text' is empty"),
        ({"instruction": "Hi."}, "no 'output' beside 'instruction'"),
        ({"question": "Hi."}, "none of the columns that tell a form; saw 'question'"),
        ({"text": "T.", "facts": "f1"}, "not a list of names"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=rf"train.jsonl line 2: .*{said}"):
        read_records(written(tmp_path, {"text": "Fine."}, line))


def test_records_stay_in_their_file_and_are_read_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    lines = [json.dumps({"text": f"Light {number}."}) for number in range(5)]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n\n".join(lines).encode())
    records = read_records(RecordsSection(path=str(path)))
    assert [record.text for record in records] == [f"Light {number}." for number in range(5)]
    assert (records[3].place, records[-1].id) == ("train.jsonl line 7", "train.jsonl:9")
    assert [record.text for record in records[1:3]] == ["Light 1.", "Light 2."]


def test_no_more_than_the_first_rows_are_read_over_all_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\nLight 1.\nLight 2.")
    (tmp_path / "b.jsonl").write_text('{"text": "Light 3."}\n{broken')
    (tmp_path / "c.json").write_text("[broken")
    records = read_records(RecordsSection(path=str(tmp_path), rows=3))
    assert [record.text for record in records] == ["Light 1.", "Light 2.", "Light 3."]
    assert records[2].place == "b.jsonl line 1"
