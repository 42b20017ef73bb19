"""Preference pairs are read in TRL's forms, and those that would teach nothing good are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorecraft.data.pairs import Pair, held_out_by, read_pairs
from lorecraft.data.records import Message, Record
from lorecraft.errors import DataError
from lorecraft.recipe import DatasetSection, RecordsSection
from lorecraft.style.schema import Format

ASK = {"role": "user", "content": "Who lights it?"}
ENDS = Format(ends_with=".")


def say(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def written(folder: Path, *lines: Any, name: str = "pairs.jsonl") -> DatasetSection:
    path = folder / name
    path.write_text("\n".join(json.dumps(line) for line in lines), "utf-8")
    return DatasetSection(path=str(path))


@pytest.mark.parametrize(
    "line",
    [
        {"prompt": "Who lights it?", "chosen": "Ada does.", "rejected": "Ada"},
        {"prompt": [ASK], "chosen": [say("Ada does.")], "rejected": [say("Ada")]},
        {"chosen": [ASK, say("Ada does.")], "rejected": [ASK, say("Ada")]},
        {"prompt": "Who lights it?", "chosen": [ASK, say("Ada does.")], "rejected": "Ada"},
        {
            "input": {"messages": [ASK], "tools": []},
            "preferred_output": [say("Ada does.")],
            "non_preferred_output": [say("Ada")],
        },
    ],
)
def test_every_form_of_a_pair_is_read(tmp_path: Path, line: dict[str, Any]) -> None:
    (pair,) = read_pairs(written(tmp_path, line), ENDS)
    assert pair.prompt == (Message("user", "Who lights it?"),)
    assert (pair.chosen, pair.rejected, pair.id) == ("Ada does.", "Ada", "pairs.jsonl:1")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    pair = Pair("p1", (Message("user", "Who?"),), "Ada.", "Ada", "no stop", "ends_with", "r1")
    assert read_pairs(written(tmp_path, pair.to_json())) == [pair]
    record = pair.to_record()
    assert Record.from_json(record.to_json()) == record
    assert (record.messages[-1].content, record.rejected) == ("Ada.", "Ada")


def test_pairs_that_cannot_be_used_are_named_and_counted(tmp_path: Path) -> None:
    good = {"prompt": "Who?", "chosen": "Ada.", "rejected": "Ada"}
    other = {"role": "user", "content": "When?"}
    path = written(
        tmp_path,
        good,
        good | {"id": "same", "rejected": " Ada.\n"},
        good | {"id": "open", "chosen": "Ada"} | {"rejected": "Eve"},
        good | {"id": "stray", "source": "t7"},
        good | {"id": "again", "source": "t8"},
        {"id": "two", "chosen": [ASK, say("Ada.")], "rejected": [other, say("Ada")]},
    )
    with pytest.raises(DataError) as found:
        read_pairs(path, ENDS, held_out={"t7", "t8"})
    assert str(found.value).splitlines()[:6] == [
        "5 of 6 pairs cannot be used (made from a test record 2, answers are equal 1, "
        "chosen answer breaks the format 1, prompts differ 1):",
        "pairs.jsonl: pair same: answers are equal",
        "pairs.jsonl: pair open: chosen answer breaks the format "
        "(line 1: the text ends with 'Ada', expected '.' [ends_with])",
        "pairs.jsonl: pair stray: made from a test record (t7)",
        "pairs.jsonl: pair again: made from a test record (t8)",
        "pairs.jsonl: pair two: prompts differ",
    ]


def test_a_test_record_is_known_as_a_source_and_by_its_prompt_but_ids_may_meet(
    tmp_path: Path,
) -> None:
    tested = written(tmp_path, {"id": "t7", "messages": [ASK, say("Ada.")]}, name="test.jsonl")
    good = {"prompt": "Who?", "chosen": "Ada.", "rejected": "Ada"}
    pairs = written(
        tmp_path,
        good | {"id": "t7"},
        good | {"id": "p2", "source": "t7"},
        good | {"id": "p3", "prompt": "who lights it"},
        good,
    )
    with pytest.raises(DataError) as found:
        read_pairs(pairs, held_out=held_out_by(RecordsSection(path=tested.path)))
    assert str(found.value).splitlines()[:3] == [
        "2 of 4 pairs cannot be used (made from a test record 2):",
        "pairs.jsonl: pair p2: made from a test record (t7)",
        "pairs.jsonl: pair p3: made from a test record, by its prompt",
    ]


def test_pairs_come_from_a_table_too(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("prompt,system,chosen,rejected\nWho?,Be brief.,Ada.,I think Ada.\n", "utf-8")
    (pair,) = read_pairs(DatasetSection(path=str(table)))
    assert pair.prompt == (Message("system", "Be brief."), Message("user", "Who?"))


def test_of_many_bad_pairs_twenty_are_named(tmp_path: Path) -> None:
    bad = {"prompt": "Who?", "chosen": "Ada.", "rejected": "Ada."}
    with pytest.raises(DataError, match=r"25 of 25 pairs .*\n(.*\n){20}and 5 more"):
        read_pairs(written(tmp_path, *[bad] * 25))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"prompt": "Who?", "chosen": "Ada."}, "no 'rejected'"),
        ({"chosen": "Ada.", "rejected": "Ada"}, "no 'prompt'"),
        ({"prompt": "Who?", "chosen": "Ada.", "rejected": ""}, "'rejected' is empty"),
        ({"prompt": "Who?", "chosen": [ASK], "rejected": "Ada"}, "does not end with an assistant"),
    ],
)
def test_lines_that_are_no_pairs_are_named(tmp_path: Path, line: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=rf"pairs.jsonl line 1: .*{said}"):
        read_pairs(written(tmp_path, line))
