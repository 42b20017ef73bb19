"""What a conversation is as tokens, and where in them its turns stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from lorecraft.data.records import Message, Record
from lorecraft.errors import DataError

Chat = tuple[tuple[Message, ...], bool]
"""A conversation, and whether a generation prompt is added."""


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

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """``encode`` of each; a tokenizer that is faster with many has its own way."""
        return [self.encode(text) for text in texts]

    def chat_all(self, chats: Sequence[Chat]) -> list[list[int]]:
        """``chat`` of each, likewise."""
        return [self.chat(messages, prompt) for messages, prompt in chats]


def check_turns(record: Record, messages: Sequence[Message]) -> None:
    for number, message in enumerate(messages, start=1):
        if not message.content.strip():
            raise DataError(
                f"{record.place}: message {number} ({message.role}) is empty", "a text in each turn"
            )
    if messages[0].role == "assistant":
        raise DataError(
            f"{record.place}: the assistant speaks first", "a user's turn before the assistant's"
        )


@contextmanager
def of_template(record: Record) -> Iterator[None]:
    """Within: what the chat template refuses becomes a DataError."""
    try:
        yield
    except ValueError as error:
        roles = ", ".join(message.role for message in record.messages)
        raise DataError(
            f"{record.place}: the chat template refuses roles {roles}: {error}",
            "roles and an order that the model's chat template takes",
        ) from error


def turn_at(
    messages: Sequence[Message], index: int, whole: list[int], tokenizer: Tokenizer
) -> tuple[int, int]:
    """Where assistant turn ``index`` stands in ``whole``: what the model would have to write.

    It starts where the prompt for it ends. What follows its last word is found by changing that
    word, since some templates write a turn differently once another follows; of this rest the
    turn keeps all up to the end of turn.
    """
    prompt = tokenizer.chat(messages[:index], add_generation_prompt=True)
    start = common(whole, prompt)
    spoken = max(start, len(whole) - _rest(messages, index, whole, tokenizer))
    following = len(whole)
    if index + 1 < len(messages):
        following = min(
            common(whole, tokenizer.chat(changed(messages, index + 1, probe), False))
            for probe in PROBES
        )
    for position in range(spoken, following):
        if whole[position] in tokenizer.stop_ids:
            return start, position + 1
    return start, spoken


# Two of them, since the message itself may begin or end like one.
PROBES = ("0", "~")


def _rest(messages: Sequence[Message], index: int, whole: list[int], tokenizer: Tokenizer) -> int:
    """How many tokens of ``whole`` follow the content of message ``index``."""
    end = whole[::-1]
    return min(
        common(end, tokenizer.chat(shortened(messages, index, probe), False)[::-1])
        for probe in PROBES
    )


def shortened(messages: Sequence[Message], index: int, content: str) -> tuple[Message, ...]:
    """Message ``index`` and those before it changed: most conversations become the same few."""
    before = (Message(message.role, content) for message in messages[: index + 1])
    return (*before, *messages[index + 1 :])


def changed(messages: Sequence[Message], index: int, content: str) -> tuple[Message, ...]:
    message = Message(messages[index].role, content)
    return (*messages[:index], message, *messages[index + 1 :])


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common beginning."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))
