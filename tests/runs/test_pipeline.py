"""The path of a run: what it writes, what it skips, what it survives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorecraft.errors import DataError, LorecraftError, RecipeError, RunError
from lorecraft.knowledge.general import rehearsal
from lorecraft.recipe import load_recipe
from lorecraft.runs import pipeline
from lorecraft.runs import prepare as preparing
from lorecraft.runs.directory import RunDirectory, list_runs
from lorecraft.runs.progress import Silent

WriteRecipe = Callable[..., Path]


def run(recipe: Path, **options: Any) -> pipeline.Outcome:
    return pipeline.run(recipe, progress=Silent(), **options)


def adapters(folder: Path) -> dict[str, str]:
    """Stage -> sha256 of its adapter."""
    return {
        path.parent.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("stages/*/adapter/adapter_model.safetensors"))
    }


def times(folder: Path) -> dict[str, int]:
    """When each finished part was finished."""
    finished = (*folder.glob("stages/*/stage.json"), folder / "exam/exam.json")
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in finished} | {
        "data": (folder / "data/prepared.json").stat().st_mtime_ns
    }


def test_a_run_leaves_everything_that_its_folder_promises(write_recipe: WriteRecipe) -> None:
    folder = run(write_recipe()).folder
    promised = (
        "recipe.yaml manifest.json events.jsonl report.html report.md data/exam.jsonl "
        "data/audit.json data/cpt/train.jsonl data/sft/valid.jsonl exam/answers.jsonl "
        "exam/verdict.json stages/01-cpt/adapter/adapter_config.json "
        "stages/02-sft/adapter/adapter_model.safetensors"
    )
    assert [name for name in promised.split() if not (folder / name).is_file()] == []


def test_every_model_answers_every_question(write_recipe: WriteRecipe) -> None:
    folder = run(write_recipe()).folder
    questions = (folder / "data/exam.jsonl").read_text().splitlines()
    answers = [
        json.loads(line) for line in (folder / "exam/answers.jsonl").read_text().splitlines()
    ]
    assert len(answers) == 3 * len(questions)
    assert {answer["model"] for answer in answers} == {"base", "cpt", "sft"}


def test_what_is_finished_is_skipped(write_recipe: WriteRecipe) -> None:
    recipe = write_recipe()
    first = times(run(recipe).folder)
    assert times(run(recipe).folder) == first


def test_force_does_it_again_and_comes_to_the_same(write_recipe: WriteRecipe) -> None:
    recipe = write_recipe()
    folder = run(recipe).folder
    first, made = times(folder), adapters(folder)
    run(recipe, redo="prepare")
    assert all(times(folder)[part] > first[part] for part in first)
    assert adapters(folder) == made


def test_a_changed_setting_redoes_its_stage_and_what_comes_after(
    write_recipe: WriteRecipe,
) -> None:
    stage = {"epochs": 1, "learning_rate": 0.01, "general": 0.3, "validate_every": 5}
    stages = [{"kind": "cpt", **stage}, {"kind": "sft", **stage}]
    folder = run(write_recipe(stages=stages)).folder
    before = times(folder)
    stages[1]["learning_rate"] = 0.02
    run(write_recipe(stages=stages))
    changed = {part for part, when in times(folder).items() if when != before[part]}
    assert changed == {"stages/02-sft/stage.json", "exam/exam.json"}


def test_a_changed_fact_redoes_everything(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    recipe = write_recipe()
    folder = run(recipe).folder
    before = times(folder)
    facts = tmp_path / "facts.jsonl"
    facts.write_text(facts.read_text().replace("1931", "1932"))
    run(recipe)
    assert all(times(folder)[part] > before[part] for part in before)


def test_the_second_stage_starts_from_the_first_one_s_adapter(write_recipe: WriteRecipe) -> None:
    folder = run(write_recipe()).folder
    events = RunDirectory(folder).read_events()
    starts = {e["stage"]: e["start"] for e in events if e["kind"] == "start"}
    assert starts["cpt"] == ""
    assert starts["sft"].endswith("stages/01-cpt/adapter")


def test_the_same_recipe_gives_the_same_adapters_elsewhere(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    first = adapters(run(write_recipe()).folder)
    second = adapters(run(write_recipe(output=str(tmp_path / "elsewhere"))).folder)
    assert first == second


def test_the_recipe_in_the_folder_is_the_run_s_recipe(write_recipe: WriteRecipe) -> None:
    path = write_recipe()
    folder = run(path).folder
    assert load_recipe(folder / "recipe.yaml") == load_recipe(path)
    before = times(folder)
    assert times(pipeline.run(folder, progress=Silent()).folder) == before


def test_two_processes_do_not_share_a_folder(write_recipe: WriteRecipe) -> None:
    recipe = write_recipe()
    with (
        RunDirectory(load_recipe(recipe).output / "lights").locked(),
        pytest.raises(RunError, match="in use by process"),
    ):
        run(recipe)


def test_a_folder_of_the_user_s_own_is_left_alone(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    own = tmp_path / "mine" / "data" / "notes.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        run(write_recipe(name="mine", output=str(tmp_path)))
    assert own.read_text() == "mine"


def test_another_recipe_does_not_take_over_a_run(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    recipe = write_recipe()
    pipeline.prepare(recipe, progress=Silent())
    other = recipe.with_name("other.yaml")
    other.write_text(recipe.read_text())
    with pytest.raises(RunError, match=r"is the run of .*lights\.yaml"):
        pipeline.prepare(other, progress=Silent())


def test_a_missed_requirement_is_told(write_recipe: WriteRecipe) -> None:
    outcome = run(write_recipe(require={"recall": 0.9}))
    assert len(outcome.unmet) == 1
    assert "recall" in outcome.unmet[0] and "90%" in outcome.unmet[0]
    assert outcome.report is not None and outcome.report.is_file()


def test_runs_are_listed_with_what_is_done(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    recipe = write_recipe()
    pipeline.prepare(recipe, progress=Silent())
    assert [(r.name, r.state) for r in list_runs(tmp_path / "runs")] == [("lights", "prepared")]
    run(recipe)
    (summary,) = list_runs(tmp_path / "runs")
    assert (summary.state, summary.stages) == ("reported", ("01-cpt", "02-sft"))


def _as_chat(question: str, answer: str) -> dict[str, object]:
    roles = zip(("user", "assistant"), (question, answer), strict=True)
    return {"messages": [{"role": role, "content": content} for role, content in roles]}


@pytest.mark.parametrize(
    "form",
    [
        _as_chat,
        lambda question, answer: {"prompt": question, "completion": answer},
        lambda question, answer: {"text": f"{question} {answer}"},
    ],
    ids=["chat", "prompt-completion", "text"],
)
def test_ready_made_records_are_trained_as_they_are(
    write_recipe: WriteRecipe, tmp_path: Path, form: Callable[[str, str], dict[str, object]]
) -> None:
    turns = [(item.questions[0], item.answer) for item in rehearsal()[::40]]
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps(form(*turn)) for turn in turns))
    recipe = write_recipe(
        knowledge=None,
        data={"train": "train.jsonl", "general": "none"},
        stages=[{"kind": "sft", "epochs": 1}],
    )
    folder = run(recipe).folder
    parts = [(folder / f"data/sft/{part}.jsonl").read_text() for part in ("train", "valid")]
    sizes = [len(part.splitlines()) for part in parts]
    assert sum(sizes) == len(turns)
    assert sizes[1] == round(0.1 * len(turns))
    assert (folder / "stages/01-sft/adapter/adapter_model.safetensors").is_file()


def test_bare_sentences_become_texts_turns_and_questions(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    recipe = write_recipe(knowledge={"facts": "sentences.jsonl"})
    (tmp_path / "sentences.jsonl").write_text(
        '{"text": "Lumen Pier was painted white in 1960."}\n'
        '{"text": "Tern Rock has a lamp of 400 watts."}\n'
    )
    folder = run(recipe).folder
    measures = [json.loads(x)["measure"] for x in (folder / "data/exam.jsonl").open()]
    assert measures.count("completion") == 2
    assert measures.count("recall") >= 2
    assert "Tell me about Tern Rock." in (folder / "data/sft/train.jsonl").read_text()


def test_a_stage_without_records_is_refused(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    recipe = write_recipe(
        knowledge=None, data={"train": "train.jsonl"}, stages=[{"kind": "cpt"}, {"kind": "sft"}]
    )
    with pytest.raises(DataError, match="stage cpt has no records"):
        run(recipe)


def test_a_broken_recipe_leaves_nothing_behind(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError):
        run(write_recipe(adapter={"rank": 0}))
    assert not (tmp_path / "runs").exists()


def test_examine_and_report_train_nothing(write_recipe: WriteRecipe) -> None:
    recipe = write_recipe()
    with pytest.raises(RunError, match="no trained cpt and no sft"):
        pipeline.examine(recipe, progress=Silent())
    pipeline.train(recipe, progress=Silent())
    with pytest.raises(RunError, match="not examined yet"):
        pipeline.report(recipe, progress=Silent())
    assert pipeline.examine(recipe, progress=Silent()).verdict is not None
    facts = recipe.with_name("facts.jsonl")
    facts.write_text(facts.read_text().replace("1931", "1932"))
    folder = recipe.parent / "runs/lights"
    before = times(folder)
    outcome = pipeline.report(recipe, progress=Silent())
    pipeline.examine(recipe, progress=Silent())
    assert times(folder) == before
    assert outcome.report is not None and outcome.report.is_file()


def test_other_code_prepares_and_examines_again_but_trains_nothing_twice(
    write_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe()
    folder = run(recipe).folder
    before = times(folder)
    monkeypatch.setattr("lorecraft.runs.manifest.code_version", lambda: "another version")
    run(recipe)
    changed = {part for part, when in times(folder).items() if when != before[part]}
    assert changed == {"data", "exam/exam.json"}


def test_a_recipe_may_move_with_its_files(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    folder = run(write_recipe()).folder
    before = times(folder)
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("facts.jsonl", "ontology.yaml", "general.jsonl", "lights.yaml"):
        (tmp_path / name).rename(moved / name)
    run(moved / "lights.yaml")
    assert times(folder) == before


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"adapter": {"rank": 2, "targets": ["q_proj"]}}, "q_proj"),
        ({"model": {"path": "nobody/nothing"}}, "nobody/nothing"),
    ],
    ids=["adapter", "model"],
)
def test_what_the_model_cannot_do_is_found_before_any_work(
    write_recipe: WriteRecipe, tmp_path: Path, sections: dict[str, object], says: str
) -> None:
    with pytest.raises(LorecraftError, match=says):
        run(write_recipe(**sections))
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_record_that_a_later_stage_cannot_train_is_found_before_the_first(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    bad = {"messages": [{"role": "wizard", "content": "Hi"}, _as_chat("", "Hello.")["messages"][1]]}
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps(bad) for _ in range(20)))
    with pytest.raises(DataError, match="wizard"):
        run(write_recipe(data={"train": "train.jsonl", "general": "general.jsonl"}))
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_question_that_the_user_s_records_ask_is_left_out_of_the_exam(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    question = "Which year did Lumen Pier begin in?"
    lines = [_as_chat(question, "Lumen Pier opened in 1931."), *map(_as_chat, "abc", "def")]
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    exam: dict[str, Any] = {"exam": {"max_new_tokens": 4}}
    own = {"data": {"train": "train.jsonl", "general": "general.jsonl"}}
    folders = [
        pipeline.prepare(write_recipe(name=name, **more), progress=Silent()).folder
        for name, more in (("without", exam), ("with", own | exam))
    ]
    asked = [(folder / "data/exam.jsonl").read_text().count(question) for folder in folders]
    audits = [json.loads((folder / "data/audit.json").read_text()) for folder in folders]
    assert asked == [1, 0]
    assert [audit["exam"]["left_out"] for audit in audits] == [0, 1]


def test_sources_that_cannot_be_used_leave_no_folder(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    recipe = write_recipe()
    (tmp_path / "facts.jsonl").write_text('{"text": ""}')
    with pytest.raises(DataError):
        run(recipe)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_source_that_changes_while_the_data_are_prepared_is_told_of(
    write_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe()
    facts = load_recipe(recipe).knowledge.facts
    save = preparing.save

    def edited(*given: object) -> None:
        save(*given)
        facts.write_text(facts.read_text("utf-8") + "\n", "utf-8")

    with monkeypatch.context() as patched:
        patched.setattr(preparing, "save", edited)
        with pytest.raises(DataError, match="changed while it was read"):
            pipeline.prepare(recipe, progress=Silent())
    pipeline.prepare(recipe, progress=Silent())


def test_a_run_that_cannot_fit_keeps_what_was_prepared(
    write_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorecraft.runs import plan

    recipe = write_recipe()

    def refused(self: object) -> None:
        raise RunError("too large", "less")

    monkeypatch.setattr(plan.Plan, "check", refused)
    with pytest.raises(RunError, match="too large"):
        run(recipe)
    assert (load_recipe(recipe).output / "lights" / "data" / "prepared.json").exists()
