"""A grid over a recipe: every combination is a recipe that the user could have written."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorecraft.errors import RecipeError
from lorecraft.recipe.grid import Axis, Variant, variants


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "facts.jsonl").write_text("{}\n")
    path = tmp_path / "notes.yaml"
    path.write_text("knowledge: {facts: facts.jsonl}\nadapter: {alpha: 16}\n")
    return path


def grid(recipe: Path, *texts: str) -> list[Variant]:
    return variants(recipe, [Axis.parse(text) for text in texts])


def test_every_combination_is_a_recipe_with_a_name_of_its_own(recipe: Path) -> None:
    found = grid(recipe, "adapter.rank=4,8", "seed=1,2")
    assert [variant.name for variant in found] == [
        "notes-rank-4-seed-1",
        "notes-rank-4-seed-2",
        "notes-rank-8-seed-1",
        "notes-rank-8-seed-2",
    ]
    assert [variant.recipe.name for variant in found] == [variant.name for variant in found]
    assert [(v.recipe.adapter.rank, v.recipe.seed) for v in found][1] == (4, 2)
    assert {v.recipe.adapter.alpha for v in found} == {16.0}  # what is written stays


def test_a_stage_is_meant_by_its_name_or_all_of_them(recipe: Path) -> None:
    (one,) = grid(recipe, "stages.sft.learning_rate=2e-3")
    assert [stage.learning_rate for stage in one.recipe.stages] == [1e-4, 2e-3]
    (both,) = grid(recipe, "stages.limits.steps=7")
    assert [stage.limits.steps for stage in both.recipe.stages] == [7, 7]


def test_values_are_yaml_s(recipe: Path) -> None:
    found = grid(recipe, "adapter.targets=all-linear,[q_proj, v_proj]", "adapter.dora=true")
    assert [v.recipe.adapter.targets for v in found] == ["all-linear", ("q_proj", "v_proj")]
    assert found[1].name == "notes-targets-q_proj-v_proj-dora-true"
    assert all(variant.recipe.adapter.dora for variant in found)


def test_all_that_is_wrong_is_said_at_once_with_the_nearest_key(recipe: Path) -> None:
    with pytest.raises(RecipeError) as refused:
        grid(recipe, "adapter.rnak=4,8", "seed=0,-1", "adapter.alpha.x=1")
    text = str(refused.value)
    assert text.count("adapter.rnak: no such key; did you mean rank?") == 1
    assert "seed: expected a whole number" in text
    assert "adapter.alpha: expected a number" in text


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["adapter.rank"], "no values"),
        (["adapter.rank=[1"], "--grid adapter.rank="),
        (["=4"], "expected: a key and its values"),
        (["stages.stf.epochs=1"], "did you mean sft"),
        (["stages.epoch=1"], "did you mean epochs"),
        (["seed=1", "seed=2"], "given twice"),
        (["seed=1,1"], "stand for two combinations"),
        (["name=a,b"], "a name and a folder of its own"),
        ([], "without --grid"),
    ],
)
def test_what_is_no_grid_is_refused(recipe: Path, texts: list[str], says: str) -> None:
    with pytest.raises(RecipeError, match=says.replace("[", r"\[")):
        grid(recipe, *texts)


def test_numbers_alone_make_an_axis_for_a_picture() -> None:
    assert Axis.parse("adapter.rank=4,8").numeric
    assert not Axis.parse("adapter.rank=4").numeric
    assert not Axis.parse("adapter.dora=true,false").numeric
    assert not Axis.parse("model.quantization=none,int8").numeric
