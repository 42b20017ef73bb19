"""What a run's folder holds, read for a comparison of runs; nothing is computed or changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lorecraft.evaluation.exam import Answer
from lorecraft.evaluation.questions import Question
from lorecraft.recipe.schema import stages_named
from lorecraft.recipe.source import read
from lorecraft.reports.data import Results
from lorecraft.runs.directory import RunDirectory, summary_of
from lorecraft.runs.files import read_json, read_lines


def read_results(directory: RunDirectory, *, answers: bool = False) -> Results:
    """As far as the run has come; with ``answers`` also every question and what was said."""
    # Not checked: what the run was made from may be gone, or on another machine.
    recipe = read(directory.recipe.read_text("utf-8")).value
    kinds = [stage["kind"] for stage in recipe["stages"]]
    events = directory.read_events()
    stages = {
        name: _json(directory.stage(number, kind) / "stage.json")
        or {"curves": _curves(events, name)}
        for number, (name, kind) in enumerate(zip(stages_named(kinds), kinds, strict=True), 1)
    }
    verdict = _json(directory.exam / "verdict.json")
    parts = [stage.get("seconds") for stage in stages.values()]
    parts.append(_json(directory.exam / "exam.json").get("seconds"))
    known = [part for part in parts if part is not None]
    examined = answers and bool(verdict)
    return Results(
        name=directory.folder.name,
        state=summary_of(directory).state,
        recipe=recipe | {"stages": dict(zip(stages, recipe["stages"], strict=True))},
        stages=stages,
        verdict=verdict,
        questions=[*map(Question.from_json, _lines(directory.data / "exam.jsonl", examined))],
        answers=[*map(Answer.from_json, _lines(directory.exam / "answers.jsonl", examined))],
        audit=_json(directory.data / "audit.json"),
        manifest=read_json(directory.manifest),
        seconds=sum(known) if known else None,
    )


def _json(file: Path) -> dict[str, Any]:
    return dict(read_json(file)) if file.exists() else {}


def _lines(file: Path, wanted: bool) -> list[dict[str, Any]]:
    return read_lines(file) if wanted and file.exists() else []


def _curves(events: Iterable[Mapping[str, Any]], stage: str) -> list[dict[str, float]]:
    """The points of a stage that is not finished; what was done twice, as it was the last time."""
    steps: dict[tuple[str, int], dict[str, float]] = {}
    for event in events:
        if event.get("stage") != stage or event["kind"] not in ("step", "valid"):
            continue
        at = event["step"]
        point = {"step": at, "loss": event["loss"]}
        if event["kind"] == "valid":
            point = {"step": at, "valid_loss": event["loss"], "valid_error": event["error"]}
        steps[event["kind"], at] = point
    return [steps[key] for key in sorted(steps, key=lambda key: key[1])]
