"""The exam of a house style: whether outputs keep to the format, and whether they say enough.

Compliance is not quality, so both are measured on the same outputs, beside the references' own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorecraft.data.records import Record
from lorecraft.evaluation import content, statistics
from lorecraft.evaluation.differences import Compared, differences
from lorecraft.evaluation.exam import Answer
from lorecraft.evaluation.questions import Question
from lorecraft.style.check import check
from lorecraft.style.schema import Format

PROMPTED = "prompted"
"""The base model with the format described in what it is asked: what a good prompt alone gives."""
REFERENCE = "reference"
MEASURES = ("format", "content", "unsupported")


def style_questions(records: Sequence[Record]) -> list[Question]:
    """One for each record of the test set: its turns before the last answer are asked, which itself
    is the reference."""
    return [
        Question(
            id=f"format-{record.id}",
            measure="format",
            messages=record.messages[:-1],
            expected=record.messages[-1].content,
            facts=record.facts,
            phrasing=f"test record {record.id}",
            topic=next(iter(record.tags.values()), ""),
            tags=record.tags,
        )
        for record in records
    ]


@dataclass(frozen=True)
class Output:
    """What one model, or the reference, says to one question."""

    question: Question
    text: str
    rules: frozenset[str]
    """Those of the format that it breaks."""


def examined(
    questions: Sequence[Question], answers: Sequence[Answer], format: Format
) -> dict[str, Any]:
    """The figures of a style.

    Returns:
        ``outputs``: how many of each model; ``rules``: rule -> model -> how many outputs break it;
        ``content``: measure -> model or ``reference`` -> ``{asked, groups, rate, low, high}``
        (``rate`` alone for what is measured over all outputs together); ``by``: for each value of
        each tag, model -> ``format`` and ``content``; ``claims``: what changed beyond chance.
    """
    asked = {question.id: question for question in questions if question.measure == "format"}
    said: dict[str, list[Output]] = {}
    for answer in answers:
        if question := asked.get(answer.id):
            said.setdefault(answer.model, []).append(_output(question, answer.answer, format))
    known = {**said, REFERENCE: [_output(q, q.expected, format) for q in asked.values()]}
    marks = {model: _marks(outputs, format) for model, outputs in known.items()}
    rules = Counter((rule, model) for model in said for one in said[model] for rule in one.rules)
    figures: dict[str, dict[str, Any]] = {
        name: {model: _mean(marks[model][name], asked) for model in known}
        for name in marks[REFERENCE]
    }
    figures["distinct pairs of terms"] = {
        model: {"rate": content.diversity([one.text for one in outputs])}
        for model, outputs in known.items()
    }
    return {
        "outputs": {model: len(outputs) for model, outputs in said.items()},
        "rules": {
            rule: {model: rules[rule, model] for model in said}
            for rule in sorted({rule for rule, _ in rules})
        },
        "content": figures,
        "by": [*_by(asked, marks)],
        "claims": [*_changes([*said], marks, asked)],
    }


def _output(question: Question, text: str, format: Format) -> Output:
    return Output(question, text, frozenset(broken.rule for broken in check(format, text)))


Marks = dict[str, dict[str, float]]
"""Measure -> question id -> 0 to 1; none where a measure does not apply."""


def _marks(outputs: Sequence[Output], format: Format) -> Marks:
    asked = [one.question for one in outputs]
    prompts = [question.prompt for question in asked]
    wanted = ["\n".join(content.bodies(q.expected, format).values()) for q in asked]
    sections = [content.bodies(one.text, format) for one in outputs]
    said = ["\n".join(parts.values()) for parts in sections]
    depths = [content.depth(*both, format) for both in zip(sections, prompts, strict=True)]
    marks: dict[str, Iterable[float | None]] = {
        "format": [float(not one.rules) for one in outputs],
        "content": [
            content.recall(text, content.key_terms(reference, prompt))
            for text, reference, prompt in zip(said, wanted, prompts, strict=True)
        ],
        "unsupported": [
            content.unsupported(text, both)
            for text, *both in zip(said, wanted, prompts, strict=True)
        ],
        "overlap with the reference (F1)": map(content.f1, said, wanted),
        "specific terms": content.specific(said, prompts),
        "formulaic phrases": content.formulaic(said, prompts, [q.about for q in asked]),
    }
    for rules in format.sections:
        heading = rules.heading
        marks[f"depth of {heading}"] = [found[heading] for found in depths]
        if rules.ends_with == "?":
            marks[f"a question about the matter in {heading}"] = [
                float(content.asks(parts.get(heading, ""), prompt))
                for parts, prompt in zip(sections, prompts, strict=True)
            ]
    return {
        name: {q.id: mark for q, mark in zip(asked, given, strict=True) if mark is not None}
        for name, given in marks.items()
    }


def _groups(marks: Mapping[str, float], asked: Mapping[str, Question]) -> dict[str, list[float]]:
    """The marks by what the questions are about."""
    found: dict[str, list[float]] = {}
    for id_, mark in marks.items():
        found.setdefault(asked[id_].about, []).append(mark)
    return found


def _mean(marks: Mapping[str, float], asked: Mapping[str, Question]) -> dict[str, Any]:
    groups = _groups(marks, asked)
    rate, low, high = statistics.mean([*groups.values()]) if groups else (None, 0.0, 1.0)
    return {"asked": len(marks), "groups": len(groups), "rate": rate, "low": low, "high": high}


def _by(asked: Mapping[str, Question], marks: Mapping[str, Marks]) -> Iterator[dict[str, Any]]:
    """The measures for the questions with each value of each tag."""
    values: dict[tuple[str, str], set[str]] = {}
    for question in asked.values():
        for tag, value in question.tags.items():
            values.setdefault((tag, value), set()).add(question.id)
    for (tag, value), ids in sorted(values.items()):
        yield {
            "tag": tag,
            "value": value,
            "asked": len(ids),
            "models": {
                model: {
                    name: _mean({i: own[name][i] for i in ids if i in own[name]}, asked)
                    for name in ("format", "content")
                }
                for model, own in marks.items()
                if model != REFERENCE
            },
        }


def _changes(
    models: Sequence[str], marks: Mapping[str, Marks], asked: Mapping[str, Question]
) -> Iterator[dict[str, Any]]:
    """What differs beyond chance: every stage from the one before it, the last one from the base
    and from the prompted base too (paired by what is asked about, adjusted for all the tests)."""
    base, *others = [model for model in models if model != PROMPTED]
    pairs = list(zip([base, *others], others, strict=False))
    pairs += [(model, others[-1]) for model in (base, PROMPTED) if others and model in models]
    tests = []
    for before, after in dict.fromkeys(pairs):
        for measure in MEASURES:
            both = marks[before][measure].keys() & marks[after][measure].keys()
            if not both:
                continue
            groups = [
                _groups({id_: marks[model][measure][id_] for id_ in asked if id_ in both}, asked)
                for model in (before, after)
            ]
            old, new = ([sum(group) for group in found.values()] for found in groups)
            sizes = [len(group) for group in groups[0].values()]
            tests.append(Compared(measure, after, before, old, new, sizes))
    return differences(tests, statistics.randomisation, "outputs", digits=1)
