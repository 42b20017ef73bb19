"""Records -> tokens and what is trained of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lorecraft.data.batches import Example
from lorecraft.data.records import Message, Record
from lorecraft.errors import DataError
from lorecraft.knowledge.jsonl import MISTAKES_SHOWN


class Tokenizer(Protocol):
    """What is needed of a tokenizer, whatever library it comes from.

    Attributes:
        eos_id: ends a text.
        stop_ids: any of these ends a turn.
        fingerprint: changes when the tokenizer or its chat template does.
    """

    @property
    def eos_id(self) -> int: ...
    @property
    def stop_ids(self) -> frozenset[int]: ...
    @property
    def fingerprint(self) -> str: ...

    def encode(self, text: str) -> list[int]:
        """Ids of a plain text, with whatever the model expects at its beginning."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text, special tokens left out."""

    def chat(self, messages: Sequence[Message], add_generation_prompt: bool) -> list[int]:
        """Ids of a conversation under the chat template.

        Raises:
            ValueError: the template refuses the messages (a role, their order), with its reason.
            ModelError: there is no chat template.
        """


def encode_record(record: Record, tokenizer: Tokenizer, max_length: int) -> Example:
    """A record's tokens, at most ``max_length`` of them (cut at the end), and their weights.

    Text: every token and the end of text weigh 1; the first, and what is ``given``, 0. Chat: every
    assistant turn, its end of turn included, weighs 1; all else 0.

    Raises:
        DataError: names ``record.place``: nothing in the record, a turn that is empty or that the
            chat template refuses, or nothing left to train within ``max_length``.
        ModelError: a chat record for a tokenizer without a chat template.
    """
    tokens, weight = _encode(record, tokenizer)
    return _cut(record, tokens, weight, max_length)


def encode_records(
    records: Sequence[Record], tokenizer: Tokenizer, max_length: int
) -> tuple[list[Example], int]:
    """All examples, and how many of them were cut at ``max_length``.

    Raises:
        DataError: as ``encode_record``, for all bad records at once (the first 20 are named).
        ModelError: a chat record for a tokenizer without a chat template.
    """
    examples, mistakes, cut = [], [], 0
    for record in records:
        try:
            tokens, weight = _encode(record, tokenizer)
            examples.append(_cut(record, tokens, weight, max_length))
            cut += len(tokens) > max_length
        except DataError as error:
            mistakes.append(error)
    if mistakes:
        hidden = len(mistakes) - MISTAKES_SHOWN
        seen = [error.seen for error in mistakes[:MISTAKES_SHOWN]]
        more = [f"and {hidden} more"] if hidden > 0 else []
        raise DataError("\n".join([*seen, *more]), mistakes[0].expected, mistakes[0].fix)
    return examples, cut


def _cut(record: Record, tokens: list[int], weight: list[float], max_length: int) -> Example:
    if not any(weight[:max_length]):
        raise DataError(
            f"{record.place}: nothing to train within the first {max_length} of {len(tokens)} "
            "tokens",
            "an assistant turn, or a text of two tokens or more",
            "shorten the record or raise data.max_length",
        )
    return Example(
        tokens=np.array(tokens[:max_length], np.int32),
        weight=np.array(weight[:max_length], np.float32),
        record=record.id,
    )


def _encode(record: Record, tokenizer: Tokenizer) -> tuple[list[int], list[float]]:
    if record.messages:
        return _encode_chat(record, tokenizer)
    if not record.text.strip():
        raise DataError(f"{record.place}: the record is empty", "messages or text")
    tokens = [*tokenizer.encode(record.text), tokenizer.eos_id]
    # A word's space belongs to the word, so the given part is compared without its last one.
    given = _common(tokens, tokenizer.encode(record.given.rstrip())) if record.given else 0
    given = max(given, 1)
    return tokens, [0.0] * given + [1.0] * (len(tokens) - given)


def _encode_chat(record: Record, tokenizer: Tokenizer) -> tuple[list[int], list[float]]:
    """Stock templates do not say which tokens are the assistant's, so turns are compared."""
    messages = record.messages
    for number, message in enumerate(messages, start=1):
        if not message.content.strip():
            raise DataError(
                f"{record.place}: message {number} ({message.role}) is empty", "a text in each turn"
            )
    if messages[0].role == "assistant":
        raise DataError(
            f"{record.place}: the assistant speaks first", "a user's turn before the assistant's"
        )
    try:
        whole = tokenizer.chat(messages, add_generation_prompt=False)
        weight = [0.0] * len(whole)
        for index, message in enumerate(messages):
            if message.role == "assistant":
                start, end = _turn(messages, index, whole, tokenizer)
                weight[start:end] = [1.0] * (end - start)
    except ValueError as error:
        roles = ", ".join(message.role for message in messages)
        raise DataError(
            f"{record.place}: the chat template refuses roles {roles}: {error}",
            "roles and an order that the model's chat template takes",
        ) from error
    if weight[:1] == [1.0]:
        weight[0] = 0.0
    return whole, weight


def _turn(
    messages: Sequence[Message], index: int, whole: list[int], tokenizer: Tokenizer
) -> tuple[int, int]:
    """Where assistant turn ``index`` stands in ``whole``: what the model would have to write.

    It starts where the prompt for it ends. What follows its last word is found by changing that
    word, since some templates write a turn differently once another follows; of this rest the
    turn keeps all up to the end of turn.
    """
    prompt = tokenizer.chat(messages[:index], add_generation_prompt=True)
    start = _common(whole, prompt)
    spoken = max(start, len(whole) - _rest(messages, index, whole, tokenizer))
    following = len(whole)
    if index + 1 < len(messages):
        following = min(
            _common(whole, tokenizer.chat(_changed(messages, index + 1, probe), False))
            for probe in _PROBES
        )
    for position in range(spoken, following):
        if whole[position] in tokenizer.stop_ids:
            return start, position + 1
    return start, spoken


# Two of them, since the message itself may begin or end like one.
_PROBES = ("0", "~")


def _rest(messages: Sequence[Message], index: int, whole: list[int], tokenizer: Tokenizer) -> int:
    """How many tokens of ``whole`` follow the content of message ``index``."""
    return min(
        _common(whole[::-1], tokenizer.chat(_changed(messages, index, probe), False)[::-1])
        for probe in _PROBES
    )


def _changed(messages: Sequence[Message], index: int, content: str) -> list[Message]:
    changed = Message(messages[index].role, content)
    return [*messages[:index], changed, *messages[index + 1 :]]


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common beginning."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))
