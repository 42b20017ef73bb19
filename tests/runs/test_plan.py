"""What a plan says is what the run then does; what cannot fit is refused before it starts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorecraft.engines import host
from lorecraft.errors import AdapterError, DataError, RunError
from lorecraft.models.find import find
from lorecraft.models.tokenizer import load_tokenizer
from lorecraft.recipe import load_recipe
from lorecraft.runs import pipeline
from lorecraft.runs import plan as plans
from lorecraft.runs.directory import RunDirectory
from lorecraft.runs.files import read_json, tree_hash
from lorecraft.runs.memory import Need, memory
from lorecraft.runs.plan import Disk, Plan
from lorecraft.runs.progress import Silent
from lorecraft.runs.workload import exam_load

WriteRecipe = Callable[..., Path]


def plan(recipe: Path) -> Plan:
    return pipeline.plan(recipe, progress=Silent())


STAGE = {"learning_rate": 0.01, "general": 0.3, "validate_every": 5}


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def huge_model(folder: Path, **changes: Any) -> Path:
    """A folder that passes for a model of hundreds of billions of parameters."""
    pocket = find("pocket")
    folder.mkdir()
    for path in pocket.iterdir():
        if path.suffix != ".safetensors":
            shutil.copy(path, folder)
    config = json.loads((pocket / "config.json").read_text())
    size = {"hidden_size": 2**16, "intermediate_size": 2**19, "num_hidden_layers": 2} | changes
    (folder / "config.json").write_text(json.dumps(config | size))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder


@pytest.mark.parametrize(
    "stages",
    [
        [{"kind": "cpt", "epochs": 2, "batch_size": 4, **STAGE}],
        [{"kind": "sft", "epochs": 1, "batch_size": 3, "accumulate": 2, **STAGE}],
        [{"kind": "cpt", "limits": {"steps": 3}, **STAGE}],
        [{"kind": "sft", "limits": {"tokens": 900}, "batch_size": 4, **STAGE}],
    ],
)
def test_planned_steps_and_tokens_are_those_of_the_run(
    write_recipe: WriteRecipe, stages: list[dict[str, Any]]
) -> None:
    recipe = write_recipe(stages=stages)
    (planned,) = plan(recipe).stages
    folder = pipeline.run(recipe, progress=Silent()).folder
    (end,) = (
        event
        for event in RunDirectory(folder).read_events()
        if event["kind"] == "end" and event["stage"] == planned.name
    )
    assert (planned.steps, planned.tokens) == (end["steps"], end["tokens"])


def test_a_plan_starts_nothing(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    recipe = write_recipe()
    before = sorted(tmp_path.rglob("*"))
    plan(recipe)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_tells_its_plan_and_keeps_it(write_recipe: WriteRecipe) -> None:
    recipe, notes = write_recipe(), Notes()
    folder = pipeline.run(recipe, progress=notes).folder
    kept = json.loads((folder / "plan.json").read_text())
    for stage in kept["stages"]:
        assert any(f"{stage['name']}: {stage['steps']} steps" in line for line in notes.said)
    assert any("memory" in line and "disk" in line for line in notes.said)
    adapter = folder / "stages" / "02-sft" / "adapter" / "adapter_model.safetensors"
    assert 4 * kept["trained"] == pytest.approx(adapter.stat().st_size, rel=0.2)


def test_a_finished_run_is_not_planned_again(write_recipe: WriteRecipe) -> None:
    recipe, notes = write_recipe(), Notes()
    folder = pipeline.run(recipe, progress=Silent()).folder
    written = (folder / "plan.json").stat().st_mtime_ns
    pipeline.run(recipe, progress=notes)
    assert (folder / "plan.json").stat().st_mtime_ns == written
    assert not any("memory" in line for line in notes.said)


def test_the_longest_record_is_told_as_it_was_before_the_cut(write_recipe: WriteRecipe) -> None:
    whole = plan(write_recipe()).stages[1]
    cut = plan(write_recipe(data={"max_length": 38})).stages[1]
    assert whole.cut == 0
    assert cut.cut is not None and cut.cut > 0
    assert cut.longest == whole.longest
    assert cut.tokens is not None and whole.tokens is not None and cut.tokens < whole.tokens


def test_a_run_s_lines_say_what_will_be_downloaded(write_recipe: WriteRecipe) -> None:
    made = replace(plan(write_recipe()), download={"model.safetensors": 5 * 10**9})
    assert made.lines()[-1] == "download 5.0 GB (model.safetensors)"


def test_a_deadline_bounds_the_time(write_recipe: WriteRecipe) -> None:
    stages = [{"kind": "cpt", "epochs": 50, "limits": {"minutes": 0.001}, **STAGE}]
    (stage,) = plan(write_recipe(stages=stages)).stages
    assert stage.seconds == pytest.approx(0.06)


def test_the_hours_of_a_run_bound_its_stages(write_recipe: WriteRecipe) -> None:
    stages = [{"kind": kind, "epochs": 5000, **STAGE} for kind in ("cpt", "sft")]
    free = plan(write_recipe(stages=stages))
    bound = plan(write_recipe(stages=stages, limits={"hours": 0.01}))
    assert free.seconds is not None and free.seconds > 36
    assert bound.seconds is not None and bound.seconds <= 36


def test_a_question_that_the_context_has_no_room_for_is_told_by_the_plan(
    write_recipe: WriteRecipe,
) -> None:
    with pytest.raises(DataError, match=r"question .* tokens, and its answer may have 5000"):
        plan(write_recipe(exam={"max_new_tokens": 5000}))


def test_an_exam_without_questions_takes_no_time(write_recipe: WriteRecipe) -> None:
    asked = exam_load([], load_recipe(write_recipe()).exam, load_tokenizer(find("pocket")), 0)
    assert asked.groups == []


def test_an_adapter_to_start_from_that_is_not_there_is_told_by_the_plan(
    write_recipe: WriteRecipe,
) -> None:
    with pytest.raises(RunError, match="no adapter 'nobody/sft'"):
        plan(write_recipe(adapter={"rank": 2, "start": "nobody/sft"}))


def test_what_is_tried_small_is_planned_small(write_recipe: WriteRecipe) -> None:
    recipe = write_recipe()
    folder = pipeline.run(recipe, small=True, progress=Silent()).folder
    kept = json.loads((folder / "plan.json").read_text())
    assert [(stage["records"], stage["steps"]) for stage in kept["stages"]] == [(10, 3)] * 2


def test_a_plan_changes_nothing_in_what_is_trained(write_recipe: WriteRecipe) -> None:
    recipe = write_recipe()
    adapters = []
    for _ in range(2):  # the second time without a plan, which is there
        folder = pipeline.run(recipe, progress=Silent()).folder
        adapters.append(tree_hash(folder / "stages" / "02-sft" / "adapter"))
        shutil.rmtree(folder / "stages")
    assert adapters[0] == adapters[1]


def test_a_full_disk_is_told_before_anything_starts(
    write_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorecraft.runs.plan._free", lambda folder: 1000)
    with pytest.raises(RunError, match=r"would need .* 0 MB are free"):
        pipeline.run(write_recipe(), progress=Silent())
    assert not (tmp_path / "runs" / "lights" / "stages").exists()


def test_a_graphics_card_that_is_short_of_memory_takes_batches_in_pieces() -> None:
    smaller = replace(NEED, steps={"cpt": 30, "sft": 40}, exam=2)
    found = memory(NEED, smaller, 1500, [])
    assert found.fits and "in pieces" in found.text
    assert not memory(NEED, smaller, 1200, []).fits


def test_without_the_hub_a_plan_goes_as_far_as_it_can(write_recipe: WriteRecipe) -> None:
    here = plan(write_recipe())
    away = plan(write_recipe(model={"path": "owner/model"}))
    assert [stage.steps for stage in away.stages] == [stage.steps for stage in here.stages]
    assert (away.download, away.parameters, away.memory, away.seconds) == (None,) * 4
    assert away.disks[0].parts["data"] == here.disks[0].parts["data"]
    assert "memory" not in "".join(away.lines())
    away.check()


def test_what_names_blocks_beyond_those_that_are_tried_is_planned_for_too(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 10}
    section = {
        "dora": True,
        "targets": r".*\.[6-9]\.mlp\..*_proj",
        "rank_pattern": {r"9\..*": 4},
        "rank": 2,
    }
    recipe = write_recipe(
        engine="torch",
        model={"path": str(huge_model(tmp_path / "deep", **size)), "dtype": "float32"},
        adapter=section,
        stages=[{"kind": "sft", **STAGE}],
    )
    made = plan(recipe)
    each = 3 * (32 + 48)  # in and out of gate, up and down
    assert made.trained == 3 * 2 * each + 4 * each + 4 * (48 + 48 + 32)
    assert made.seconds is not None and made.seconds > 0


def test_an_adapter_that_fits_nowhere_is_told_by_the_plan(write_recipe: WriteRecipe) -> None:
    recipe = write_recipe(adapter={"rank": 2, "targets": ["gate"]})
    with pytest.raises(AdapterError, match="target 'gate' matches no linear module"):
        plan(recipe)


def test_a_model_that_is_too_large_is_refused_before_it_is_loaded(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    model = huge_model(tmp_path / "huge")
    recipe = write_recipe(engine="torch", model={"path": str(model)})
    with pytest.raises(RunError) as refused:
        pipeline.run(recipe, progress=Silent())
    assert "would need about" in refused.value.seen
    assert "of memory (before any work)" in refused.value.seen
    assert "a smaller model" in refused.value.expected
    assert not (tmp_path / "runs" / "lights" / "stages").exists()


NEED = Need(
    process=100,
    weights=1000,
    adapter=10,
    training=20,
    copy=10,
    steps={"cpt": 500, "sft": 700},
    scores={"cpt": 50, "sft": 60},
    exam=200,
    models=2,
)


def test_the_peak_is_that_of_the_greediest_moment() -> None:
    assert NEED.peak == 100 + 1000 + 30 + 7 * 10 + 700
    assert sum(NEED.parts.values()) == NEED.peak
    examined = replace(NEED, exam=5000)
    assert memory(examined, examined, None, []).during == "the exam"
    assert examined.peak == 100 + 1000 + 2 * 10 + 5000


def test_only_changes_that_fit_are_offered_and_the_smallest_of_each() -> None:
    changes = [
        ("batch_size: 8", replace(NEED, steps={"cpt": 250, "sft": 350})),
        ("batch_size: 4", replace(NEED, steps={"cpt": 125, "sft": 175})),
        ("batch_size: 2", replace(NEED, steps={"cpt": 62, "sft": 88})),
        ("model.quantization: nf4", replace(NEED, weights=900)),
    ]
    assert memory(NEED, NEED, 1900, changes).options == []
    tight = memory(NEED, NEED, 1500, changes)
    assert not tight.fits
    assert [option.split(" (")[0] for option in tight.options] == ["batch_size: 4"]


def test_a_refusal_says_what_is_needed_what_is_there_and_what_would_fit(
    write_recipe: WriteRecipe,
) -> None:
    made = plan(write_recipe())
    assert made.memory is not None
    small = replace(
        made.memory, peak=9 * 10**9, least=9 * 10**9, available=4 * 10**9, during="training sft"
    )
    fitting = replace(small, options=["model.quantization: nf4 (about 3.1 GB)"])
    with pytest.raises(RunError, match=r"about 9\.0 GB of memory \(training sft\); 4\.0 GB are"):
        replace(made, memory=small).check()
    with pytest.raises(RunError, match=r"a run that fits: model\.quantization: nf4"):
        replace(made, memory=fitting).check()
    full = Disk("/data/runs", 2 * 10**9, 10**9, {"checkpoints": 2 * 10**9})
    with pytest.raises(RunError, match=r"/data/runs would need 2\.0 GB .* 1\.0 GB are free"):
        replace(made, disks=[full]).check()


def test_blocks_are_computed_again_only_where_memory_falls_short(
    write_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearse = plans.rehearse

    def rehearsed(*given: Any) -> dict[str, float]:
        share = 0.1 if given[-1] else 1.0
        figures = rehearse(*given)
        return {n: share * 1e9 if n.endswith("step bytes") else f for n, f in figures.items()}

    monkeypatch.setattr(plans, "rehearse", rehearsed)
    made = plan(write_recipe())
    assert made.memory is not None
    assert not made.recomputes
    room = made.memory.peak - 10**8
    monkeypatch.setattr(host, "available", lambda: room)
    tight = plan(write_recipe())
    assert tight.memory is not None
    assert tight.recomputes
    assert tight.memory.peak < room
    assert any("computed again on the way back" in line for line in tight.lines())
    outcome = pipeline.train(write_recipe(), progress=Silent())
    assert read_json(outcome.folder / "plan.json")["recomputes"]
