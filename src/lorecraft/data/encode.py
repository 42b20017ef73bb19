"""Records -> tokens and what is trained of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np

from lorecraft.data.batches import Example
from lorecraft.data.records import Message, Record
from lorecraft.data.turns import (
    PROBES,
    Chat,
    Tokenizer,
    changed,
    check_turns,
    common,
    of_template,
    shortened,
    turn_at,
)
from lorecraft.errors import DataError
from lorecraft.knowledge.jsonl import MISTAKES_SHOWN
from lorecraft.knowledge.strictness import Bad, strict

AT_ONCE = 256
"""Records that are tokenised together."""
REMEMBERED = 1_000_000
"""Tokens that are remembered, of texts and of conversations."""

T = TypeVar("T")


class Encoded(NamedTuple):
    """One example of a record.

    Attributes:
        whole: tokens of the record.
        piece: 0 for a record that is one example; the pieces of a longer text count from 1.
    """

    example: Example
    whole: int
    piece: int = 0


def encode_record(record: Record, tokenizer: Tokenizer, max_length: int) -> list[Encoded]:
    """A record's tokens and their weights, in examples of at most ``max_length`` tokens.

    Text: every token and the end of text weigh 1; the first, and what is ``given``, 0. What is
    longer goes on in further examples, and nothing of it is lost. Chat: every assistant turn, its
    end of turn included, weighs 1; all else 0. What is longer is cut at the end. Of a pair of
    answers both weigh 1, and each is cut where it would end beyond ``max_length``, prompt included;
    they begin where the tokens of prompt and answer first differ from those of the prompt, which is
    before its end where tokens merge.

    Raises:
        DataError: names ``record.place``: nothing in the record, a turn that is empty or that the
            chat template refuses, or nothing left to train (of a pair: to prefer) within
            ``max_length``.
        ModelError: a chat record for a tokenizer without a chat template.
    """
    if record.rejected:
        return [_pair(record, tokenizer, max_length)]
    tokens, weight = _encode(record, tokenizer)
    if record.messages or len(tokens) <= max_length:
        return [Encoded(_example(record, tokens, weight, max_length), len(tokens))]
    head = common(tokens, tokenizer.encode(""))
    return [
        Encoded(_example(record, *piece, max_length), len(tokens), number)
        for number, piece in enumerate(_pieces(tokens, weight, head, max_length), start=1)
    ]


def encode_records(
    records: Sequence[Record], tokenizer: Tokenizer, max_length: int, bad: Bad = strict
) -> list[Example]:
    """All examples.

    Raises:
        DataError: what ``bad`` raises, which is told of all bad records at once (20 are named).
        ModelError: a chat record for a tokenizer without a chat template.
    """
    return [encoded.example for encoded in encode_stream(records, tokenizer, max_length, bad)]


def encode_stream(
    records: Iterable[Record], tokenizer: Tokenizer, max_length: int, bad: Bad = strict
) -> Iterator[Encoded]:
    """The examples of each record, as ``encode_record``.

    After the last record ``bad`` is told of those that cannot be trained.
    """
    mistakes: list[DataError] = []
    hidden = 0
    left = iter(records)
    known = _Tokenised(tokenizer)
    while chunk := list(islice(left, AT_ONCE)):
        known.look_at(chunk)
        for record in chunk:
            try:
                yield from encode_record(record, known, max_length)
            except DataError as error:
                if len(mistakes) < MISTAKES_SHOWN:
                    mistakes.append(error)
                else:
                    hidden += 1
    if mistakes:
        more = [f"and {hidden} more"] if hidden else []
        seen = [error.seen for error in mistakes]
        refused = DataError("\n".join([*seen, *more]), mistakes[0].expected, mistakes[0].fix)
        bad(refused, "record", len(mistakes) + hidden)


class _Tokenised(Tokenizer):
    """A tokenizer that tokenises all at once what some records will ask it for.

    It knows the last ones too: general records come again and again.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._texts: dict[str, list[int]] = {}
        self._chats: dict[Chat, list[int]] = {}

    def look_at(self, records: Sequence[Record]) -> None:
        _learn(
            self._texts,
            {text: None for record in records for text in _texts(record)},
            self._tokenizer.encode_all,
        )
        # The template may refuse one of them: then they are tokenised one at a time.
        with suppress(ValueError):
            _learn(
                self._chats,
                {
                    chat: None
                    for record in records
                    for messages in (record.messages, _other(record))
                    for chat in _chats(messages)
                },
                self._tokenizer.chat_all,
            )

    @property
    def eos_id(self) -> int:
        return self._tokenizer.eos_id

    @property
    def stop_ids(self) -> frozenset[int]:
        return self._tokenizer.stop_ids

    @property
    def fingerprint(self) -> str:
        return self._tokenizer.fingerprint

    def encode(self, text: str) -> list[int]:
        known = self._texts.get(text)
        return self._tokenizer.encode(text) if known is None else known

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids)

    def chat(self, messages: Sequence[Message], add_generation_prompt: bool) -> list[int]:
        known = self._chats.get((tuple(messages), add_generation_prompt))
        return self._tokenizer.chat(messages, add_generation_prompt) if known is None else known


def _learn(
    known: dict[T, list[int]],
    asked: dict[T, None],
    tokenise: Callable[[Sequence[T]], list[list[int]]],
) -> None:
    """Tokenise what is asked and not known; forget what was asked for longest ago."""
    new = [one for one in asked if one not in known]
    ids = dict(zip(new, tokenise(new), strict=True)) if new else {}
    known |= {one: ids[one] if one in ids else known.pop(one) for one in asked}
    tokens = sum(map(len, known.values()))
    for one in list(islice(known, len(known) - len(asked))):
        if tokens <= REMEMBERED:
            return
        tokens -= len(known.pop(one))


def _texts(record: Record) -> list[str]:
    """What ``_encode`` has tokenised of a text."""
    return [text for text in (record.text, record.given.rstrip()) if text]


def _chats(messages: tuple[Message, ...]) -> Iterator[Chat]:
    """What ``_encode_chat`` has tokenised of a conversation."""
    if messages:
        yield messages, False
    for index, message in enumerate(messages):
        if message.role == "assistant" and index:
            yield messages[:index], True
            for probe in PROBES:
                yield shortened(messages, index, probe), False
                if index + 1 < len(messages):
                    yield changed(messages, index + 1, probe), False


def _pieces(
    tokens: list[int], weight: list[float], head: int, limit: int
) -> Iterator[tuple[list[int], list[float]]]:
    """A text in pieces, each but the first with the ``head`` tokens that texts begin with and the
    last token of the piece before, which are not trained again; those with nothing to train are
    left out."""
    if any(weight[:limit]):
        yield tokens[:limit], weight[:limit]
    room = limit - head - 1
    for start in range(limit, len(tokens), room):
        if any(weight[start : start + room]):
            yield (
                tokens[:head] + tokens[start - 1 : start + room],
                [0.0] * (head + 1) + weight[start : start + room],
            )


def _example(record: Record, tokens: list[int], weight: list[float], max_length: int) -> Example:
    if not any(weight[:max_length]):
        raise DataError(
            f"{record.place}: nothing to train within the first {min(max_length, len(tokens))} of "
            f"{len(tokens)} tokens",
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
    given = common(tokens, tokenizer.encode(record.given.rstrip())) if record.given else 0
    given = max(given, 1)
    return tokens, [0.0] * given + [1.0] * (len(tokens) - given)


def _other(record: Record) -> tuple[Message, ...]:
    """The conversation that ends with the rejected answer."""
    if not record.rejected:
        return ()
    return (*record.messages[:-1], Message("assistant", record.rejected))


def _pair(record: Record, tokenizer: Tokenizer, max_length: int) -> Encoded:
    """The prompt, and where both conversations go on from it."""
    last = len(record.messages) - 1
    found = []
    with of_template(record):
        for messages in (record.messages, _other(record)):
            check_turns(record, messages)
            whole = tokenizer.chat(messages, add_generation_prompt=False)
            found.append((whole, *turn_at(messages, last, whole, tokenizer)))
    begin = min(start for _, start, _ in found)
    answers = [whole[begin:end] for whole, _, end in found]
    prompt, length = found[0][0][:begin], begin + sum(map(len, answers))
    kept = [answer[: max(0, max_length - begin)] for answer in answers]
    if not begin or not all(kept) or kept[0] == kept[1]:
        raise DataError(
            f"{record.place}: nothing to prefer within the first {min(max_length, length)} tokens "
            f"(the prompt has {begin}, the answers {len(answers[0])} and {len(answers[1])})",
            "two answers that differ there",
            "shorten the pair or raise data.max_length",
        )
    example = Example(
        tokens=np.array(prompt + kept[0] + kept[1], np.int32),
        weight=np.array([0.0] * begin + [1.0] * sum(map(len, kept)), np.float32),
        record=record.id,
        answers=(begin, begin + len(kept[0])),
    )
    return Encoded(example, length)


def _encode_chat(record: Record, tokenizer: Tokenizer) -> tuple[list[int], list[float]]:
    """Stock templates do not say which tokens are the assistant's, so turns are compared."""
    messages = record.messages
    check_turns(record, messages)
    with of_template(record):
        whole = tokenizer.chat(messages, add_generation_prompt=False)
        weight = [0.0] * len(whole)
        for index, message in enumerate(messages):
            if message.role == "assistant":
                start, end = turn_at(messages, index, whole, tokenizer)
                weight[start:end] = [1.0] * (end - start)
    if weight[:1] == [1.0]:
        weight[0] = 0.0
    return whole, weight
