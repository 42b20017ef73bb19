"""`--keep-going`: what is bad is named, counted and left out; the rest is prepared and trained."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lorecraft.errors import DataError
from lorecraft.runs import pipeline
from lorecraft.runs.progress import Silent

WriteRecipe = Callable[..., Path]


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text.strip())


def chat(number: int, role: str = "user") -> dict[str, Any]:
    turns = [(role, f"How high is light {number}?"), ("assistant", f"{number} feet.")]
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


@pytest.fixture
def recipe(write_recipe: WriteRecipe, tmp_path: Path) -> Path:
    """Every kind of source, with something bad in each."""
    lines = [json.dumps(chat(number)) for number in range(20)]
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/good.jsonl").write_text("\n".join([*lines, "{broken", '{"text": ""}']))
    (tmp_path / "rows/bad.csv").write_text('text\n"never closed')
    (tmp_path / "guide").mkdir()
    (tmp_path / "guide/fine.md").write_text("# Lamps\nA lamp is lit at dusk.")
    (tmp_path / "guide/latin.txt").write_bytes(b"caf\xe9")
    path = write_recipe(
        knowledge={"facts": "facts.jsonl", "ontology": "ontology.yaml", "documents": "guide"},
        data={"train": "rows", "general": "none"},
        stages=[{"kind": kind, "epochs": 1, "limits": {"steps": 1}} for kind in ("cpt", "sft")],
        exam={"max_new_tokens": 2, "limit": 1},
    )
    with (tmp_path / "facts.jsonl").open("a") as facts:
        facts.write('\n{"text": "No.", "triple": ["Tern Rock", "keeper", "Nobody"]}\n{"text": 7}')
    return path


BAD = (
    "good.jsonl line 21: broken JSON",
    "good.jsonl line 22: 'text' is empty",
    "bad.csv line 2: broken CSV",
    "latin.txt: not UTF-8 (byte 4)",
    "facts.jsonl line 4: unknown object 'Nobody'",
    "facts.jsonl line 5: 'text' is 7",
)


def test_what_is_bad_is_named_and_left_out(recipe: Path) -> None:
    with pytest.raises(DataError):
        pipeline.prepare(recipe, progress=Silent())
    assert not (recipe.parent / "runs/lights").exists()
    notes = Notes()
    data = pipeline.prepare(recipe, keep_going=True, progress=notes).folder / "data"
    for bad in BAD:
        assert any(bad in line for line in notes.said), bad
    counted = [line for line in notes.said if line.startswith("left out")]
    assert sorted(counted) == [
        "left out: 1 fact",
        "left out: 1 file",
        "left out: 1 file",
        "left out: 1 line",
        "left out: 2 lines",
    ]
    records = [
        json.loads(line)
        for path in data.glob("*/*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert {record["id"] for record in records if record["id"].startswith("good")} == {
        f"good.jsonl:{number}" for number in range(1, 21)
    }
    assert not any(record["id"].startswith(("cpt/f004", "sft/f004")) for record in records)
    assert pipeline.plan(recipe, progress=Silent()).stages  # goes on as it was prepared
    audit = json.loads((data / "audit.json").read_text())
    assert sum(some["count"] for some in audit["left_out"]) == 6


def test_a_run_also_leaves_out_what_the_chat_template_refuses_and_reports_it(recipe: Path) -> None:
    rows = recipe.parent / "rows/good.jsonl"
    rows.write_text(json.dumps(chat(99, role="wizard")) + "\n" + rows.read_text())
    folder = pipeline.run(recipe, keep_going=True, progress=Silent()).folder
    report = (folder / "report.md").read_text()
    assert "Left out: 1 record: good.jsonl line 1: the chat template refuses roles wizard" in report
    assert "Left out: 1 file: " in report and "latin.txt: not UTF-8 (byte 4)." in report
    assert pipeline.run(recipe, progress=Silent()).folder == folder  # its data are as they were


def test_what_was_prepared_strictly_may_keep_going_later(recipe: Path) -> None:
    rows = recipe.parent / "rows/good.jsonl"
    (recipe.parent / "rows/bad.csv").unlink()
    (recipe.parent / "guide/latin.txt").unlink()
    facts = recipe.parent / "facts.jsonl"
    facts.write_text("\n".join(facts.read_text().splitlines()[:3]))
    rows.write_text(
        "\n".join([*rows.read_text().splitlines()[:20], json.dumps(chat(99, "wizard"))])
    )
    pipeline.prepare(recipe, progress=Silent())
    with pytest.raises(DataError, match="wizard"):
        pipeline.plan(recipe, progress=Silent())
    pipeline.prepare(recipe, keep_going=True, progress=Silent())
    assert pipeline.plan(recipe, progress=Silent()).stages


def test_bad_rows_of_a_table_are_left_out(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    recipe = write_recipe(knowledge={"tables": "l.db", "ontology": "rows.yaml"}, stages=None)
    mapped = yaml.safe_load((tmp_path / "ontology.yaml").read_text())
    del mapped["entities"]
    mapped["classes"] = {"Light": {"table": "lights"}, "Person": {"table": "people"}}
    (tmp_path / "rows.yaml").write_text(yaml.safe_dump(mapped))
    with sqlite3.connect(tmp_path / "l.db") as database:
        database.execute("CREATE TABLE lights (id, name, opened_in, keeper)")
        rows = [
            (1, "Lumen Pier", 1931, 7),
            (2, "Tern Rock", 1876, 8),
            (3, "Tern Rock", 1877, 7),
            (4, None, 1900, 7),
        ]
        database.executemany("INSERT INTO lights VALUES (?, ?, ?, ?)", rows)
        database.execute("CREATE TABLE people (id, name)")
        database.execute("INSERT INTO people VALUES (7, 'Odile Varga')")
    notes = Notes()
    folder = pipeline.prepare(recipe, keep_going=True, progress=notes).folder
    assert "left out: 3 rows" in notes.said
    train = (folder / "data/cpt/train.jsonl").read_text().splitlines()
    told = {fact for line in train for fact in json.loads(line)["facts"]}
    assert told == {"lights:1:opened_in", "lights:1:keeper", "lights:2:opened_in"}
