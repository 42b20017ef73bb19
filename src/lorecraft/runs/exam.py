"""The exam of a run: every model sits it over one copy of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from lorecraft.data.batches import Example
from lorecraft.data.encode import encode_records
from lorecraft.data.records import Record
from lorecraft.data.turns import Tokenizer
from lorecraft.engines.base import BASE
from lorecraft.evaluation.exam import read, sit
from lorecraft.evaluation.measures import verdict
from lorecraft.evaluation.style import PROMPTED
from lorecraft.knowledge.general import suite
from lorecraft.knowledge.strictness import LeaveOut
from lorecraft.recipe import Recipe
from lorecraft.runs.files import write_json, write_lines
from lorecraft.runs.prepare import Prepared
from lorecraft.runs.progress import Progress
from lorecraft.runs.workbench import Workbench
from lorecraft.style.describe import describe
from lorecraft.style.load import load_format

Item = TypeVar("Item")

SAMPLE = 64
"""Questions, and records, that the exam's duration is estimated from."""
REPORT_SECONDS = 5.0
GENERAL_LENGTH = 512
"""Tokens; the general statements are single sentences."""


def sit_exam(
    bench: Workbench,
    recipe: Recipe,
    prepared: Prepared,
    *,
    adapters: Mapping[str, Path],
    folder: Path,
    progress: Progress,
) -> None:
    """Examine the base and every adapter; write ``answers.jsonl`` and ``verdict.json``."""
    slots, told = bench.attach_all(adapters), prompted(recipe)
    questions = prepared.questions
    format = load_format(recipe.style.format) if recipe.style else None
    answers_due = len(questions) * len(slots)
    if told:
        slots = {"base": BASE, **dict.fromkeys(told, BASE), **slots}
        answers_due += len(told) * sum(question.measure == "format" for question in questions)
    with progress.stage("exam", answers_due, "answers") as bar:
        answers = sit(
            bench.engine,
            bench.tokenizer,
            slots,
            questions,
            recipe.exam,
            format=format,
            prompted=told,
            context=bench.info.context,
            banned=bench.banned,
            on_progress=bar.advance,
        )
    readers = {model: slot for model, slot in slots.items() if model not in told}
    surprises = {
        "perplexity": read(bench.engine, readers, _general(bench)),
        "validation": read(bench.engine, readers, _own(bench, recipe, prepared)),
    }
    write_lines(folder / "answers.jsonl", (answer.to_json() for answer in answers))
    figures = verdict(questions, answers, prepared.names, surprises, format=format)
    write_json(folder / "verdict.json", figures)


def prompted(recipe: Recipe) -> dict[str, str]:
    """The model that is told the format before it is asked, and in which words."""
    if recipe.style is None or not recipe.style.prompted:
        return {}
    return {PROMPTED: describe(load_format(recipe.style.format))}


def estimate(
    bench: Workbench, recipe: Recipe, prepared: Prepared, tuned: int, clock: Callable[[], float]
) -> float:
    """Seconds that the exam and the report will take, with room to spare.

    Measured on a few questions and records under the base alone. A tuned model's answers may be
    longer, and several adapters in a batch are slower than none, so this is doubled.
    """
    questions, base = _some(prepared.questions), {"base": BASE}
    texts = [*_general(bench), *_own(bench, recipe, prepared)]
    sit(bench.engine, bench.tokenizer, base, questions[:1], recipe.exam)  # the first call is slow
    began = clock()
    sit(bench.engine, bench.tokenizer, base, questions, recipe.exam)
    asked = clock()
    read(bench.engine, base, _some(texts))
    seconds = (asked - began) * len(prepared.questions) / max(1, len(questions))
    seconds += (clock() - asked) * len(texts) / max(1, len(_some(texts)))
    return 2 * seconds * (1 + len(prompted(recipe)) + tuned) + REPORT_SECONDS


def _some(items: Sequence[Item]) -> Sequence[Item]:
    return items[:: max(1, len(items) // SAMPLE)]


def general_texts(tokenizer: Tokenizer, length: int) -> list[Example]:
    """The general statements, whose perplexity shows what else a model has unlearned."""
    records = [
        Record(item.id, text=item.statements[0], place=item.id)
        for item in suite()
        if item.statements
    ]
    return encode_records(records, tokenizer, length)


def _general(bench: Workbench) -> list[Example]:
    return general_texts(bench.tokenizer, bench.info.longest(GENERAL_LENGTH))


def _own(bench: Workbench, recipe: Recipe, prepared: Prepared) -> list[Example]:
    """The user's own validation records, as the stages validated on them."""
    own = {
        record.id: record
        for data in prepared.stages.values()
        for record in data.valid
        if record.origin == "source" and not record.rejected
    }
    length = bench.info.longest(recipe.data.max_length)
    told = LeaveOut()  # when the stages' records were tokenised
    return encode_records(list(own.values()), bench.tokenizer, length, told)
