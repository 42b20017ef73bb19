"""A sweep runs every combination once, names what fails, and chooses by validation alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lorecraft.cli import app
from lorecraft.errors import OutOfMemory, RecipeError, RunError
from lorecraft.recipe import load_recipe
from lorecraft.runs import pipeline
from lorecraft.runs import sweep as sweeping
from lorecraft.runs.dashboard import write_dashboard
from lorecraft.runs.progress import Silent
from lorecraft.runs.sweep import Swept, choose, sweep

RATES = "stages.learning_rate=1e-9,0.05"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    lines = [
        json.dumps({"prompt": f"What is in jar {n}?", "completion": f"Seed {n}."}) for n in range(9)
    ]
    (folder / "train.jsonl").write_text("\n".join(lines))
    stage = {"kind": "sft", "epochs": 1, "validate_every": 5}
    sections = {
        "engine": "fake",
        "output": str(folder / "runs"),
        "data": {"train": "train.jsonl", "valid": "train.jsonl", "general": "none"},
        "adapter": {"rank": 2},
        "stages": [stage],
        "exam": {"max_new_tokens": 2, "limit": 4},
    }
    path = folder / "jars.yaml"
    path.write_text(yaml.safe_dump(sections))
    return path


@pytest.fixture(scope="module")
def swept(recipe: Path) -> Swept:
    return run(recipe)


def run(recipe: Path, grid: str = RATES, **options: Any) -> Swept:
    return sweep(recipe, [grid], progress=Silent(), **options)


def reports(folder: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/report.html")}


def test_every_combination_is_a_run_of_its_own(swept: Swept) -> None:
    assert set(reports(swept.folder)) >= {"jars-learning_rate-1e-09", "jars-learning_rate-0.05"}
    recipe = load_recipe(swept.folder / "jars-learning_rate-0.05/recipe.yaml")
    assert (recipe.name, recipe.stages[0].learning_rate) == ("jars-learning_rate-0.05", 0.05)


def test_what_is_finished_is_skipped(recipe: Path, swept: Swept) -> None:
    before = reports(swept.folder)
    again = run(recipe)
    assert reports(swept.folder) == before
    assert again.data.rows == swept.data.rows


def test_the_lowest_validation_error_is_chosen(swept: Swept) -> None:
    errors = {row["name"]: row["valid_error"] for row in swept.data.rows}
    assert swept.data.chosen == min(errors, key=errors.__getitem__)
    stored = json.loads((swept.folder / "sweep.json").read_text())
    assert stored["chosen"] == swept.data.chosen and "lowest validation error" in stored["why"]
    assert f"Chosen is {swept.data.chosen}: " in (swept.folder / "sweep.html").read_text()
    assert (swept.folder / "sweep.md").read_text().count("**chosen**") == 1
    assert (swept.folder / "pictures/valid_error-by-stages-learning-rate.svg").is_file()


def test_validation_on_other_records_chooses_nothing() -> None:
    def row(name: str, error: float | None, records: str = "a", recall: float = 0.5) -> Any:
        figures = {"recall": {"rate": recall}}
        return {"name": name, "valid_error": error, "validated_on": records, "measures": figures}

    assert choose([row("x", 0.2, recall=1.0), row("y", 0.1, recall=0.0)])[0] == "y"
    assert choose([row("x", 0.2), row("y", None)])[0] == "x"
    name, why = choose([row("x", 0.2), row("y", 0.1, records="b")])
    assert name is None and "do not compare" in why
    assert choose([row("x", None)])[0] is None


def test_one_that_fails_is_named_and_the_others_stand(
    recipe: Path, swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(target: Path, **options: Any) -> None:
        raise OutOfMemory("<b>no room</b>")

    more = f"{RATES},0.1"
    with monkeypatch.context() as patch:
        patch.setattr(sweeping.pipeline, "run", failing)
        result = CliRunner().invoke(app, ["sweep", str(recipe), "--grid", more])
    assert result.exit_code == 2
    assert "1 of 3 combinations failed: jars-learning_rate-0.1" in result.stderr
    assert f"Chosen is {swept.data.chosen}" in result.stdout
    assert "&lt;b&gt;no room" in (swept.folder / "sweep.html").read_text()
    before = reports(swept.folder)
    assert run(recipe, more).failed == []
    after = reports(swept.folder)
    assert after.keys() - before == {"jars-learning_rate-0.1"}
    assert after.items() > before.items()


def test_what_is_stopped_says_how_far_it_is(
    recipe: Path, swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(target: Path, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sweeping.pipeline, "run", stopped)
        result = CliRunner().invoke(app, ["sweep", str(recipe), "--grid", f"{RATES},7.0"])
    assert result.exit_code == 130 and "goes on where it was" in result.stderr
    rows = json.loads((swept.folder / "sweep.json").read_text())["variants"]
    assert [row["state"] for row in rows] == ["finished", "finished", "waiting"]


def test_nothing_runs_where_a_key_is_wrong(recipe: Path, tmp_path: Path) -> None:
    file = moved(recipe, tmp_path)
    with pytest.raises(RecipeError, match="did you mean rank"):
        run(file, "adapter.rnak=1,2")
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_something_else_is_left_alone(recipe: Path, tmp_path: Path) -> None:
    file, folder = moved(recipe, tmp_path), tmp_path / "runs/jars-sweep"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="no sweep's folder"):
        run(file)
    (folder / "mine.txt").unlink()
    (folder / "sweep.json").write_text(json.dumps({"recipe": str(recipe)}))
    with pytest.raises(RunError, match="is the sweep of"):
        run(file)


def test_a_trial_is_a_sweep_of_its_own(recipe: Path, tmp_path: Path) -> None:
    found = run(moved(recipe, tmp_path), "adapter.rank=1", small=True)
    assert found.folder.name == "jars-sweep-smoke"
    assert "This was a trial" in (found.folder / "sweep.html").read_text()
    assert (found.folder / "jars-rank-1-smoke/report.html").is_file()


def test_a_sweep_and_other_runs_share_a_dashboard(
    recipe: Path, swept: Swept, tmp_path: Path
) -> None:
    begun = pipeline.prepare(moved(recipe, tmp_path), progress=Silent()).folder
    write_dashboard([swept.folder, begun], tmp_path / "page.html", tmp_path / "pictures")
    page = (tmp_path / "page.html").read_text()
    for name in ("learning_rate-1e-09", "learning_rate-0.05", "jars"):
        assert f">{name}</td>" in page
    assert "prepared" in page and "stages.sft.learning_rate" in page
    drawn = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert drawn >= {"validation", "curves-sft", "pipeline-1"}
    with pytest.raises(RunError, match="is no run"):
        write_dashboard([tmp_path], tmp_path / "page.html")


def moved(recipe: Path, folder: Path) -> Path:
    """The same recipe, whose runs are in another folder."""
    sections = yaml.safe_load(recipe.read_text())
    sections["output"] = str(folder / "runs")
    sections["data"] |= dict.fromkeys(("train", "valid"), str(recipe.parent / "train.jsonl"))
    file = folder / "jars.yaml"
    file.write_text(yaml.safe_dump(sections))
    return file
