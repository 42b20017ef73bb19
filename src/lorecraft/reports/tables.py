"""A report's rows: what stands in its tables, the same for HTML and Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

from lorecraft.evaluation.exam import Answer
from lorecraft.evaluation.measures import LOWER_IS_BETTER, MEASURES, percent
from lorecraft.evaluation.questions import Question
from lorecraft.reports.data import ReportData

PAIR_FIGURES = {
    "accuracy": "pairs the right way round",
    "margin": "margin of the chosen over the rejected answers",
    "chosen": "log-probability of the chosen answers",
    "rejected": "log-probability of the rejected answers",
}
"""What the curves of a stage on pairs show besides its loss."""
WRONG_SHOWN = 24
RIGHT_SHOWN = 2


@dataclass(frozen=True)
class Cell:
    """One model's figure in one measure, as text and as numbers."""

    model: str
    rate: str
    interval: str
    count: str
    figure: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One measure over all models."""

    measure: str
    meaning: str
    lower_is_better: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Exchange:
    """One question with every model's answer, the base first."""

    question: Question
    answers: tuple[Answer, ...]

    @property
    def right(self) -> bool:
        """Whether the last stage's model was right."""
        return self.answers[-1].passed


def measure_rows(verdict: Mapping[str, Any]) -> list[Row]:
    """The verdict's figures, one row a measure, in the order of ``MEASURES``."""
    models = verdict["models"]
    return [
        Row(
            measure,
            meaning,
            measure in LOWER_IS_BETTER,
            tuple(
                _cell(model, models[model][measure]) for model in models if measure in models[model]
            ),
        )
        for measure, meaning in MEASURES.items()
        if any(measure in figures for figures in models.values())
    ]


@dataclass(frozen=True)
class StyleTables:
    """What is shown of a house style.

    Attributes:
        models, readers: heads of the tables; the readers are the models and the references.
        rules: rule -> how many outputs of each model break it, the most broken first.
        content: measure -> a cell for each reader.
        by: tag -> its values, each with ``(format, content)`` of each model.
    """

    models: list[str]
    readers: list[str]
    rules: list[tuple[str, list[int]]]
    content: list[tuple[str, list[Cell]]]
    by: dict[str, list[StyleRow]]


@dataclass(frozen=True)
class StyleRow:
    """The outputs whose tag has one value."""

    value: str
    asked: int
    cells: list[tuple[Cell, Cell]]


def style_tables(verdict: Mapping[str, Any]) -> StyleTables | None:
    """None where no style was examined."""
    style = verdict.get("style")
    if not style:
        return None
    models = list(style["outputs"])
    readers = list(style["content"]["content"])
    by: dict[str, list[StyleRow]] = {}
    for one in style["by"]:
        cells = [
            (_cell(model, one["models"][model]["format"]), _cell(model, figures["content"]))
            for model, figures in one["models"].items()
        ]
        by.setdefault(one["tag"], []).append(StyleRow(one["value"], one["asked"], cells))
    rules = [(rule, [counts[model] for model in models]) for rule, counts in style["rules"].items()]
    return StyleTables(
        models,
        readers,
        sorted(rules, key=lambda row: -max(row[1])),
        [
            (measure, [_cell(reader, figures[reader]) for reader in readers])
            for measure, figures in style["content"].items()
        ],
        by,
    )


def classes(models: Sequence[str]) -> dict[str, str]:
    """Model -> its class on the page: the base, those on the way, the last stage's."""
    last = models[-1] if len(models) > 1 else None
    return {
        model: "base" if model == models[0] else "last" if model == last else "cpt"
        for model in models
    }


def marked_lines(answer: Answer) -> list[tuple[str, str]]:
    """An answer's lines, each with what its grader has against it (``""`` where that is nothing).

    A grader that names lines begins its reasons with ``line 3:``.
    """
    reasons: dict[int, list[str]] = {}
    for number, reason in re.findall(r"(?:^|; )line (\d+): (.+?)(?=; line \d+: |$)", answer.why):
        reasons.setdefault(int(number), []).append(reason)
    lines = (answer.answer or "(nothing)").split("\n")
    return [(text, "; ".join(reasons.get(number, ()))) for number, text in enumerate(lines, 1)]


def exchanges(report: ReportData) -> list[Exchange]:
    """All questions with their answers, in the exam's order."""
    said: dict[str, list[Answer]] = {}
    for answer in report.answers:
        said.setdefault(answer.id, []).append(answer)
    return [Exchange(q, tuple(said[q.id])) for q in report.questions if q.id in said]


def wrong(all_: Sequence[Exchange]) -> list[Exchange]:
    """What the last stage's model got wrong; regressions from the base model come first."""
    failed = [exchange for exchange in all_ if not exchange.right]
    return sorted(failed, key=lambda exchange: not exchange.answers[0].passed)


def sample(all_: Sequence[Exchange]) -> list[Exchange]:
    """Right answers, a few of each measure, spread evenly over the exam."""
    chosen = []
    for measure in MEASURES:
        right = [e for e in all_ if e.right and e.question.measure == measure]
        step = max(1, len(right) // RIGHT_SHOWN)
        chosen += right[step // 2 :: step][:RIGHT_SHOWN]
    return chosen


def best_points(
    curves: Mapping[str, Sequence[Mapping[str, float]]],
) -> dict[str, Mapping[str, float]]:
    """Stage -> its best validated point; stages without validation are left out."""
    valid = {
        stage: [p for p in points if isfinite(p.get("valid_loss", nan))]
        for stage, points in curves.items()
    }
    return {
        stage: min(points, key=lambda point: point["valid_error"])
        for stage, points in valid.items()
        if points
    }


def split_rows(audit: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """What each stage trains and validates on: ``("cpt, train", figures)``."""
    return [
        (f"{stage}, {split}", figures[split])
        for stage, figures in audit.get("stages", {}).items()
        for split in ("train", "valid")
    ]


def leak_rows(audit: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """What was compared with what: ``("cpt, train and valid", leaks)``."""
    rows = [
        (f"{stage}, train and valid", figures["leaks"])
        for stage, figures in audit.get("stages", {}).items()
    ]
    return [*rows, ("all of it and the exam", audit["exam"]["leaks"])] if "exam" in audit else rows


def _cell(model: str, figure: Mapping[str, Any]) -> Cell:
    if "value" in figure:
        interval = f"{figure['low']:.1f}–{figure['high']:.1f}"
        return Cell(model, f"{figure['value']:.1f}", interval, f"{figure['asked']} texts", figure)
    if "asked" not in figure:
        return Cell(model, percent(figure["rate"]), "", "", figure)
    if not figure["asked"]:
        return Cell(model, "–", "", "none asked", figure)
    counted = f"{figure['passed']} of" if "passed" in figure else "mean of"
    return Cell(
        model,
        percent(figure["rate"]),
        f"{percent(figure['low'])}–{percent(figure['high'])}",
        f"{counted} {figure['asked']}",
        figure,
    )
