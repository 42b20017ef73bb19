"""What `lorecraft plan` shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from lorecraft.cli import app
from lorecraft.cli.plan import _room, _work
from lorecraft.runs.memory import MemoryPlan
from lorecraft.runs.plan import Disk, ExamPlan, Plan, StagePlan

PLAN = Plan(
    model="owner/model",
    stages=[StagePlan("sft", 1200, 100, 300, 45_678, 900, 7, 4, seconds=3723.4)],
    exam=ExamPlan(150, 2, seconds=61.0),
    disks=[
        Disk("/data/runs", 3_200_000_000, 9 * 10**9, {"data": 2 * 10**8, "checkpoints": 3 * 10**9})
    ],
    download={"model.safetensors": 5_000_000_000},
    device="cuda",
    dtype="bfloat16",
    parameters=2_500_000_000,
    trained=1_234_567,
    memory=MemoryPlan(7 * 10**9, "training sft", {"weights": 5 * 10**9}, 16 * 10**9, 7 * 10**9, []),
)


def shown(plan: Plan) -> list[str]:
    """The words of each line."""
    console = Console(width=160, record=True)
    with console.capture() as captured:
        console.print(_work(plan))
        console.print(_room(plan))
    return [" ".join(line.replace("│", " ").split()) for line in captured.get().splitlines()]


@pytest.mark.parametrize(
    "line",
    [
        "owner/model: 2,500,000,000 parameters, 1,234,567 trained; bfloat16 on cuda",
        "sft 1,200 100 300 45,678 900 7 4 1:02 h",
        "exam 150 questions 1:01 min",
        "all 1:03 h",
        "memory, training sft 7.0 GB 16.0 GB weights 5.0 GB",
        "disk, /data/runs 3.2 GB 9.0 GB data 200 MB, checkpoints 3.0 GB",
        "download 5.0 GB - model.safetensors 5.0 GB",
    ],
)
def test_every_figure_of_a_plan_is_shown(line: str) -> None:
    assert line in shown(PLAN)


def test_a_plan_that_does_not_fit_is_shown_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.jsonl").write_text('{"prompt": "Hi", "completion": "Ho"}\n' * 20)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("engine: fake\nname: own\ndata: {train: train.jsonl, general: none}\n")
    monkeypatch.setattr("lorecraft.runs.plan._free", lambda folder: 1000)
    result = CliRunner().invoke(app, ["plan", str(recipe)])
    assert result.exit_code == 2
    assert "parameters" in result.stdout
    assert "0 MB are free" in result.stderr


def test_what_is_not_known_is_said() -> None:
    unknown = replace(
        PLAN,
        stages=[StagePlan("sft", 1200, 100, 300)],
        exam=ExamPlan(150, 2),
        download=None,
        parameters=None,
        memory=None,
    )
    lines = shown(unknown)
    assert "owner/model: not here, and the hub is out of reach" in lines
    assert "sft 1,200 100 300 - - - - -" in lines
    assert "download not known" in lines
