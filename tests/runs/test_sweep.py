"""A sweep runs every combination once, names what fails, and chooses by validation alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lorecraft.cli import app
from lorecraft.errors import OutOfMemory, RecipeError, RunError
from lorecraft.runs import pipeline
from lorecraft.runs import sweep as sweeping
from lorecraft.runs.dashboard import write_dashboard
from lorecraft.runs.progress import Silent
from lorecraft.runs.sweep import Swept, choose, sweep

WriteRecipe = Callable[..., Path]
STAGE = {"kind": "sft", "epochs": 1, "learning_rate": 0.01, "general": 0.0, "validate_every": 5}
RANKS = ["adapter.rank=1,2"]


@pytest.fixture
def recipe(write_recipe: WriteRecipe) -> Path:
    return write_recipe(
        name="lights",
        data={"general": "none"},
        stages=[STAGE],
        exam={"max_new_tokens": 2, "limit": 4},
    )


def run(recipe: Path, grid: list[str] = RANKS, **options: Any) -> Swept:
    return sweep(recipe, grid, progress=Silent(), **options)


def reports(folder: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/report.html")}


def test_every_combination_is_a_run_and_what_is_finished_is_skipped(recipe: Path) -> None:
    first = run(recipe)
    made = reports(first.folder)
    assert set(made) == {"lights-rank-1", "lights-rank-2"}
    config = first.folder / "lights-rank-2/stages/01-sft/adapter/adapter_config.json"
    assert json.loads(config.read_text())["r"] == 2
    more = run(recipe, ["adapter.rank=1,2,4"])
    assert {name: made[name] for name in made} == {
        name: when for name, when in reports(more.folder).items() if name in made
    }
    assert [row["state"] for row in more.data.rows] == ["finished"] * 3


def test_the_lowest_validation_error_is_chosen_whatever_the_exam_says(recipe: Path) -> None:
    found = run(recipe, ["stages.learning_rate=1e-9,0.05"])
    errors = [row["valid_error"] for row in found.data.rows]
    assert found.data.chosen == found.data.rows[errors.index(min(errors))]["name"]
    stored = json.loads((found.folder / "sweep.json").read_text())
    assert stored["chosen"] == found.data.chosen and "lowest validation error" in stored["why"]
    page = (found.folder / "sweep.html").read_text()
    assert f"Chosen is {found.data.chosen}: " in page
    assert (found.folder / "sweep.md").read_text().count("**chosen**") == 1
    assert (found.folder / "pictures/recall-by-stages-learning-rate.svg").is_file()


def test_validation_on_other_records_chooses_nothing() -> None:
    def row(name: str, error: float | None, records: str = "a", recall: float = 0.5) -> Any:
        figures = {"recall": {"rate": recall}}
        return {"name": name, "valid_error": error, "validated_on": records, "measures": figures}

    assert choose([row("x", 0.2, recall=1.0), row("y", 0.1, recall=0.0)])[0] == "y"
    assert choose([row("x", 0.2), row("y", None)])[0] == "x"
    name, why = choose([row("x", 0.2), row("y", 0.1, records="b")])
    assert name is None and "do not compare" in why
    assert choose([row("x", None)])[0] is None


def test_one_that_fails_is_named_and_the_others_run(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pipeline.run

    def failing(target: Path, **options: Any) -> pipeline.Outcome:
        if "rank-1" in target.name:
            raise OutOfMemory("<b>no room</b>")
        return real(target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(sweeping.pipeline, "run", failing)
        monkeypatch.chdir(recipe.parent)
        result = CliRunner().invoke(app, ["sweep", str(recipe), "--grid", RANKS[0]])
    assert result.exit_code == 2
    assert "1 of 2 combinations failed: lights-rank-1" in result.stderr
    folder = recipe.parent / "runs/lights-sweep"
    assert "Chosen is lights-rank-2" in result.stdout
    assert "&lt;b&gt;no room" in (folder / "sweep.html").read_text()
    assert run(recipe).failed == []  # the same command runs it alone


def test_what_is_stopped_goes_on(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = pipeline.run

    def stopped(target: Path, **options: Any) -> pipeline.Outcome:
        if "rank-2" in target.name:
            raise KeyboardInterrupt
        return real(target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(sweeping.pipeline, "run", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(recipe)
    folder = recipe.parent / "runs/lights-sweep"
    states = [row["state"] for row in json.loads((folder / "sweep.json").read_text())["variants"]]
    assert states == ["finished", "waiting"]
    before = reports(folder)
    assert run(recipe).data.finished and reports(folder).items() > before.items()


def test_nothing_runs_where_a_key_is_wrong(recipe: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean rank"):
        run(recipe, ["adapter.rnak=1,2"])
    assert not (recipe.parent / "runs").exists()


def test_a_folder_of_something_else_is_left_alone(recipe: Path) -> None:
    folder = recipe.parent / "runs/lights-sweep"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="no sweep's folder"):
        run(recipe)
    (folder / "mine.txt").unlink()
    other = recipe.with_name("other.yaml")
    shutil.copy(recipe, other)
    (folder / "sweep.json").write_text(json.dumps({"recipe": str(other)}))
    with pytest.raises(RunError, match="is the sweep of"):
        run(recipe)


def test_a_trial_is_a_sweep_of_its_own(recipe: Path) -> None:
    found = run(recipe, ["adapter.rank=1"], small=True)
    assert found.folder.name == "lights-sweep-smoke"
    assert "This was a trial" in (found.folder / "sweep.html").read_text()
    assert (found.folder / "lights-rank-1-smoke/report.html").is_file()


def test_a_sweep_and_other_runs_share_a_dashboard(recipe: Path, tmp_path: Path) -> None:
    folder = run(recipe).folder
    begun = tmp_path / "runs/begun"
    pipeline.prepare(_renamed(recipe, "begun"), progress=Silent())
    write_dashboard([folder, begun], tmp_path / "page.html", tmp_path / "pictures")
    page = (tmp_path / "page.html").read_text()
    assert ">rank-1</td>" in page and ">rank-2</td>" in page and ">begun</td>" in page
    assert "adapter.rank" in page and "not trained yet" not in page.split("Training")[0]
    assert {path.stem for path in (tmp_path / "pictures").iterdir()} >= {"recall", "curves-sft"}
    with pytest.raises(RunError, match="is no run"):
        write_dashboard([tmp_path], tmp_path / "page.html")


def _renamed(recipe: Path, name: str) -> Path:
    file = recipe.with_name(f"{name}.yaml")
    file.write_text(recipe.read_text().replace("name: lights", f"name: {name}"))
    return file
