"""How much a run has to do: its records as tokens, its steps, its questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from lorecraft.data.batches import Example
from lorecraft.data.encode import Tokenizer, encode_records
from lorecraft.evaluation.exam import prompt_tokens
from lorecraft.evaluation.questions import Question
from lorecraft.recipe import ExamSection, StageSection
from lorecraft.runs.prepare import StageData
from lorecraft.training.loop import step_batches, total_steps


@dataclass(frozen=True)
class StageLoad:
    """A stage's examples; the longest record has ``longest`` tokens, and ``cut`` are cut."""

    name: str
    section: StageSection
    seed: int
    train: list[Example]
    valid: list[Example]
    longest: int
    cut: int

    @cached_property
    def lengths(self) -> list[int]:
        return [len(example.tokens) for example in self.train]

    @cached_property
    def steps(self) -> list[list[list[int]]]:
        """The micro-batches of every step, up to the stage's limits of steps and tokens."""
        limit, seen, steps = self.section.limits.tokens, 0, []
        total = total_steps(len(self.train), self.section)
        for step in islice(step_batches(self.lengths, self.section, self.seed), total):
            steps.append(step)
            seen += self._tokens(step)
            if limit is not None and seen >= limit:
                break
        return steps

    @cached_property
    def tokens(self) -> int:
        """Of all steps, prompts included."""
        return sum(map(self._tokens, self.steps))

    @property
    def validations(self) -> int:
        """Before the first step, each so many steps, and after the last."""
        if not self.valid:
            return 0
        whole, rest = divmod(len(self.steps), self.section.validate_every)
        return 1 + whole + bool(rest)

    @cached_property
    def largest(self) -> list[Example]:
        """The micro-batch of the most tokens."""
        batches = (batch for step in self.steps for batch in step)
        return [self.train[i] for i in max(batches, key=lambda batch: self._tokens([batch]))]

    @property
    def valid_batches(self) -> list[list[Example]]:
        size = self.section.batch_size
        return [self.valid[first : first + size] for first in range(0, len(self.valid), size)]

    def _tokens(self, step: list[list[int]]) -> int:
        return sum(self.lengths[index] for batch in step for index in batch)


@dataclass(frozen=True)
class Asked:
    """A prompt, and how many tokens the base and a tuned model are expected to say to it."""

    prompt: tuple[int, ...]
    base: int
    tuned: int


@dataclass(frozen=True)
class ExamLoad:
    """The questions in the groups in which they are asked, of every model; the longest last.

    ``general`` are the texts that every model reads, for its perplexity.
    """

    groups: list[list[Asked]]
    general: list[Example]
    limit: int


def stage_load(
    name: str,
    section: StageSection,
    data: StageData,
    tokenizer: Tokenizer,
    length: int,
    seed: int,
) -> StageLoad:
    """Raises DataError for records that cannot be trained, all of them at once."""
    train, cut = encode_records(data.train, tokenizer, length)
    valid, _ = encode_records(data.valid, tokenizer, length)
    longest = max(len(example.tokens) for example in train)
    if cut:
        whole, _ = encode_records(data.train, tokenizer, 2**31)
        longest = max(len(example.tokens) for example in whole)
    return StageLoad(name, section, seed, train, valid, longest, cut)


def exam_load(
    questions: Sequence[Question],
    settings: ExamSection,
    tokenizer: Tokenizer,
    general: list[Example],
) -> ExamLoad:
    """An answer is expected to be as long as the right one; only a base model that continues a
    statement goes on until it is stopped."""
    asked = {}
    for question in questions:
        prompt = prompt_tokens(question, tokenizer)
        says = min(settings.max_new_tokens, 1 + len(tokenizer.encode(question.expected)))
        base = settings.max_new_tokens if question.text else says
        asked[prompt] = Asked(prompt, base, says)
    ordered = sorted(asked.values(), key=lambda one: (len(one.prompt), one.prompt))
    size = settings.batch_size
    groups = [ordered[first : first + size] for first in range(0, len(ordered), size)]
    return ExamLoad(groups, general, settings.max_new_tokens)
