"""What a run will take, before any of it begins."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lorecraft.engines import host
from lorecraft.errors import OutOfMemory, RunError
from lorecraft.evaluation.exam import check_room
from lorecraft.evaluation.questions import Question
from lorecraft.models.find import cache_folder
from lorecraft.recipe import Recipe
from lorecraft.runs.exam import GENERAL_LENGTH, general_texts, prompted
from lorecraft.runs.memory import SAVED, MemoryPlan, Need, changes, gigabytes, in_pieces, memory
from lorecraft.runs.prepare import Prepared
from lorecraft.runs.rehearsal import Figures, rehearse
from lorecraft.runs.stage import StageExamples
from lorecraft.runs.workbench import Blueprint
from lorecraft.runs.workload import ExamLoad, StageLoad, exam_load, stage_load
from lorecraft.training.checkpoints import KEPT
from lorecraft.training.steps import total_steps

ANSWER_BYTES, STEP_BYTES = 700, 300
"""What an answer takes in the run's folder, with its part of the report; and a step, in the log."""


@dataclass(frozen=True)
class StagePlan:
    """A stage, at most: a limit, patience or a deadline may end it earlier. What only the model's
    tokenizer can tell is None where that is out of reach.

    Attributes:
        tokens: of all steps together.
        longest: tokens of the longest record, before any cut.
        cut, split: records that are cut, or split into several examples.
    """

    name: str
    records: int
    valid: int
    steps: int
    tokens: int | None = None
    longest: int | None = None
    cut: int | None = None
    split: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class ExamPlan:
    questions: int
    models: int
    seconds: float | None = None


@dataclass(frozen=True)
class Disk:
    """Bytes in one place: what is needed, and what is free. ``parts`` says what for."""

    folder: str
    needed: int
    free: int
    parts: dict[str, int]

    @property
    def text(self) -> str:
        return f"disk {gigabytes(self.needed)} of {gigabytes(self.free)} in {self.folder}"


@dataclass(frozen=True)
class Plan:
    """A run in figures. ``download`` is None where the hub cannot be asked; all that depends on
    the model is None then. ``recomputes``: memory suffices only if the engine keeps less."""

    model: str
    stages: list[StagePlan]
    exam: ExamPlan
    disks: list[Disk]
    download: dict[str, int] | None
    device: str | None = None
    dtype: str | None = None
    parameters: int | None = None
    trained: int | None = None
    memory: MemoryPlan | None = None
    recomputes: bool = False

    @property
    def seconds(self) -> float | None:
        """Of training and exam together."""
        parts = [stage.seconds for stage in self.stages] + [self.exam.seconds]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"seconds": self.seconds}

    def lines(self) -> list[str]:
        """The plan in a few lines."""
        lines = []
        if self.parameters is not None and self.trained is not None:
            lines.append(
                f"{self.parameters:,} parameters, {self.trained:,} trained ({self.device}, "
                f"{self.dtype})"
            )
        for stage in self.stages:
            parts = [f"{stage.name}: {stage.steps:,} steps"]
            if stage.tokens is not None:
                parts += [f"{stage.tokens:,} tokens", f"longest record {stage.longest}"]
                parts += [f"{stage.cut} cut"] if stage.cut else []
                parts += [f"{stage.split} split"] if stage.split else []
            parts += [f"about {duration(stage.seconds)}"] if stage.seconds is not None else []
            lines.append(", ".join(parts))
        parts = [f"exam: {self.exam.questions:,} questions to {self.exam.models} models"]
        parts += [f"about {duration(self.exam.seconds)}"] if self.exam.seconds is not None else []
        lines.append(", ".join(parts))
        parts = [] if self.memory is None else [self.memory.text]
        parts += ["blocks are computed again on the way back"] if self.recomputes else []
        parts += [disk.text for disk in self.disks]
        lines.append("; ".join(parts))
        if self.download:
            size = gigabytes(sum(self.download.values()))
            lines.append(f"download {size} ({', '.join(self.download)})")
        return lines

    def check(self) -> None:
        """Raises RunError for what cannot fit: into memory, or on a disk."""
        memory = self.memory
        if memory is not None and not memory.fits:
            options = memory.options or ["a smaller model, or a machine with more memory"]
            raise RunError(
                f"{self.model} would need about {gigabytes(memory.least)} of memory "
                f"({memory.during}); {gigabytes(memory.available or 0)} are there",
                "a run that fits: " + "; or ".join(options),
                "change the recipe, then `lorecraft plan` shows what it takes",
            )
        for disk in self.disks:
            if disk.needed > disk.free:
                raise RunError(
                    f"{disk.folder} would need {gigabytes(disk.needed)} "
                    f"({', '.join(disk.parts)}); {gigabytes(disk.free)} are free",
                    "room for all of it before anything starts",
                    "free some space, or choose another `output` (for downloads: HF_HOME)",
                )


def plan(
    recipe: Recipe,
    blueprint: Blueprint,
    prepared: Prepared,
    examples: Mapping[str, StageExamples],
    folder: Path,
    unwritten: Mapping[str, int],
) -> Plan:
    """Plan the run that will be in ``folder``; no weights are loaded.

    Args:
        examples: stage -> its records as tokens.
        unwritten: what -> bytes, of what is not in ``folder`` yet.

    Raises DataError when the model's context has no room for a question and its answer.
    """
    outline, tokenizer, context = blueprint.outline, blueprint.tokenizer, blueprint.info.context
    told = "".join(prompted(recipe).values())
    check_room(prepared.questions, tokenizer, recipe.exam, context, told)
    loads = [
        stage_load(name, section, found.train, found.valid, recipe.seed)
        for (name, found), section in zip(examples.items(), recipe.stages, strict=True)
    ]
    general = general_texts(tokenizer, blueprint.info.longest(GENERAL_LENGTH))
    read = sum(len(example.tokens) for example in general) + _own_tokens(prepared, loads)
    asked = exam_load(prepared.questions, recipe.exam, tokenizer, read)

    def tried(recomputes: bool) -> tuple[Figures, Need]:
        figures: Figures = {}
        held = host.resident() if outline.shared else 0
        if outline.available is None or held + outline.weights < outline.available:
            try:
                figures = rehearse(recipe, blueprint.folder, outline, loads, asked, recomputes)
            except OutOfMemory:  # the run computes in pieces then, where it lives on
                if outline.shared:
                    raise
        return figures, Need.of(outline, host.resident(), figures, list(examples))

    figures, need = tried(recomputes=False)
    recomputes = False
    if outline.available is not None and need.peak > outline.available:
        again, less = tried(recomputes=True)
        recomputes = less.peak < need.peak
        figures, need = (again, less) if recomputes else (figures, need)
    least = need if outline.shared else in_pieces(need, loads, recipe.exam.batch_size)
    exam = _exam_plan(prepared.questions, asked, loads, figures)
    stages = _in_time([_stage_plan(load, figures) for load in loads], exam, recipe.limits.hours)
    run = _run_disk(folder, unwritten, stages, exam, outline.trained)
    quantization = recipe.model.quantization
    return Plan(
        recipe.model.path,
        stages,
        exam,
        _with_downloads(run, blueprint.download) if blueprint.download else [run],
        download=dict(blueprint.download),
        device=outline.device,
        dtype=outline.dtype if quantization == "none" else quantization,
        parameters=outline.parameters,
        trained=outline.trained,
        memory=memory(need, least, outline.available, changes(need, outline, loads)),
        recomputes=recomputes,
    )


def plan_without_model(
    recipe: Recipe, prepared: Prepared, folder: Path, unwritten: Mapping[str, int]
) -> Plan:
    """As far as a plan goes when the hub is out of reach."""
    stages = [
        StagePlan(name, len(data.train), len(data.valid), total_steps(len(data.train), section))
        for (name, data), section in zip(prepared.stages.items(), recipe.stages, strict=True)
    ]
    exam = ExamPlan(len(prepared.questions), 1 + len(stages))
    run = _run_disk(folder, unwritten, stages, exam, trained=0)
    return Plan(recipe.model.path, stages, exam, [run], download=None)


def _own_tokens(prepared: Prepared, loads: Sequence[StageLoad]) -> int:
    """Tokens of the user's own validation records, each once."""
    found: dict[str, int] = {}
    for load in loads:
        valid = prepared.stages[load.name].valid
        own = {r.id for r in valid if r.origin == "source" and not r.rejected} - found.keys()
        for example in load.valid:
            if example.record in own:
                found[example.record] = found.get(example.record, 0) + len(example.tokens)
    return sum(found.values())


def _stage_plan(load: StageLoad, figures: Figures) -> StagePlan:
    seconds = None
    if figures:
        validated = load.validations * int(load.valid.lengths.sum())
        if load.section.preference is not None:  # the reference reads all of it once
            validated += int(load.train.lengths.sum() + load.valid.lengths.sum())
        seconds = load.tokens * figures[f"{load.name} step"]
        seconds += validated * figures[f"{load.name} score"]
        seconds = min(seconds, 60 * (load.section.limits.minutes or math.inf))
    return StagePlan(
        load.name,
        load.train.records,
        load.valid.records,
        load.steps,
        load.tokens,
        load.train.longest,
        load.train.cut,
        load.train.split,
        seconds,
    )


def _in_time(stages: list[StagePlan], exam: ExamPlan, hours: float | None) -> list[StagePlan]:
    """The stages in what the run's hours leave them: the run sets twice the exam's time aside."""
    seconds = sum(stage.seconds or 0.0 for stage in stages)
    if hours is None or exam.seconds is None or not seconds:
        return stages
    share = min(1.0, max(0.0, 3600 * hours - 2 * exam.seconds) / seconds)
    return [replace(stage, seconds=share * (stage.seconds or 0.0)) for stage in stages]


def _exam_plan(
    questions: Sequence[Question], asked: ExamLoad, loads: Sequence[StageLoad], figures: Figures
) -> ExamPlan:
    models = 1 + len(loads)
    seconds = None
    if figures:
        score = max(figures[f"{load.name} score"] for load in loads)
        seconds = len(asked.groups) * figures.get("exam group", 0.0) + models * asked.read * score
    return ExamPlan(len(questions), models, seconds)


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, as people read it."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"


def _run_disk(
    folder: Path,
    unwritten: Mapping[str, int],
    stages: Sequence[StagePlan],
    exam: ExamPlan,
    trained: int,
) -> Disk:
    """The run's folder at its fullest: two checkpoints, and a third being written."""
    adapter = 4 * trained
    steps = sum(stage.steps for stage in stages)
    parts = {
        **unwritten,
        "adapters": (len(stages) + 1) * adapter,
        "checkpoints": (KEPT + 1) * SAVED * adapter,
        "answers, log and report": exam.questions * exam.models * ANSWER_BYTES + steps * STEP_BYTES,
    }
    return Disk(str(folder), sum(parts.values()), _free(folder), parts)


def _with_downloads(run: Disk, download: Mapping[str, int]) -> list[Disk]:
    """Room for the weights to come: on the run's own disk, or on the other where the cache is."""
    cache, parts = cache_folder(), {"downloads": sum(download.values())}
    if _existing(cache).stat().st_dev == _existing(Path(run.folder)).stat().st_dev:
        return [replace(run, needed=run.needed + parts["downloads"], parts=run.parts | parts)]
    return [run, Disk(str(cache), parts["downloads"], _free(cache), parts)]


def _free(folder: Path) -> int:
    return shutil.disk_usage(_existing(folder)).free


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())
