"""Sitting the exam: every model answers the same questions over one copy of the weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lorecraft.data.batches import Example, pack
from lorecraft.data.decode import Decoded
from lorecraft.data.turns import Tokenizer
from lorecraft.engines.base import Engine, Request
from lorecraft.errors import DataError, OutOfMemory
from lorecraft.evaluation.graders import grade, keeps
from lorecraft.evaluation.questions import Question
from lorecraft.style.schema import Format

if TYPE_CHECKING:
    from lorecraft.recipe.schema import ExamSection


@dataclass(frozen=True)
class Answer:
    """What one model said to one question: a line of ``exam/answers.jsonl``.

    Attributes:
        id: of the question.
        model: ``base``, or the stage whose adapter answered.
        score: 1 or 0.
        why: the grader's reason.
    """

    id: str
    model: str
    answer: str
    passed: bool
    score: float
    why: str

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return asdict(self)

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Answer:
        """The inverse of ``to_json``."""
        return cls(**line)


@dataclass(frozen=True)
class Surprise:
    """How a model took to some examples: ``nats`` [N] in ``tokens`` [N] that are trained."""

    nats: NDArray[np.float64]
    tokens: NDArray[np.int64]


def sit(
    engine: Engine,
    tokenizer: Tokenizer,
    slots: Mapping[str, int],
    questions: Sequence[Question],
    settings: ExamSection,
    *,
    format: Format | None = None,
    prompted: Mapping[str, str] | None = None,
    context: int | None = None,
    banned: tuple[tuple[int, ...], ...] = (),
    on_progress: Callable[[int], None] = lambda answers: None,
) -> list[Answer]:
    """All answers of all models, greedy, ordered by question and then by model.

    All are asked in one go, ``settings.batch_size`` questions at the same time, each of every
    model; a prompt that several questions share is answered once. Where memory does not suffice,
    fewer are asked at the same time.

    Args:
        slots: model name -> adapter slot (``BASE`` for the model alone).
        format: what answers to the questions of measure ``format`` keep to.
        prompted: model name -> what stands before its questions; such a model sits those alone.
        context: tokens that the model can take, if that is known.
        banned: token sequences that no answer may hold.
        on_progress: called with the number of answers that are new.

    Raises DataError when the context has no room for a question and its answer.
    """
    told = prompted or {}
    check_room(questions, tokenizer, settings, context, "".join(told.values()))
    asked = [
        (question, model)
        for question in questions
        for model in slots
        if model not in told or question.measure == "format"
    ]
    prompts = {
        (question.id, model): prompt_tokens(question, tokenizer, told.get(model, ""))
        for question, model in asked
    }
    longest = {question.id: longest_answer(question, tokenizer, settings) for question in questions}
    sharing = Counter((model, prompts[question.id, model]) for question, model in asked)
    room = {(model, prompts[q.id, model]): longest[q.id] for q, model in asked}
    said: dict[tuple[str, tuple[int, ...]], str] = {}
    waiting = list(sharing)
    at_once = settings.batch_size * len(slots)
    while waiting:
        requests = [
            Request(prompt, slots[model], room[model, prompt], tokenizer.stop_ids, banned=banned)
            for model, prompt in waiting
        ]
        try:
            for index, answer in _answers(engine, tokenizer, requests, settings.stop, at_once):
                said[waiting[index]] = answer
                on_progress(sharing[waiting[index]])
        except OutOfMemory:
            if at_once == 1:
                raise
            at_once //= 2
        waiting = [one for one in waiting if one not in said]
    return [
        _graded(question, model, said[model, prompts[question.id, model]], format)
        for question, model in asked
    ]


def read(
    engine: Engine, slots: Mapping[str, int], examples: Sequence[Example], batch_size: int = 64
) -> dict[str, Surprise]:
    """Each model's surprise at what is trained of ``examples``; for ``statistics.perplexity``."""
    counts = np.array([np.count_nonzero(example.weight) for example in examples], np.int64)
    return {
        model: Surprise(np.array(list(_nats(engine, slot, examples, batch_size))), counts)
        for model, slot in slots.items()
    }


def check_room(
    questions: Sequence[Question],
    tokenizer: Tokenizer,
    settings: ExamSection,
    context: int | None,
    told: str = "",
) -> None:
    """Raises DataError when the model's context has no room for a question and its answer; with
    what a model is ``told`` before the questions of a format."""
    needed = {
        question.id: (
            len(prompt_tokens(question, tokenizer, told if question.measure == "format" else "")),
            longest_answer(question, tokenizer, settings),
        )
        for question in questions
    }
    most = max(needed, key=lambda id_: sum(needed[id_]), default=None)
    if context is not None and most is not None and sum(needed[most]) > context:
        prompt, answer = needed[most]
        raise DataError(
            f"question {most} has {prompt} tokens, and its answer may have {answer}",
            f"{context} tokens together, which is the model's context",
            "shorten the fact or the test record, or lower exam.max_new_tokens",
        )


def prompt_tokens(question: Question, tokenizer: Tokenizer, told: str = "") -> tuple[int, ...]:
    """What a model is given to answer, with what it is ``told`` before the last turn."""
    if not question.messages:
        return tuple(tokenizer.encode(question.text))
    *before, last = question.messages
    if told:
        last = replace(last, content=f"{told}\n\n{last.content}")
    return tuple(tokenizer.chat([*before, last], add_generation_prompt=True))


def longest_answer(question: Question, tokenizer: Tokenizer, settings: ExamSection) -> int:
    """Tokens that an answer may have."""
    if question.measure != "format":
        return settings.max_new_tokens
    return max(settings.max_new_tokens, 2 * len(tokenizer.encode(question.expected)))


def _answers(
    engine: Engine,
    tokenizer: Tokenizer,
    requests: Sequence[Request],
    stop: Sequence[str],
    at_once: int,
) -> Iterator[tuple[int, str]]:
    """``(request index, answer)``, as they end."""
    answers = [Decoded(tokenizer, stop) for _ in requests]
    made, ended = [0] * len(requests), set[int]()
    for index, token in engine.generate(requests, ended, at_once):
        answer = answers[index]
        answer.add(token)
        made[index] += 1
        if answer.ended or made[index] == requests[index].max_new_tokens:
            ended.add(index)
            yield index, answer.text.strip()


def _graded(question: Question, model: str, answer: str, format: Format | None) -> Answer:
    if question.measure == "format" and format is not None:
        mark = keeps(format, answer)
    else:
        mark = grade(question, answer)
    return Answer(question.id, model, answer, mark.passed, float(mark.passed), mark.why)


def _nats(
    engine: Engine, slot: int, examples: Sequence[Example], batch_size: int
) -> Iterator[float]:
    start = 0
    while group := examples[start : start + batch_size]:
        batch = pack(group, slot)
        try:
            scores = engine.score(batch)
        except OutOfMemory:
            if batch_size == 1:
                raise
            batch_size //= 2
            continue
        start += len(group)
        for segment in range(batch.segments):
            yield -float(scores[batch.segment(segment)].sum(dtype=np.float64))
