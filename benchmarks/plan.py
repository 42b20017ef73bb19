"""What `lorecraft plan` says beforehand, beside what the run then takes.

Run by `make bench`, on a machine that does nothing else. For some steps it teaches the company of
the examples to the embedded model, and to one of 135 million made-up weights in the shape of
SmolLM2-135M. Memory is the operating system's peak of the whole process. Writes
benchmarks/results/plan.json.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import _shared
import yaml

ROOT = Path(__file__).parents[1]
COMPANY = ROOT / "examples" / "company"
RESULTS = ROOT / "benchmarks" / "results" / "plan.json"
GOALS = {"memory": 0.15, "time": 0.30}

SMOLLM2 = _shared.M135 | {
    "max_position_embeddings": 2048,
    "bos_token_id": None,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def main() -> None:
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, recipe in RECIPES.items():
            results[name] = _compare(recipe(Path(folder)), Path(folder))
            _show(name, results[name])
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _compare(recipe: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Each figure as planned and as measured: seconds, and bytes."""
    command = [sys.executable, "-c", "from lorecraft.cli import main; main()", "run", str(recipe)]
    process = subprocess.Popen(command, cwd=folder)
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 3):  # 3: a requirement was not met
        sys.exit(f"{recipe} did not run")
    run = next(path.parent for path in folder.glob("runs/*/plan.json"))
    plan = json.loads((run / "plan.json").read_text("utf-8"))
    figures = {"memory": _pair(plan["memory"]["peak"], _bytes(used.ru_maxrss))}
    stages = sorted(run.glob("stages/*/stage.json"))
    for planned, stage in zip(plan["stages"], stages, strict=True):
        figures[planned["name"]] = _pair(planned["seconds"], _seconds(stage))
    figures["exam"] = _pair(plan["exam"]["seconds"], _seconds(run / "exam" / "exam.json"))
    parts = [pair for name, pair in figures.items() if name != "memory"]
    figures["time"] = _pair(sum(p["planned"] for p in parts), sum(p["measured"] for p in parts))
    shutil.rmtree(run)
    return figures


def _pocket(folder: Path) -> Path:
    return _recipe(folder, "pocket", steps=300)


def _135m(folder: Path) -> Path:
    """A model in SmolLM2-135M's shape, the weights made up."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model = folder / "model-135m"
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SMOLLM2)).to(torch.bfloat16).save_pretrained(model)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(_shared.POCKET / name, model)
    return _recipe(folder, str(model), steps=30, exam={"limit": 32, "max_new_tokens": 8})


RECIPES = {"pocket": _pocket, "135M": _135m}


def _recipe(folder: Path, model: str, steps: int, **sections: Any) -> Path:
    """The example's, for so many steps a stage."""
    recipe: dict[str, Any] = yaml.safe_load((COMPANY / "recipe.yaml").read_text("utf-8"))
    recipe |= {"name": "run", "model": {"path": model}, "require": {}, **sections}
    recipe["knowledge"] = {key: str(COMPANY / file) for key, file in recipe["knowledge"].items()}
    for stage in recipe["stages"]:
        stage["limits"] = {"steps": steps}
    path = folder / f"{Path(model).name}.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def _pair(planned: float, measured: float) -> dict[str, float]:
    return {
        "planned": round(planned, 2),
        "measured": round(measured, 2),
        "off": round(planned / measured - 1, 3),
    }


def _seconds(file: Path) -> float:
    return float(json.loads(file.read_text("utf-8"))["seconds"])


def _bytes(peak: int) -> int:
    return peak if sys.platform == "darwin" else 1024 * peak


def _show(name: str, figures: dict[str, dict[str, float]]) -> None:
    print(f"{name:8} {'planned':>10} {'measured':>10} {'off':>7}")
    for figure, pair in figures.items():
        unit, scale = ("MB", 1e6) if figure == "memory" else ("s", 1.0)
        planned, measured = (f"{pair[k] / scale:.0f} {unit}" for k in ("planned", "measured"))
        goal = f"  (goal {GOALS[figure]:.0%})" if figure in GOALS else ""
        print(f"{figure:8} {planned:>10} {measured:>10} {pair['off']:>+7.1%}{goal}")


if __name__ == "__main__":
    main()
