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
