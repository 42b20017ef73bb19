"""A stage on preference pairs, in a run: after the others, from the adapter that they leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorecraft.adapters import formats
from lorecraft.data.records import Message
from lorecraft.errors import DataError, RecipeError
from lorecraft.knowledge.general import rehearsal
from lorecraft.knowledge.strictness import LeaveOut
from lorecraft.recipe import load_recipe
from lorecraft.runs import logs, pipeline
from lorecraft.runs.ask import open_run
from lorecraft.runs.directory import RunDirectory
from lorecraft.runs.files import read_json, read_lines
from lorecraft.runs.prepare import prepare
from lorecraft.runs.progress import Silent

from .conftest import pairs, writer

WriteRecipe = Callable[..., Path]

STAGE = {"epochs": 1, "learning_rate": 0.01, "general": 0.3, "validate_every": 5}
DPO = {"kind": "dpo", "epochs": 4, "batch_size": 4, "learning_rate": 0.02, "validate_every": 5}
DATA = {"general": "general.jsonl", "pairs": "pairs.jsonl"}
STAGES = [{"kind": "sft", **STAGE}, DPO]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = writer(tmp_path_factory.mktemp("pairs"))(data=DATA, stages=STAGES)
    return pipeline.run(recipe, progress=Silent()).folder


def test_it_comes_after_the_others_and_starts_from_their_adapter(folder: Path) -> None:
    assert sorted(path.name for path in folder.glob("stages/*")) == ["01-sft", "02-dpo"]
    events = RunDirectory(folder).read_events()
    (start,) = (e for e in events if e["stage"] == "dpo" and e["kind"] == "start")
    assert start["start"].endswith("01-sft/adapter")
    valid = [e for e in events if e["stage"] == "dpo" and e["kind"] == "valid"]
    assert valid[0]["margin"] == 0.0  # the reference is that adapter, not the base
    assert max(event["margin"] for event in valid) > 0.1
    before, after = (formats.load(folder / f"stages/{n}/adapter")[1] for n in ("01-sft", "02-dpo"))
    assert any((before[name] != after[name]).any() for name in before)
    verdict = read_json(folder / "exam/verdict.json")
    assert list(verdict["models"]) == ["base", "sft", "dpo"]


def test_its_data_stand_in_the_form_that_trl_reads(folder: Path) -> None:
    lines = [*read_lines(folder / "data/dpo/train.jsonl")]
    lines += read_lines(folder / "data/dpo/valid.jsonl")
    assert {line["id"] for line in lines} == {pair["id"] for pair in pairs()}
    assert {"prompt", "chosen", "rejected"} <= set(lines[0])
    assert len(list(read_lines(folder / "data/dpo/valid.jsonl"))) >= 1


def test_what_was_learned_of_pairs_is_told(folder: Path) -> None:
    stage = read_json(folder / "stages/02-dpo/stage.json")
    assert set(stage["pairs"]) == {"margin", "accuracy", "chosen", "rejected"}
    told = "\n".join(logs.sentences(RunDirectory(folder).read_events()))
    assert "the reference reads" in told
    assert "margin" in told and "log-probability" in told
    page = (folder / "report.html").read_text("utf-8")
    for name in ("pairs the right way round", "margin of the chosen", "log-probability of the"):
        assert name in page
    assert "accuracy" in (folder / "report.md").read_text("utf-8")


def test_other_settings_train_that_stage_again_and_no_other(write_recipe: WriteRecipe) -> None:
    folder = pipeline.train(write_recipe(data=DATA, stages=STAGES), progress=Silent()).folder
    known = len(RunDirectory(folder).read_events())
    pipeline.train(write_recipe(data=DATA, stages=STAGES), progress=Silent())
    assert not trained_since(folder, known)
    other = [STAGES[0], DPO | {"preference": {"loss": "ipo"}}]
    pipeline.train(write_recipe(data=DATA, stages=other), progress=Silent())
    assert trained_since(folder, known) == {"dpo"}


def trained_since(folder: Path, known: int) -> set[str]:
    events = RunDirectory(folder).read_events()[known:]
    return {event["stage"] for event in events if event["kind"] == "step"}


def test_the_plan_knows_the_stage(write_recipe: WriteRecipe) -> None:
    plan = pipeline.plan(write_recipe(data=DATA, stages=STAGES), progress=Silent())
    stage = plan.stages[1]
    assert (stage.name, stage.records + stage.valid) == ("dpo", len(pairs()))
    assert stage.seconds is not None and stage.seconds > 0


def test_bad_pairs_are_refused_before_anything_is_trained(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    style = {"format": "format.yaml", "test": "test.jsonl"}
    recipe = write_recipe(data=DATA, style=style, stages=STAGES)
    good = pairs()[0]
    lines = [
        good,
        good | {"id": "same", "rejected": good["chosen"]},
        good | {"id": "wordy", "chosen": "Well", "rejected": "No"},
        good | {"id": "seen", "prompt": "Is this the test?"},
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "format.yaml").write_text("ends_with: '.'\n")
    test = {"id": "t1", "prompt": "Is this the test?", "completion": "It is."}
    (tmp_path / "test.jsonl").write_text(json.dumps(test))
    with pytest.raises(DataError) as found:
        pipeline.run(recipe, progress=Silent())
    said = str(found.value)
    assert "3 of 4 pairs cannot be used" in said
    assert "pair same: answers are equal" in said
    assert "pair wordy: chosen answer breaks the format" in said
    assert "pair seen: made from a test record" in said
    assert not (tmp_path / "runs/lights").exists()


def test_a_stage_left_without_pairs_is_refused(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    recipe = write_recipe(data=DATA, stages=STAGES)
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pairs()[0] | {"rejected": ""}))
    with pytest.raises(DataError, match="stage dpo has no pairs to train on"):
        prepare(load_recipe(recipe), ["sft", "dpo"], bad=LeaveOut())


def test_pairs_alone_make_a_run_of_one_stage(write_recipe: WriteRecipe) -> None:
    recipe = load_recipe(write_recipe(knowledge=None, data=DATA, stages=None))
    assert [stage.kind for stage in recipe.stages] == ["dpo"]
    (stage,) = recipe.stages
    assert (stage.learning_rate, stage.general) == (5e-6, 0.0)
    assert stage.preference is not None and stage.preference.beta == 0.1


@pytest.mark.parametrize(
    ("data", "stages", "said"),
    [
        ({"general": "none"}, STAGES, r"stages\[2\]: there is no data.pairs"),
        (DATA, STAGES[:1], "data.pairs: there is no stage of kind dpo"),
        (DATA | {"train": "train.jsonl"}, [DPO], "data.train: there is no stage of kind cpt or"),
        (DATA, [DPO | {"general": 0.2}], r"stages\[1\].general: pairs are not mixed"),
        (
            DATA,
            [{**STAGES[0], "preference": {"beta": 1}}, DPO],
            r"stages\[1\].preference: said of a dpo stage",
        ),
        ({"pairs_valid": "pairs.jsonl"}, STAGES[:1], "data.pairs_valid: there is no data.pairs"),
        (DATA, [DPO | {"preference": {"loss": "kto"}}], "preference.loss: expected one of sigmoid"),
    ],
)
def test_what_does_not_go_together_is_told(
    write_recipe: WriteRecipe, data: Any, stages: Any, said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe(write_recipe(data=data, stages=stages))


@pytest.mark.timeout(300)
def test_the_embedded_model_learns_a_preference_and_keeps_to_it(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    """For real: torch, fine-tuned to answer with a preamble and without, then to prefer none."""
    items = rehearsal()[::8]
    said = [(item.questions[0], item.answer, f"Well, I think: {item.answer}") for item in items]
    files = {
        "train": [
            {"prompt": asked, "completion": answers[number % 2]}
            for number, (asked, *answers) in enumerate(said)
        ],
        "pairs": [{"prompt": a, "chosen": short, "rejected": long} for a, short, long in said],
    }
    for name, lines in files.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    stage = {"batch_size": 16, "learning_rate": 3e-3, "validate_every": 10}
    recipe = write_recipe(
        engine="torch",
        knowledge=None,
        data={"general": "none", "train": "train.jsonl", "pairs": "pairs.jsonl"},
        adapter={"rank": 8},
        stages=[{"kind": "sft", "epochs": 4, **stage}, {"kind": "dpo", "epochs": 4, **stage}],
        exam={"limit": 12},
    )
    folder = pipeline.run(recipe, progress=Silent()).folder
    events = [e for e in RunDirectory(folder).read_events() if e["stage"] == "dpo"]
    valid = [event for event in events if event["kind"] == "valid"]
    assert abs(valid[0]["margin"]) < 0.05
    assert max(event["margin"] for event in valid) > 2
    assert read_json(folder / "stages/02-dpo/stage.json")["pairs"]["accuracy"] >= 0.9
    asker = open_run(folder)
    for line in [*read_lines(folder / "data/dpo/valid.jsonl")][:5]:
        asked = [Message("user", line["prompt"][0]["content"])]
        assert not "".join(asker.ask(asked)).startswith("Well")
