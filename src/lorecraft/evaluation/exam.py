"""Sitting the exam: every model answers the same questions over one copy of the weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lorecraft.data.batches import Example, pack
from lorecraft.data.decode import Decoded
from lorecraft.data.encode import Tokenizer
from lorecraft.engines.base import Engine, Request
from lorecraft.errors import DataError, OutOfMemory
from lorecraft.evaluation.graders import grade
from lorecraft.evaluation.questions import Question

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
        context: tokens that the model can take, if that is known.
        banned: token sequences that no answer may hold.
        on_progress: called with the number of answers that are new.

    Raises DataError when the context has no room for a question and its answer.
    """
    check_room(questions, tokenizer, settings.max_new_tokens, context)
    prompts = {question.id: prompt_tokens(question, tokenizer) for question in questions}
    sharing = Counter(prompts.values())
    said: dict[tuple[str, tuple[int, ...]], str] = {}
    waiting = [(model, prompt) for prompt in sharing for model in slots]
    at_once = settings.batch_size * len(slots)
    while waiting:
        requests = [
            Request(
                prompt, slots[model], settings.max_new_tokens, tokenizer.stop_ids, banned=banned
            )
            for model, prompt in waiting
        ]
        try:
            for index, answer in _answers(engine, tokenizer, requests, settings.stop, at_once):
                said[waiting[index]] = answer
                on_progress(sharing[waiting[index][1]])
        except OutOfMemory:
            if at_once == 1:
                raise
            at_once //= 2
        waiting = [asked for asked in waiting if asked not in said]
    return [
        _graded(question, model, said[model, prompts[question.id]])
        for question in questions
        for model in slots
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
    questions: Sequence[Question], tokenizer: Tokenizer, max_new_tokens: int, context: int | None
) -> None:
    """Raises DataError when the model's context has no room for a question and its answer."""
    lengths = {question.id: len(prompt_tokens(question, tokenizer)) for question in questions}
    longest = max(lengths, key=lengths.__getitem__, default=None)
    if context is None or longest is None:
        return
    if lengths[longest] + max_new_tokens > context:
        raise DataError(
            f"question {longest} has {lengths[longest]} tokens, and its answer may have "
            f"{max_new_tokens}",
            f"{context} tokens together, which is the model's context",
            "shorten the fact, or lower exam.max_new_tokens",
        )


def prompt_tokens(question: Question, tokenizer: Tokenizer) -> tuple[int, ...]:
    """What a model is given to answer."""
    if question.messages:
        return tuple(tokenizer.chat(question.messages, add_generation_prompt=True))
    return tuple(tokenizer.encode(question.text))


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


def _graded(question: Question, model: str, answer: str) -> Answer:
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
