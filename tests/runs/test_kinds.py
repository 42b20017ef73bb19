"""Kinds beyond the facts go through a whole run: trained, examined, told and required."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from lorecraft.recipe import load_recipe
from lorecraft.runs import pipeline
from lorecraft.runs.prepare import prepare
from lorecraft.runs.progress import Silent

WriteRecipe = Callable[..., Path]
DATA = {"general": "general.jsonl", "kinds": ["across", "inverse", "follow_up"]}
EXAM = {"max_new_tokens": 4, "limit": 12, "kinds": ["inverse", "follow_up"]}


def test_a_kind_is_a_measure_of_its_own(write_recipe: WriteRecipe) -> None:
    recipe = write_recipe(
        data={**DATA, "limit": 4},
        stages=[{"kind": "sft", "epochs": 1}],
        exam={**EXAM, "limit": 1},
        require={"kinds": {"inverse": 0}},
    )
    outcome = pipeline.run(recipe, progress=Silent())
    verdict = json.loads((outcome.folder / "exam/verdict.json").read_text())
    for model in ("base", "sft"):
        assert verdict["models"][model]["inverse"]["asked"] == 1
        assert verdict["models"][model]["follow_up"]["asked"] == 1
    assert not outcome.unmet
    report = (outcome.folder / "report.html").read_text()
    assert "the subject, where the object is given" in report


def test_without_kinds_nothing_of_them_is_made(write_recipe: WriteRecipe) -> None:
    plain = prepare(load_recipe(write_recipe()), ["cpt", "sft"])
    more = prepare(load_recipe(write_recipe(data=DATA, exam=EXAM)), ["cpt", "sft"])
    kinds = set(EXAM["kinds"])  # type: ignore[call-overload]
    assert [q for q in more.questions if q.measure not in kinds] == plain.questions
    assert not kinds & {question.measure for question in plain.questions}
    for stage in ("cpt", "sft"):
        known = {record.id: record for record in more.stages[stage].train}
        told = [record for record in plain.stages[stage].train if record.origin == "fact"]
        assert all(known[record.id] == record for record in told)
    made = {record.id for stage in more.stages.values() for record in stage.train}
    for start in ("sft/inverse/", "sft/follow_up/", "cpt/across/"):
        assert any(id_.startswith(start) for id_ in made)
