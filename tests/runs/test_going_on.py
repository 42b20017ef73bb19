"""Going on with a run: from a stage, from a deadline, from another adapter; and trying it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lorecraft.adapters import formats
from lorecraft.errors import AdapterError, RunError
from lorecraft.runs import pipeline
from lorecraft.runs.directory import RunDirectory
from lorecraft.runs.files import read_lines, write_lines
from lorecraft.runs.progress import Silent

WriteRecipe = Callable[..., Path]
STAGE = {"epochs": 1, "learning_rate": 0.01, "general": 0.3, "validate_every": 5}


def run(recipe: Path, **options: Any) -> Path:
    return pipeline.run(recipe, progress=Silent(), **options).folder


class Ticking:
    """A clock on which a look takes a tenth of a second, and nothing else takes any."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.looks / 10


def finished(folder: Path) -> dict[str, int]:
    return {
        path.parent.name: path.stat().st_mtime_ns for path in folder.glob("stages/*/stage.json")
    }


def adapter(folder: Path, stage: str) -> str:
    file = folder / "stages" / stage / "adapter" / "adapter_model.safetensors"
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_from_a_stage_on_everything_is_done_again(write_recipe: WriteRecipe) -> None:
    folder = run(write_recipe())
    before, made = finished(folder), adapter(folder, "02-sft")
    run(folder, redo="sft")
    after = finished(folder)
    assert after["01-cpt"] == before["01-cpt"]
    assert after["02-sft"] > before["02-sft"]
    assert adapter(folder, "02-sft") == made
    with pytest.raises(RunError, match=r"no part 'dpo'.*\n.*prepare, cpt, sft"):
        run(folder, redo="dpo")


def test_a_stage_that_its_deadline_stopped_goes_on_when_asked(write_recipe: WriteRecipe) -> None:
    hurried = {**STAGE, "epochs": 400, "limits": {"minutes": 0.1}}
    recipe = write_recipe(stages=[{"kind": "cpt", **hurried}, {"kind": "sft", **STAGE}])
    folder = run(recipe, clock=Ticking())
    read = json.loads((folder / "stages/01-cpt/stage.json").read_text())
    assert read["stopped_by"] == "deadline"
    assert "was stopped by its deadline" in (folder / "report.md").read_text()
    before = finished(folder)
    run(recipe)
    assert finished(folder) == before
    recipe = write_recipe(
        stages=[
            {"kind": "cpt", **hurried, "limits": {"minutes": 0.2}},
            {"kind": "sft", **STAGE},
        ]
    )
    run(recipe, go_on=True, clock=Ticking())
    again = json.loads((folder / "stages/01-cpt/stage.json").read_text())
    assert again["steps"] > read["steps"]
    assert finished(folder)["02-sft"] > before["02-sft"]


def test_the_exam_is_sat_again_when_a_stage_has_gone_on(write_recipe: WriteRecipe) -> None:
    def recipe(minutes: float) -> Path:
        stage = {**STAGE, "epochs": 4000, "limits": {"minutes": minutes}}
        return write_recipe(stages=[{"kind": "sft", **stage}])

    folder = run(recipe(0.1), clock=Ticking())
    made, examined = adapter(folder, "01-sft"), (folder / "exam/exam.json").read_text()
    run(recipe(0.5), go_on=True, clock=Ticking())
    changed = adapter(folder, "01-sft") != made  # unless no later validation was better
    assert ((folder / "exam/exam.json").read_text() != examined) == changed


def test_hours_are_shared_by_the_stages_and_leave_time_for_the_exam(
    write_recipe: WriteRecipe,
) -> None:
    long = {**STAGE, "epochs": 10_000}
    seconds, clock = 30, Ticking()
    recipe = write_recipe(
        stages=[{"kind": "cpt", **long}, {"kind": "sft", **long}],
        limits={"hours": seconds / 3600},
        exam={"max_new_tokens": 4, "limit": 5},
    )
    folder = run(recipe, clock=clock)
    assert seconds / 2 < clock() < seconds
    stages = [json.loads(p.read_text()) for p in sorted(folder.glob("stages/*/stage.json"))]
    assert [stage["stopped_by"] for stage in stages] == ["deadline", "deadline"]
    assert (folder / "report.html").is_file()


def test_hours_that_the_exam_alone_would_take_are_refused(write_recipe: WriteRecipe) -> None:
    with pytest.raises(RunError, match="the exam alone takes about"):
        run(write_recipe(limits={"hours": 1 / 3600}))


def test_what_is_done_again_is_not_begun_twice(
    write_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it does a stage again, a run goes on with that, also when not asked to."""
    recipe = write_recipe()
    folder = run(recipe)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lorecraft.runs.stage.run_stage", killed)
        with pytest.raises(KeyboardInterrupt):
            run(folder, redo="cpt")
    assert finished(folder) == {}
    run(folder)
    assert set(finished(folder)) == {"01-cpt", "02-sft"}


def test_a_run_cannot_start_from_itself(write_recipe: WriteRecipe) -> None:
    run(write_recipe())
    with pytest.raises(RunError, match="which this run itself makes"):
        run(write_recipe(adapter={"rank": 2, "start": "lights/sft"}))


def test_looking_at_a_run_leaves_its_recipe_alone(write_recipe: WriteRecipe) -> None:
    folder = run(write_recipe())
    before = (folder / "recipe.yaml").read_text()
    changed = write_recipe(require={"recall": 0.9})
    assert pipeline.report(changed, progress=Silent()).unmet
    assert (folder / "recipe.yaml").read_text() == before


def test_a_line_separator_in_a_record_is_no_new_line(tmp_path: Path) -> None:
    lines = [{"text": "one\u2028two\u0085three"}, {"text": "four"}]
    write_lines(tmp_path / "records.jsonl", lines)
    assert read_lines(tmp_path / "records.jsonl") == lines


def test_a_run_may_start_from_a_stage_of_another(write_recipe: WriteRecipe) -> None:
    first = run(write_recipe(name="first"))
    sft = [{"kind": "sft", **STAGE}]
    second = run(write_recipe(name="second", stages=sft, adapter={"rank": 2, "start": "first/cpt"}))
    assert adapter(second, "01-sft") == adapter(first, "02-sft")
    manifest = json.loads((second / "manifest.json").read_text())
    assert manifest["start"]["folder"].endswith("first/stages/01-cpt/adapter")
    assert "started from the adapter in" in (second / "report.md").read_text()


ALL_OF_IT = {
    "rank": 2,
    "dora": True,
    "rslora": True,
    "targets": r".*\.(mix|up)_proj",
    "rank_pattern": {"up_proj": 3},
    "alpha_pattern": {r"0\.mlp\..*": 8},
}


def test_an_adapter_of_every_kind_is_trained_kept_and_gone_on_from(
    write_recipe: WriteRecipe,
) -> None:
    first = run(write_recipe(name="first", adapter=ALL_OF_IT))
    spec, tensors = formats.load(first / "stages/01-cpt/adapter")
    assert spec.dora and spec.rslora
    assert {len(array) for name, array in tensors.items() if "up_proj.lora_A" in name} == {3}
    sft = [{"kind": "sft", **STAGE}]
    section = {**ALL_OF_IT, "start": "first/cpt"}
    second = run(write_recipe(name="second", stages=sft, adapter=section))
    assert adapter(second, "01-sft") == adapter(first, "02-sft")
    with pytest.raises(AdapterError, match="rank: 2, alpha: 32, rslora: true, dora: true, rank_pa"):
        run(write_recipe(name="third", stages=sft, adapter={**section, "dora": False}))


def test_a_smoke_run_leaves_out_what_only_the_own_model_has(write_recipe: WriteRecipe) -> None:
    section = {"dora": True, "targets": ["c_attn"], "rank_pattern": {"c_attn": 4}, "layers": 40}
    folder = pipeline.run(write_recipe(adapter=section), small=True, progress=Silent()).folder
    spec, _ = formats.load(folder / "stages/01-cpt/adapter")
    assert (spec.dora, spec.rank, spec.rank_pattern) == (True, 16, {})


def test_an_adapter_of_mlx_lm_s_form_is_a_start_too(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    first = run(write_recipe(name="first"))
    theirs = as_mlx(first / "stages/01-cpt/adapter", tmp_path / "theirs", rank=2, scale=16.0)
    sft = [{"kind": "sft", **STAGE}]
    section = {"rank": 2, "start": str(theirs)}
    second = run(write_recipe(name="second", stages=sft, adapter=section))
    assert adapter(second, "01-sft") == adapter(first, "02-sft")


def as_mlx(folder: Path, made: Path, rank: int, scale: float) -> Path:
    """PEFT's form -> mlx-lm's: other names, both matrices transposed."""
    tensors = load_file(folder / "adapter_model.safetensors")
    made.mkdir()
    theirs = {}
    for name, tensor in tensors.items():
        short = name.removeprefix("base_model.model.").removesuffix(".weight")
        theirs[short.replace("lora_A", "lora_a").replace("lora_B", "lora_b")] = (
            np.ascontiguousarray(tensor.T)
        )
    save_file(theirs, made / "adapters.safetensors")
    parameters = {"rank": rank, "scale": scale, "dropout": 0.0}
    config = {"fine_tune_type": "lora", "num_layers": -1, "lora_parameters": parameters}
    (made / "adapter_config.json").write_text(json.dumps(config))
    return made


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fine_tune_type": "full"}, "fine_tune_type full"),
        ({"fine_tune_type": "dora"}, "magnitudes for 0 modules"),
        ({"lora_parameters": {"scale": 2.0}}, "KeyError 'rank'"),
        ({"lora_parameters": {"rank": 3, "scale": 16.0}}, "rank 3, as"),
    ],
)
def test_mlx_lm_s_form_is_read_carefully(
    write_recipe: WriteRecipe, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    trained = run(write_recipe(name="first")) / "stages/01-cpt/adapter"
    theirs = as_mlx(trained, tmp_path / "theirs", rank=2, scale=16.0)
    config = json.loads((theirs / "adapter_config.json").read_text())
    (theirs / "adapter_config.json").write_text(json.dumps(config | change))
    with pytest.raises(AdapterError, match=says):
        formats.load(theirs)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        (
            {"rank": 3, "start": "first/cpt"},
            r"rank: 2, alpha: 32\n  expected: the recipe's: rank: 3",
        ),
        ({"rank": 2, "start": "first/dpo"}, "no trained stage 'dpo'"),
        ({"rank": 2, "start": "nowhere"}, "no adapter 'nowhere'"),
    ],
)
def test_a_start_that_cannot_be_is_refused_before_any_work(
    write_recipe: WriteRecipe, tmp_path: Path, section: dict[str, Any], says: str
) -> None:
    run(write_recipe(name="first"))
    with pytest.raises((AdapterError, RunError), match=says):
        run(write_recipe(name="second", adapter=section))
    assert not (tmp_path / "runs/second").exists()


def test_a_smoke_run_tries_everything_on_little(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    recipe = write_recipe(require={"recall": 1.0}, stages=[{"kind": "cpt"}, {"kind": "sft"}])
    outcome = pipeline.run(recipe, small=True, progress=Silent())
    assert outcome.folder == tmp_path / "runs/lights-smoke"
    assert outcome.unmet == ()
    stages = [json.loads(p.read_text()) for p in outcome.folder.glob("stages/*/stage.json")]
    assert [stage["steps"] for stage in stages] == [3, 3]
    records = (outcome.folder / "data/sft/train.jsonl").read_text().splitlines()
    assert len(records) == 10
    asked = [json.loads(x)["measure"] for x in (outcome.folder / "data/exam.jsonl").open()]
    assert max(asked.count(measure) for measure in asked) == 10
    assert "This was a trial" in (outcome.folder / "report.md").read_text()
    again = "lorecraft run lights.yaml --smoke --force"
    assert again in (outcome.folder / "report.md").read_text()
    pipeline.run(outcome.folder, progress=Silent())
    assert again in (outcome.folder / "report.md").read_text()


def test_an_event_cut_short_does_not_spoil_the_next(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.log("cpt", "start")
    with directory.events.open("ab") as file:
        file.write('{"time": 1, "stage": "ü'.encode()[:-1])
    directory.log("cpt", "end")
    assert [event["kind"] for event in directory.read_events()] == ["start", "end"]


def test_another_start_is_another_adapter(write_recipe: WriteRecipe) -> None:
    first = run(write_recipe(name="first"))
    sft = [{"kind": "sft", **STAGE}]
    fresh = run(write_recipe(name="fresh", stages=sft))
    assert adapter(fresh, "01-sft") != adapter(first, "02-sft")
    shutil.rmtree(fresh)
