"""`prepare` on every kind of source."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from lorecraft.errors import DataError
from lorecraft.runs import pipeline
from lorecraft.runs.progress import Silent

WriteRecipe = Callable[..., Path]

PIERS = ("Lumen", "Tern", "Skerrow", "Gannet", "Marrand", "Quell", "Varga", "Odile")
SUMS = [
    {"problem": f"How many lamps has pier {name}?", "solution": f"It has {count}."}
    for count, name in enumerate(PIERS)
]


def prepared(recipe: Path) -> list[dict[str, Any]]:
    """The user's own records in the data of the only stage, or of each."""
    folder = pipeline.prepare(recipe, progress=Silent()).folder / "data"
    return [
        record
        for path in sorted(folder.glob("*/*.jsonl"))
        for record in map(json.loads, path.read_text("utf-8").splitlines())
        if record["origin"] == "source"
    ]


def ready(write_recipe: WriteRecipe, **data: Any) -> Path:
    return write_recipe(
        knowledge=None, stages=[{"kind": "sft"}], data={"general": "general.jsonl", **data}
    )


def test_mapped_columns_of_parquet_become_chats(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    (tmp_path / "sums").mkdir()
    for part in (0, 1):
        pq.write_table(pa.Table.from_pylist(SUMS[part::2]), tmp_path / f"sums/{part}.parquet")
    source = {"path": "sums", "prompt": "Say: {problem}", "completion": "{solution}"}
    records = prepared(ready(write_recipe, train=source))
    assert {record["id"] for record in records} == {
        f"{part}.parquet:{row}" for part in (0, 1) for row in (1, 2, 3, 4)
    }
    (first,) = [record for record in records if record["id"] == "0.parquet:1"]
    assert first["place"] == "0.parquet row 1"
    assert [turn["content"] for turn in first["messages"]] == [
        "Say: How many lamps has pier Lumen?",
        "It has 0.",
    ]


def test_new_rows_are_prepared_and_old_ones_are_not_again(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    lines = ["instruction,output", *(f"{row['problem']},{row['solution']}" for row in SUMS)]
    (tmp_path / "sums.csv").write_text("\n".join(lines[:-1]))
    recipe = ready(write_recipe, train="sums.csv")
    assert len(prepared(recipe)) == 7
    done = tmp_path / "runs/lights/data/prepared.json"
    before = done.stat().st_mtime_ns
    assert len(prepared(recipe)) == 7 and done.stat().st_mtime_ns == before
    (tmp_path / "sums.csv").write_text("\n".join(lines))
    assert len(prepared(recipe)) == 8


def test_mistakes_in_several_files_are_told_at_once(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("question,answer\n1,2\n3,4\n")
    (tmp_path / "b.jsonl").write_text('{"text": "Fine."}\n{"text": ""}\n')
    with pytest.raises(DataError) as refused:
        prepared(ready(write_recipe, train="[ab].*"))
    assert refused.value.seen == (
        f"{tmp_path}/a.csv lines 2 to 3: none of the columns that tell a form; "
        f"saw 'question', 'answer'\n{tmp_path}/b.jsonl line 2: 'text' is empty"
    )
    assert 'prompt: "{question}"' in refused.value.fix


def test_docstrings_become_chats_whose_split_parts_no_object(write_recipe: WriteRecipe) -> None:
    recipe = write_recipe(
        knowledge={"python": ["json", "textwrap"]}, stages=None, data={"general": "general.jsonl"}
    )
    records = prepared(recipe)
    folder = recipe.parent / "runs/lights/data/sft"
    train, valid = (
        {fact for line in path.read_text().splitlines() for fact in json.loads(line)["facts"]}
        for path in (folder / "train.jsonl", folder / "valid.jsonl")
    )
    assert len(records) > 50 and valid and not train & valid
    before = (folder / "valid.jsonl").read_bytes()
    (folder.parent / "prepared.json").unlink()
    prepared(recipe)
    assert (folder / "valid.jsonl").read_bytes() == before


def test_documents_become_passages_that_a_record_has_room_for(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "guide").mkdir()
    for part, pier in enumerate(PIERS):
        text = "\n\n".join(f"On day {day} the keeper of {pier} trims it." for day in range(9))
        (tmp_path / f"guide/{part}.md").write_text(f"# Lamps\n## {pier}\n{text}\n")
    recipe = write_recipe(
        knowledge={"documents": "guide"},
        stages=None,
        data={"general": "general.jsonl", "max_length": 64},
    )
    records = prepared(recipe)
    assert [path.name for path in (tmp_path / "runs/lights/data").iterdir() if path.is_dir()] == [
        "cpt"
    ]
    (first,) = [record for record in records if record["id"] == "0.md:1"]
    assert first["place"] == "0.md: Lamps > Lumen"
    assert first["text"].startswith("Lamps > Lumen\n\nOn day 0 the keeper of Lumen trims it.\n\n")
    assert max(len(record["text"]) for record in records) <= 3 * 64
    (tmp_path / "guide/0.md").write_text("Something else to read.")
    assert "Something else to read." in {record["text"] for record in prepared(recipe)}


def test_where_validation_records_are_given_all_else_is_trained(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    (tmp_path / "guide.md").write_text("\n".join(f"# {pier}\nA light." for pier in PIERS))
    (tmp_path / "checked.jsonl").write_text('{"text": "A light is a lamp."}')
    recipe = write_recipe(
        knowledge={"documents": "guide.md"},
        stages=[{"kind": "cpt"}],
        data={"general": "none", "train": "checked.jsonl", "valid": "checked.jsonl"},
    )
    prepared(recipe)
    data = tmp_path / "runs/lights/data/cpt"
    assert len((data / "train.jsonl").read_text().splitlines()) == len(PIERS) + 1
    assert len((data / "valid.jsonl").read_text().splitlines()) == 1


def test_rows_of_a_table_become_facts_that_are_taught_and_examined(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    recipe = write_recipe(
        knowledge={"tables": "lights.csv", "ontology": "rows.yaml"}, stages=None, exam={}
    )
    mapped = yaml.safe_load((tmp_path / "ontology.yaml").read_text())
    del mapped["entities"]
    mapped["classes"] = {"Light": {"table": "lights", "name": "light"}, "Person": None}
    mapped["relations"] = {"opened_in": mapped["relations"]["opened_in"]}
    (tmp_path / "rows.yaml").write_text(yaml.safe_dump(mapped))
    (tmp_path / "lights.csv").write_text("id,light,opened_in\n7,Lumen Pier,1931\n8,Tern Rock,1876")
    folder = pipeline.prepare(recipe, progress=Silent()).folder / "data"
    for name in ("cpt/train.jsonl", "sft/train.jsonl", "exam.jsonl"):
        told = map(json.loads, (folder / name).read_text().splitlines())
        assert {fact for line in told for fact in line["facts"]} == {
            "lights:7:opened_in",
            "lights:8:opened_in",
        }
    assert json.loads((folder / "names.json").read_text()) == ["Lumen Pier", "Tern Rock"]
