"""A run's stored results -> ``report.html`` and ``report.md``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from lorecraft.evaluation.exam import Answer
from lorecraft.evaluation.measures import requirements
from lorecraft.knowledge.strictness import LeftOut
from lorecraft.recipe import Recipe, to_yaml
from lorecraft.reports import html, markdown
from lorecraft.reports.data import ReportData
from lorecraft.runs.directory import RunDirectory
from lorecraft.runs.files import read_json, read_lines, write_text
from lorecraft.runs.prepare import Prepared
from lorecraft.runs.progress import trouble
from lorecraft.runs.telling import summary

STOPPED = {
    "steps": "ran all {steps} steps",
    "patience": "stopped early after {steps} steps, because validation no longer gained",
    "deadline": "was stopped by its deadline after {steps} steps; `lorecraft resume` goes on",
    "tokens": "had seen its tokens after {steps} steps",
    "nan": "stopped after {steps} steps, because the loss was not finite three times",
}
TRIAL = (
    "This was a trial (--smoke) on the embedded model and a few records: its figures say that the "
    "recipe works, and nothing of what a model learns."
)


def write_report(
    recipe: Recipe, directory: RunDirectory, models: list[str], prepared: Prepared
) -> None:
    """Write both reports from what the run directory holds; nothing is computed again."""
    data = collect(recipe, directory, models, prepared)
    write_text(directory.folder / "report.md", markdown.render(data))
    write_text(directory.report, html.render(data))


def collect(
    recipe: Recipe, directory: RunDirectory, models: list[str], prepared: Prepared
) -> ReportData:
    """Everything that a report shows."""
    verdict = read_json(directory.exam / "verdict.json")
    require = recipe.require
    verdict["requirements"] = requirements(verdict, require.measures(), require.at, models[-1])
    stages = {
        name: read_json(folder / "stage.json") for name, folder in directory.stages(recipe).items()
    }
    manifest = read_json(directory.manifest)
    smoke = "--smoke " if manifest.get("smoke") else ""
    answers = [Answer.from_json(line) for line in read_lines(directory.exam / "answers.jsonl")]
    return ReportData(
        name=recipe.name,
        created=datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z"),
        verdict=verdict,
        questions=prepared.questions,
        answers=answers,
        curves={name: stage["curves"] for name, stage in stages.items()},
        audit=prepared.audit,
        recipe=to_yaml(recipe),
        manifest=manifest | {"timings": _timings(stages, directory)},
        events=[
            *([TRIAL] if smoke else []),
            *_start_sentence(manifest),
            *(f"{name} {stage_sentence(stage)}" for name, stage in stages.items()),
            *(f"{n}: {told}." for n, stage in stages.items() for told in stage.get("lengths", ())),
            *_left_out(directory),
            *(f"{line}." for line in summary(prepared.audit.get("teller"))),
            *_trouble(directory),
        ],
        reproduce=[
            f"# lorecraft {manifest['versions']['lorecraft']}; sources by sha256: manifest.json",
            f"lorecraft run {directory.origin.name} {smoke}--force",
        ],
    )


def _start_sentence(manifest: dict[str, Any]) -> list[str]:
    start = manifest.get("start")
    return [f"The first stage started from the adapter in {start['folder']}."] if start else []


def _left_out(directory: RunDirectory) -> list[str]:
    """What `--keep-going` did not use, since the data were last prepared."""
    events = [event for event in directory.read_events() if event["stage"] == "prepare"]
    told: dict[str, None] = {}
    for event in events:
        if event["kind"] == "end":
            told = {}
        elif event["kind"] == "left_out":
            some = LeftOut(event["unit"], event["count"], event["seen"])
            told[f"{some.told}: {'; '.join(some.seen.splitlines())}."] = None
    return [sentence[0].upper() + sentence[1:] for sentence in told]


def _trouble(directory: RunDirectory) -> list[str]:
    """What went wrong on the way, and what became of it."""
    return [
        f"{event['stage']}: {told}."
        for event in directory.read_events()
        if (told := trouble(event["kind"], event)) is not None
    ]


def _timings(stages: dict[str, dict[str, Any]], directory: RunDirectory) -> dict[str, str]:
    seconds = {name: stage["seconds"] for name, stage in stages.items()}
    seconds["exam"] = read_json(directory.exam / "exam.json")["seconds"]
    return {name: f"{value:.0f} s" for name, value in seconds.items()}


def stage_sentence(stage: dict[str, Any]) -> str:
    """How a stage ended, its name to be put before."""
    told = STOPPED.get(stage["stopped_by"], "ended after {steps} steps ({stopped_by})")
    sentence, pairs = told.format(**stage), stage.get("pairs")
    if stage["best_valid_error"] is not None:
        sentence += (
            f"; kept is the adapter of step {stage['best_step']}, "
            f"with the lowest validation {'loss' if pairs else 'error'} "
            f"({stage['best_valid_error']:.3f})"
        )
    if pairs:
        sentence += (
            f"; of validation pairs {pairs['accuracy']:.0%} are the right way round, margin "
            f"{pairs['margin']:.3g}, log-probability {pairs['chosen']:.4g} chosen and "
            f"{pairs['rejected']:.4g} rejected"
        )
    rate = stage["tokens"] / max(stage["seconds"], 1e-9)
    return f"{sentence}; {stage['tokens']:,} tokens at {rate:,.0f} tokens/s."
