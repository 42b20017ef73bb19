"""What a report is made of: stored results, nothing computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lorecraft.evaluation.exam import Answer
from lorecraft.evaluation.questions import Question


@dataclass(frozen=True)
class ReportData:
    """A finished run.

    Attributes:
        name: of the run.
        created: when the report was made, as it is to be read.
        verdict: ``verdict.json``; with ``requirements`` (what ``measures.requirements`` returned)
            where the recipe requires something.
        questions: the exam.
        answers: those of every model, the base first and the last stage last.
        curves: stage -> points in order, each ``{"step", "loss"}`` or ``{"step", "valid_loss",
            "valid_error"}``; losses in nats a token, the error a probability.
        audit: ``audit.json``.
        recipe: the resolved recipe, as YAML.
        manifest: versions, engine, device, seeds, hashes, timings; nested as one likes.
        events: what deserves mention, a sentence each.
        reproduce: command lines that make this run again.
    """

    name: str
    created: str
    verdict: Mapping[str, Any]
    questions: Sequence[Question] = ()
    answers: Sequence[Answer] = ()
    curves: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    audit: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[str] = ()
    reproduce: Sequence[str] = ()


@dataclass(frozen=True)
class Results:
    """What a run's folder holds so far, for tables and pictures of several runs.

    Attributes:
        name: of the run.
        state: how far it is, as ``lorecraft runs list`` says it.
        recipe: the resolved recipe as a mapping; stages stand by their names.
        stages: stage -> ``stage.json``; of one that is not finished, its ``curves`` alone.
        verdict, questions, answers, audit, manifest: as in ``ReportData``; empty where it is not
            so far.
        seconds: of training and exam together.
    """

    name: str
    state: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    verdict: Mapping[str, Any] = field(default_factory=dict)
    questions: Sequence[Question] = ()
    answers: Sequence[Answer] = ()
    audit: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def last(self) -> str:
        """The last stage's name, which is its model's too."""
        return list(self.recipe["stages"])[-1]

    @property
    def valid_error(self) -> float | None:
        """The last stage's lowest validation error."""
        error: float | None = self.stages.get(self.last, {}).get("best_valid_error")
        return error

    @property
    def measures(self) -> Mapping[str, Any]:
        """The last stage's figures in the exam."""
        figures: Mapping[str, Any] = self.verdict.get("models", {}).get(self.last, {})
        return figures
