"""How much a run has to do: its steps, its tokens, its questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from lorecraft.data.cache import Examples
from lorecraft.data.turns import Tokenizer
from lorecraft.evaluation.exam import longest_answer, prompt_tokens
from lorecraft.evaluation.questions import Question
from lorecraft.recipe import ExamSection, StageSection
from lorecraft.training.steps import step_batches, steps_per_epoch, total_steps

Step = list[list[int]]
"""Its micro-batches: indices of examples."""


@dataclass(frozen=True)
class StageLoad:
    """A stage's examples, and what it does with them at most.

    Attributes:
        steps, tokens: of the whole stage, prompts included.
        epoch: the steps of its first epoch.
    """

    name: str
    section: StageSection
    train: Examples
    valid: Examples
    steps: int
    tokens: int
    epoch: list[Step]

    @property
    def validations(self) -> int:
        """Before the first step, each so many steps, and after the last."""
        if not self.valid:
            return 0
        whole, rest = divmod(self.steps, self.section.validate_every)
        return 1 + whole + bool(rest)

    @property
    def largest(self) -> list[int]:
        """The micro-batch of the most tokens."""
        lengths = self.train.lengths
        return max(
            (batch for step in self.epoch for batch in step), key=lambda batch: lengths[batch].sum()
        )


def stage_load(
    name: str, section: StageSection, train: Examples, valid: Examples, seed: int
) -> StageLoad:
    """Whole epochs are counted by their sum; the one in which a limit is met, step by step."""
    lengths = train.lengths.tolist()
    total, an_epoch = total_steps(len(train), section), steps_per_epoch(len(train), section)
    limit = section.limits.tokens
    whole = total // an_epoch
    if limit is not None:
        whole = min(whole, limit // sum(lengths))
    steps, tokens = whole * an_epoch, whole * sum(lengths)
    for step in islice(step_batches(lengths, section, seed, steps), total - steps):
        if limit is not None and tokens >= limit:
            break
        steps, tokens = steps + 1, tokens + sum(lengths[i] for batch in step for i in batch)
    epoch = list(islice(step_batches(lengths, section, seed), min(steps, an_epoch)))
    return StageLoad(name, section, train, valid, steps, tokens, epoch)


@dataclass(frozen=True)
class Asked:
    """A prompt, and how many tokens the base and a tuned model are expected to say to it."""

    prompt: tuple[int, ...]
    base: int
    tuned: int


@dataclass(frozen=True)
class ExamLoad:
    """The questions in the groups in which they are asked, of every model; the longest last.

    Attributes:
        limit: tokens of an answer at most.
        read: tokens of the texts that every model reads.
    """

    groups: list[list[Asked]]
    limit: int
    read: int


def exam_load(
    questions: Sequence[Question], settings: ExamSection, tokenizer: Tokenizer, read: int
) -> ExamLoad:
    """An answer is expected to be as long as the right one; only a base model that continues a
    statement, or knows nothing of a format, goes on until it is stopped."""
    asked, longest = {}, settings.max_new_tokens
    for question in questions:
        prompt = prompt_tokens(question, tokenizer)
        limit = longest_answer(question, tokenizer, settings)
        says = min(limit, 1 + len(tokenizer.encode(question.expected)))
        longest = max(longest, limit)
        base = limit if question.text or question.measure == "format" else says
        asked[prompt] = Asked(prompt, base, says)
    ordered = sorted(asked.values(), key=lambda one: (len(one.prompt), one.prompt))
    size = settings.batch_size
    groups = [ordered[first : first + size] for first in range(0, len(ordered), size)]
    return ExamLoad(groups, longest, read)
