"""Several runs on one page: settings, measures, curves, outputs and data side by side.

Runs of different recipes have different stages and measures: what a run lacks is left out of a
picture and a dash in a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from lorecraft.evaluation.exam import Answer
from lorecraft.evaluation.questions import Question
from lorecraft.reports import charts, flow, page, svg, tables
from lorecraft.reports.data import Results
from lorecraft.reports.tables import Exchange, StyleTables

OPEN, ALL = 12, 200
"""Questions that are shown at once, and in all."""
UNASKED = {"rate": None, "asked": 0}

Key = tuple[str, str]


@dataclass(frozen=True)
class Column:
    """A model to compare: a run's last stage, or what was there before any training."""

    label: str
    colour: str
    run: Results
    model: str

    @property
    def figures(self) -> Mapping[str, Any]:
        """Its measures."""
        found: Mapping[str, Any] = self.run.verdict["models"][self.model]
        return found

    def answers(self) -> dict[Key, Answer]:
        """What it said, by the question's id and words."""
        asked = {question.id: question for question in self.run.questions}
        return {
            (answer.id, asked[answer.id].prompt): replace(answer, model=self.label)
            for answer in self.run.answers
            if answer.model == self.model and answer.id in asked
        }


def columns(runs: Sequence[Results]) -> list[Column]:
    """The untrained models of all exams, those with the same figures once; then every run's last
    stage."""
    before: list[tuple[str, Results]] = []
    for run in runs:
        for model, figures in run.verdict.get("models", {}).items():
            known = (one.verdict["models"][name] for name, one in before if name == model)
            if model not in run.stages and all(figures != other for other in known):
                before.append((model, run))
    names = [model for model, _ in before]
    found = [
        Column(model if names.count(model) == 1 else f"{model} of {run.name}", "plain", run, model)
        for model, run in before
    ]
    return found + [
        Column(run.name, charts.colour(number), run, run.last)
        for number, run in enumerate(runs)
        if run.last in run.verdict.get("models", {})
    ]


def render(runs: Sequence[Results], created: str) -> str:
    """The page as text: no script, nothing loaded from anywhere, and all that a model or a user
    wrote is escaped."""
    found = columns(runs)
    asked = exchanges(found)
    return page.fill(
        "dashboard.html.jinja",
        {"picture": Markup},
        created=created,
        runs=runs,
        colours={run.name: charts.colour(number) for number, run in enumerate(runs)},
        settings=settings(runs),
        classes={column.label: column.colour for column in found},
        labels=[column.label for column in found],
        rows=tables.measure_rows(_verdict(found)),
        style=style_tables(found),
        measures=measure_pictures(found),
        curves=curve_pictures(runs),
        pipelines=flow.pipelines(runs),
        shown=asked[:OPEN],
        more=asked[OPEN:ALL],
        asked=len(asked),
    )


def pictures(runs: Sequence[Results]) -> dict[str, str]:
    """Name -> picture that can stand alone."""
    drawn = {**measure_pictures(columns(runs))}
    drawn |= {f"curves-{stage}": picture for stage, picture in curve_pictures(runs).items()}
    drawn |= {
        f"pipeline-{number}": picture for number, (_, picture) in enumerate(flow.pipelines(runs), 1)
    }
    return {name: svg.standalone(picture) for name, picture in drawn.items()}


def settings(runs: Sequence[Results]) -> dict[str, list[Any]]:
    """Key of the recipe -> its value in each run, for those in which the runs differ; of a path
    its last two parts."""
    flat = [_flat(run.recipe) for run in runs]
    keys = dict.fromkeys(key for recipe in flat for key in recipe)
    values = {key: [recipe.get(key) for recipe in flat] for key in keys}
    return {
        key: found
        for key, found in values.items()
        if key not in ("name", "output") and any(value != found[0] for value in found)
    }


def _flat(values: Mapping[str, Any], around: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{around}{key}.")
        elif isinstance(value, str) and value.startswith("/"):
            found[around + key] = "/".join(value.rsplit("/", 2)[1:])
        else:
            found[around + key] = value
    return found


def measure_pictures(found: Sequence[Column]) -> dict[str, str]:
    """Measure -> its figure for every model that has it."""
    colours = {column.label: column.colour for column in found}
    return {
        row.measure: charts.compared(
            row.measure + " (lower is better)" * row.lower_is_better,
            [(cell.model, colours[cell.model], cell.rate, cell.figure) for cell in row.cells],
        )
        for row in tables.measure_rows(_verdict(found))
    }


def _verdict(found: Sequence[Column]) -> dict[str, Any]:
    return {"models": {column.label: column.figures for column in found}}


def curve_pictures(runs: Sequence[Results]) -> dict[str, str]:
    """Stage -> the losses of all runs that have it."""
    stages = dict.fromkeys(stage for run in runs for stage in run.stages)
    drawn = {
        stage: charts.overlaid(
            stage,
            {
                run.name: (charts.colour(number), run.stages[stage].get("curves", ()))
                for number, run in enumerate(runs)
                if stage in run.stages
            },
        )
        for stage in stages
    }
    return {stage: picture for stage, picture in drawn.items() if picture}


def style_tables(found: Sequence[Column]) -> StyleTables | None:
    """The house style of all models that were examined on one."""
    having = [column for column in found if column.run.verdict.get("style")]
    styles = {column.label: (column.run.verdict["style"], column.model) for column in having}
    if not styles:
        return None
    rules = dict.fromkeys(rule for style, _ in styles.values() for rule in style["rules"])
    measures = dict.fromkeys(name for style, _ in styles.values() for name in style["content"])
    return tables.style_tables(
        {
            "style": {
                "outputs": {
                    label: style["outputs"][model] for label, (style, model) in styles.items()
                },
                "rules": {
                    rule: {
                        label: style["rules"].get(rule, {}).get(model, 0)
                        for label, (style, model) in styles.items()
                    }
                    for rule in rules
                },
                "content": {
                    name: {
                        label: style["content"].get(name, {}).get(model, UNASKED)
                        for label, (style, model) in styles.items()
                    }
                    for name in measures
                },
                "by": [],
            }
        }
    )


def exchanges(found: Sequence[Column]) -> list[Exchange]:
    """Every question with the answers that there are: first those on which runs differ, then those
    that they got wrong, then the rest; within each the outputs
    of a house style, then the exam's order."""
    said = [(column, column.answers()) for column in found]
    trained = {column.label for column in found if column.model in column.run.stages}
    questions: dict[Key, Question] = {
        (question.id, question.prompt): question
        for column in found
        for question in column.run.questions
    }
    every = [
        Exchange(question, tuple(answers[key] for _, answers in said if key in answers))
        for key, question in questions.items()
    ]

    def order(exchange: Exchange) -> tuple[int, bool]:
        marks = {answer.passed for answer in exchange.answers if answer.model in trained}
        kind = 0 if len(marks) == 2 else 1 if marks == {False} else 2
        return kind, exchange.question.measure != "format"

    return sorted((one for one in every if one.answers), key=order)
