"""A run that teaches a house style is examined on records about nothing that it was trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lorecraft.errors import DataError
from lorecraft.runs import pipeline
from lorecraft.runs.progress import Silent

WriteRecipe = Callable[..., Path]
STAGE = {"kind": "sft", "epochs": 1, "learning_rate": 0.01, "general": 0.0, "validate_every": 5}
FORMAT = {"sections": [{"heading": "Sum:", "sentences": 1}, {"heading": "Ask:", "ends_with": "?"}]}


@pytest.fixture
def write_style(write_recipe: WriteRecipe, tmp_path: Path) -> WriteRecipe:
    """Writes records about ``trained`` and ``tested`` things, and a recipe for them."""

    def write(trained: str = "tide", tested: str = "moon", **style: Any) -> Path:
        for name, thing, count in (("train", trained, 8), ("test", tested, 4)):
            lines = [
                json.dumps(
                    {
                        "prompt": f"The {thing} of day {n}.",
                        "completion": f"Sum:\nA {thing}.\n\nAsk:\nWhich {thing}?",
                        "facts": [thing],
                        "topic": "water" if n % 2 else "air",
                    }
                )
                for n in range(count)
            ]
            (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        (tmp_path / "format.yaml").write_text(yaml.safe_dump(FORMAT))
        return write_recipe(
            knowledge=None,
            data={"train": "train.jsonl", "general": "none"},
            style={"format": "format.yaml", "test": "test.jsonl", **style},
            stages=[STAGE],
        )

    return write


def run(recipe: Path) -> pipeline.Outcome:
    return pipeline.run(recipe, progress=Silent())


def test_the_base_a_good_prompt_and_the_stage_sit_the_same_exam(write_style: WriteRecipe) -> None:
    outcome = run(write_style(by=["topic"]))
    answers = [json.loads(x) for x in (outcome.folder / "exam/answers.jsonl").open()]
    formal = [answer["model"] for answer in answers if answer["id"].startswith("format-")]
    assert formal == ["base", "prompted", "sft"] * 4
    assert {a["model"] for a in answers if a["id"].startswith("retention-")} == {"base", "sft"}
    verdict = json.loads((outcome.folder / "exam/verdict.json").read_text())
    assert verdict["models"]["prompted"]["format"]["asked"] == 4
    assert [one["value"] for one in verdict["style"]["by"]] == ["air", "water"]
    for report in ("report.md", "report.html"):
        text = (outcome.folder / report).read_text()
        assert "House style" in text and "water" in text


def test_without_a_prompted_base_none_is_asked(write_style: WriteRecipe) -> None:
    outcome = run(write_style(prompted=False))
    assert outcome.verdict is not None
    assert list(outcome.verdict["models"]) == ["base", "sft"]


def test_a_test_about_what_is_trained_is_refused(write_style: WriteRecipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 things that are trained.*: moon"):
        run(write_style(trained="moon"))
    assert not (tmp_path / "runs/lights").exists()


def test_a_column_that_is_not_there_is_named(write_style: WriteRecipe) -> None:
    with pytest.raises(DataError, match="column 'colour' is None"):
        run(write_style(by=["colour"]))


def test_another_format_is_another_exam_but_no_other_training(
    write_style: WriteRecipe, tmp_path: Path
) -> None:
    recipe = write_style()
    folder = run(recipe).folder
    trained = (folder / "stages/01-sft/stage.json").stat().st_mtime_ns
    examined = (folder / "exam/exam.json").stat().st_mtime_ns
    (tmp_path / "format.yaml").write_text(yaml.safe_dump({"words": 3}))
    run(recipe)
    assert (folder / "stages/01-sft/stage.json").stat().st_mtime_ns == trained
    assert (folder / "exam/exam.json").stat().st_mtime_ns > examined
