"""Answers -> figures, each with its n and interval, and the claims that they carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorecraft.data.kinds import MAKERS
from lorecraft.evaluation import statistics, style
from lorecraft.evaluation.differences import Compared, differences
from lorecraft.evaluation.exam import Answer, Surprise
from lorecraft.evaluation.graders import mentions
from lorecraft.evaluation.questions import Question
from lorecraft.knowledge.phrasings import KINDS
from lorecraft.style.schema import Format

MEASURES = {
    "recall": "questions about the facts, in words never trained",
    "completion": "sentences of the facts finished",
    **{kind: KINDS[kind].means for kind in MAKERS},
    "retention": "general answers that the base model had right, kept",
    "abstention": "questions that nobody told the answer to, declined",
    "bleed": "general answers that mention the taught names; lower is better",
    "format": "outputs on test records that keep to every rule of the format",
    "content": "of the key terms of the references, those that the outputs say",
    "unsupported": "of the outputs' terms, those in neither prompt nor reference; lower is better",
    "perplexity": "of general statements; lower is better",
    "validation": "perplexity of your own validation records; lower is better",
}
"""Every measure and what is counted, in the order in which they are told."""

SURPRISES = ("perplexity", "validation")

LOWER_IS_BETTER = frozenset(("bleed", "unsupported", *SURPRISES))
OPENING = ("recall", "format")
"""The measures that are told of the base model too."""


@dataclass(frozen=True)
class Marks:
    """One model's marks in one measure: question id -> passed; and which questions are about the
    same thing (question id -> group), which makes them count for less than as many unrelated."""

    passed: Mapping[str, bool]
    group: Mapping[str, str]

    def groups(self) -> dict[str, list[bool]]:
        """Group -> its marks."""
        found: dict[str, list[bool]] = {}
        for id_, passed in self.passed.items():
            found.setdefault(self.group[id_], []).append(passed)
        return found

    def figure(self) -> dict[str, Any]:
        """``{passed, asked, groups, rate, low, high}``; ``rate`` is None when nothing was asked."""
        passed, asked, groups = sum(self.passed.values()), len(self.passed), self.groups()
        size = statistics.effective_size(list(groups.values()))
        low, high = statistics.wilson(passed, asked, size=size)
        rate = passed / asked if asked else None
        return {
            "passed": passed,
            "asked": asked,
            "groups": len(groups),
            "rate": rate,
            "low": low,
            "high": high,
        }


def verdict(
    questions: Sequence[Question],
    answers: Sequence[Answer],
    names: Sequence[str],
    surprises: Mapping[str, Mapping[str, Surprise]] | None = None,
    *,
    format: Format | None = None,
    base: str = "base",
) -> dict[str, Any]:
    """``verdict.json``: ``{"models": {model: {measure: figure}}, "claims": [...]}``, and ``style``
    (see ``style.examined``) where there is a format.

    Retention of the base model is its rate over all general questions; that of every other model
    is the share it kept of those that the base model had right. A perplexity has ``value`` where
    a rate has ``rate``, and the number of texts as ``asked``.

    Args:
        names: names and aliases of the injected entities, whose mention in a general answer is
            bleed.
        surprises: for each of ``SURPRISES`` what ``exam.read`` gave; without examples there is no
            figure.
        base: the name of the model that the others are compared with.
    """
    models = list(dict.fromkeys(answer.model for answer in answers))
    models.sort(key=(base, style.PROMPTED, *models).index)
    marks = {model: _marks(model, questions, answers, names) for model in models}
    general = marks[base].get("retention", Marks({}, {}))
    known = {id for id, passed in general.passed.items() if passed}
    figures: dict[str, dict[str, Any]] = {}
    for model in models:
        figures[model] = {}
        for measure, mark in marks[model].items():
            if measure == "retention" and model != base:
                mark = Marks({id: mark.passed[id] for id in known}, mark.group)
            figures[model][measure] = mark.figure()
        for measure in SURPRISES:
            surprise = (surprises or {}).get(measure, {}).get(model)
            if surprise is not None and len(surprise.tokens):
                figures[model][measure] = _perplexity(surprise)
    told = [model for model in models if model not in (base, style.PROMPTED)]
    found: dict[str, Any] = {}
    if format is not None:
        found = style.examined(questions, answers, format)
        for model in found["outputs"]:
            for measure in ("content", "unsupported"):
                figures[model][measure] = found["content"][measure][model]
    claims = [
        *_statements(figures, told, base),
        *_gained(figures, told, base),
        *_differences(marks, told, base),
        *found.pop("claims", ()),
    ]
    return {"models": figures, "claims": claims} | ({"style": found} if found else {})


def requirements(
    verdict: Mapping[str, Any], needed: Mapping[str, float], at: str, model: str
) -> list[dict[str, Any]]:
    """What a recipe requires of ``model``, and whether it is met.

    Args:
        needed: measure -> least rate (largest, for ``bleed``), as a share 0..1.
        at: ``rate``, or ``low`` for the careful end of the interval (the high end, for ``bleed``).

    Returns one ``{"measure", "needed", "at", "seen", "met", "text"}`` for each; a measure that was
    not examined is not met.
    """
    results = []
    for measure, bound in needed.items():
        figure = verdict["models"].get(model, {}).get(measure)
        lower = measure in LOWER_IS_BETTER
        seen = figure and figure[("high" if lower else "low") if at == "low" else "rate"]
        met = seen is not None and (seen <= bound if lower else seen >= bound)
        wanted = f"{measure} of {model} {'at most' if lower else 'at least'} {percent(bound)}"
        by = " by the careful end of its interval" if at == "low" else ""
        saw = "not examined" if seen is None else percent(seen)
        results.append(
            {
                "measure": measure,
                "needed": bound,
                "at": at,
                "seen": seen,
                "met": met,
                "text": f"{wanted}{by}: {saw}, {'met' if met else 'not met'}",
            }
        )
    return results


def percent(share: float) -> str:
    """A share as text, never rounded up to 100% or down to 0%."""
    value = 100 * share
    if value in (0, 100) or 1 <= value <= 99:
        return f"{value:.0f}%"
    if 0.05 <= abs(value) <= 99.95:
        return f"{value:.1f}%"
    return "under 0.1%" if value < 50 else "over 99.9%"


def in_words(figure: Mapping[str, Any], rate: bool = True) -> str:
    """``(98%, 95% interval 94–99%)``, or without the rate."""
    low, high = percent(figure["low"]), percent(figure["high"])
    shown = f"{percent(figure['rate'])}, " if rate else ""
    return f"({shown}95% interval {low.removesuffix('%')}–{high})"


def _marks(
    model: str, questions: Sequence[Question], answers: Sequence[Answer], names: Sequence[str]
) -> dict[str, Marks]:
    own = {answer.id: answer for answer in answers if answer.model == model}
    marks: dict[str, dict[str, bool]] = {}
    for question in questions:
        if question.id not in own:
            continue
        marks.setdefault(question.measure, {})[question.id] = own[question.id].passed
        if question.measure == "retention" and names:
            text = own[question.id].answer
            marks.setdefault("bleed", {})[question.id] = any(
                mentions(name, text) and not mentions(name, question.prompt) for name in names
            )
    group = {question.id: question.about for question in questions}
    return {measure: Marks(marks[measure], group) for measure in MEASURES if measure in marks}


def _perplexity(surprise: Surprise) -> dict[str, Any]:
    value, low, high = statistics.perplexity(surprise.nats, surprise.tokens)
    return {"asked": len(surprise.tokens), "value": value, "low": low, "high": high}


def _statements(
    figures: Mapping[str, Mapping[str, Any]], told: Sequence[str], base: str
) -> Iterator[dict[str, Any]]:
    """The figures as sentences: of the base model its recall, of the last stage everything."""
    wordings = {
        "recall": "{who} answered {passed} of {asked} questions about the facts, "
        "in words that training never used",
        "completion": "Of {asked} sentences of the facts, {who} finished {passed}",
        **{
            kind: f"{{who}} answered {{passed}} of {{asked}} {kind} questions ({KINDS[kind].means})"
            for kind in MAKERS
        },
        "retention": "Of {asked} general questions that {base} had right, {who} still has "
        "{passed} right",
        "abstention": "Of {asked} questions whose answer nobody told it, {who} declined {passed}",
        "bleed": "{passed} of {asked} general answers of {who} mention the taught names",
        "format": "Of {asked} outputs of {who} on test records, {passed} keep to every rule of the "
        "format",
        "content": "Outputs of {who} say {share} of the key terms of their references",
        "unsupported": "Of the terms in outputs of {who}, {share} stand in neither prompt nor "
        "reference",
    }
    before = [(base, "recall"), (base, "format"), (style.PROMPTED, "format")]
    for model, measure in [*before, *((m, n) for m in told[-1:] for n in wordings)]:
        figure = figures.get(model, {}).get(measure)
        if not figure or not figure["asked"]:
            continue
        who = "base, with the format in its prompt," if model == style.PROMPTED else model
        text = wordings[measure].format(who=who, base=base, share=percent(figure["rate"]), **figure)
        when = ("After: " if model in told else "Before: ") if measure in OPENING else ""
        yield {
            "text": f"{when}{text} {in_words(figure, 'passed' in figure)}.",
            "kind": "figure",
            "measure": measure,
            "model": model,
            "against": None,
            **figure,
        }


def _gained(
    figures: Mapping[str, Mapping[str, Any]], told: Sequence[str], base: str
) -> Iterator[dict[str, Any]]:
    """What the last stage made of the user's own validation records."""
    if not told or "validation" not in figures[base]:
        return
    before, after = figures[base]["validation"], figures[told[-1]]["validation"]

    def shown(figure: Mapping[str, Any]) -> str:
        return f"{figure['value']:.1f} (95% interval {figure['low']:.1f}–{figure['high']:.1f})"

    yield {
        "text": f"The perplexity of {after['asked']} validation records of your own is "
        f"{shown(before)} under {base} and {shown(after)} under {told[-1]}.",
        "kind": "figure",
        "measure": "validation",
        "model": told[-1],
        "against": base,
        **after,
    }


def _differences(
    marks: Mapping[str, Mapping[str, Marks]], told: Sequence[str], base: str
) -> Iterator[dict[str, Any]]:
    """What changed against the base model beyond chance (paired, adjusted for all the tests)."""
    tests = [
        (model, measure)
        for model in told
        for measure in marks[base]
        if marks[base][measure].passed and measure not in style.MEASURES
    ]
    compared = []
    for model, measure in tests:
        before, after = marks[base][measure].groups(), marks[model][measure].groups()
        old, new = ([sum(marked[group]) for group in before] for marked in (before, after))
        sizes = [len(marked) for marked in before.values()]
        compared.append(Compared(measure, model, base, old, new, sizes))
    return differences(compared, statistics.mcnemar, "questions")
