"""Tokens and weights: the assistant's turns are trained, and nothing else of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from lorecraft.data.encode import (
    AT_ONCE,
    Chat,
    Tokenizer,
    encode_record,
    encode_records,
    encode_stream,
)
from lorecraft.data.records import Message, Record
from lorecraft.errors import DataError

SPECIAL = ["<eos>", "<start>", "<end>", "<think>"]


class Letters(Tokenizer):
    """A tokenizer of single letters, with the shape of ChatML."""

    eos_id = 0
    stop_ids = frozenset({0, 2})
    fingerprint = "letters"

    def encode(self, text: str) -> list[int]:
        ids = []
        while text:
            special = next((s for s in SPECIAL if text.startswith(s)), None)
            ids.append(SPECIAL.index(special) if special else ord(text[0]) + len(SPECIAL))
            text = text[len(special or " ") :]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(SPECIAL[i] if i < len(SPECIAL) else chr(i - len(SPECIAL)) for i in ids)

    def chat(self, messages: Sequence[Message], add_generation_prompt: bool) -> list[int]:
        if any(message.role not in ("system", "user", "assistant") for message in messages):
            raise ValueError("only system, user and assistant")
        return self.encode(self.template(messages, add_generation_prompt))

    def template(self, messages: Sequence[Message], prompt: bool) -> str:
        turns = [f"<start>{m.role}\n{m.content}<end>\n" for m in messages]
        return "".join(turns) + ("<start>assistant\n" if prompt else "")


class Thinking(Letters):
    """Writes the last turn otherwise than the turns before it, as Qwen3's template does."""

    def template(self, messages: Sequence[Message], prompt: bool) -> str:
        last = len(messages) - 1
        turns = [
            f"<start>{m.role}\n{'<think><think>' * (i == last and m.role == 'assistant')}"
            f"{m.content}<end>\n"
            for i, m in enumerate(messages)
        ]
        return "".join(turns) + ("<start>assistant\n" if prompt else "")


class Silent(Letters):
    """Has no end of turn between turns, and strips what is said."""

    def template(self, messages: Sequence[Message], prompt: bool) -> str:
        turns = [f"[{m.role[0]}] {m.content.strip()} " for m in messages]
        return "".join(turns) + ("[a]" if prompt else "")


def chat(*turns: str, role: str = "user") -> Record:
    roles = (role, "assistant") * len(turns)
    messages = tuple(Message(r, t) for r, t in zip(roles, turns, strict=False))
    return Record("r", messages, place="train.jsonl line 3")


def trained(record: Record, tokenizer: Letters, max_length: int = 500) -> list[str]:
    """The stretches of text with weight 1."""
    ((example, _, _),) = encode_record(record, tokenizer, max_length)
    shown = [
        "".join(tokenizer.decode([t])) if w else "|"
        for t, w in zip(example.tokens, example.weight, strict=True)
    ]
    return [part for part in "".join(shown).split("|") if part]


def test_all_assistant_turns_are_trained_up_to_the_end_of_turn() -> None:
    record = chat("Where?", "Here.", "When?", "Now.")
    assert trained(record, Letters()) == ["Here.<end>", "Now.<end>"]


@pytest.mark.parametrize("answer", ["0", "~", "0 and 0", "user", "<", "Where?"])
def test_no_answer_confuses_where_a_turn_begins_and_ends(answer: str) -> None:
    record = chat("Where?", answer, answer, answer, "0", "~")
    expected = [f"{answer}<end>", f"{answer}<end>", "~<end>"]
    assert trained(record, Letters()) == expected


def test_a_template_that_writes_the_last_turn_otherwise_is_understood() -> None:
    record = chat("Where?", "Here.", "When?", "Now.")
    assert trained(record, Thinking()) == ["Here.<end>", "<think><think>Now.<end>"]


def test_a_template_without_end_of_turn_trains_the_words() -> None:
    assert trained(chat("Where?", "Here.", "When?", "Now."), Silent()) == [" Here.", " Now."]


def test_a_system_turn_is_not_trained() -> None:
    messages = (Message("system", "Be kind."), Message("user", "Hi."), Message("assistant", "Hm."))
    assert trained(Record("r", messages), Letters()) == ["Hm.<end>"]


def test_all_of_a_text_is_trained_but_its_first_token() -> None:
    ((example, _, _),) = encode_record(Record("r", text="Sea."), Letters(), 99)
    assert Letters().decode(example.tokens.tolist()) == "Sea.<eos>"
    assert example.weight.tolist() == [0, 1, 1, 1, 1]
    assert (example.tokens.dtype, example.weight.dtype) == ("int32", "float32")


def test_a_long_chat_is_cut_at_the_end() -> None:
    ((example, whole, piece),) = encode_record(chat("Where?", "Here, I think."), Letters(), 40)
    assert (len(example.tokens), whole > 40, piece) == (40, True, 0)


class Marked(Letters):
    """Begins each text with a token of its own."""

    def encode(self, text: str) -> list[int]:
        return [1, *super().encode(text)]


@pytest.mark.parametrize("tokenizer", [Letters(), Marked()])
@pytest.mark.parametrize("max_length", [8, 9, 21])
def test_every_token_of_a_long_text_is_trained_once(tokenizer: Letters, max_length: int) -> None:
    text = "A long, long sentence."
    encoded = encode_record(Record("r", text=text), tokenizer, max_length)
    pairs = [zip(one.example.tokens, one.example.weight, strict=True) for one in encoded]
    whole = [*tokenizer.encode(text), 0]
    assert [token for pair in pairs for token, weight in pair if weight] == whole[1:]
    assert [one.piece for one in encoded] == list(range(1, len(encoded) + 1))
    assert all(one.whole == len(whole) and one.example.record == "r" for one in encoded)
    assert all(len(one.example.tokens) <= max_length for one in encoded)
    head = len(tokenizer.encode(""))
    for before, after in pairwise(encoded):
        assert after.example.tokens[:head].tolist() == whole[:head]
        assert after.example.tokens[head] == before.example.tokens[-1]
        assert not after.example.weight[: head + 1].any()


def test_pieces_of_what_is_given_are_not_trained() -> None:
    given = "A long, long sentence that ends in "
    record = Record("r", text=given + "red.", given=given)
    assert trained(record, Letters(), 24) == [" red.<eos>"]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (chat("Hi.", "  "), r"message 2 \(assistant\) is empty"),
        (chat("Hi.", "Ho.", role="robot"), "refuses roles robot, assistant: only system"),
        (chat("Ho.", role="assistant"), "the assistant speaks first"),
        (chat("Hi."), "nothing to train"),
        (chat("A long question " * 9, "Ho."), "nothing to train within the first 50 of"),
        (Record("r", place="train.jsonl line 3"), "the record is empty"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(record: Record, said: str) -> None:
    with pytest.raises(DataError, match=f"train.jsonl line 3: .*{said}"):
        encode_record(record, Letters(), 50)


def test_all_bad_records_are_named_at_once() -> None:
    records = [chat("Hi.", ""), chat("Hi.", "Ho."), chat("Hi.")]
    with pytest.raises(DataError) as caught:
        encode_records(records, Letters(), 50)
    assert str(caught.value).count("train.jsonl line 3: ") == 2


class Together(Letters):
    """Tokenises many at a time, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def chat_all(self, chats: Sequence[Chat]) -> list[list[int]]:
        self.asked.append(len(chats))
        return super().chat_all(chats)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        self.asked.append(len(texts))
        return super().encode_all(texts)


MANY = [
    chat("Where?", "Here.", "When?", "Now."),
    chat("Where?", "Here."),
    Record("t", text="The light is red.", given="The light is "),
    Record("u", text="Sea."),
]


def test_many_records_are_tokenised_together_and_come_to_the_same() -> None:
    tokenizer = Together()
    together = list(encode_stream(MANY * AT_ONCE, tokenizer, 500))
    assert tokenizer.asked == [3, 12]  # texts and conversations; the same ones but once
    for (example, whole, _), record in zip(together, MANY * AT_ONCE, strict=True):
        ((alone, _, _),) = encode_record(record, Letters(), 500)
        assert (example.tokens.tolist(), example.weight.tolist()) == (
            alone.tokens.tolist(),
            alone.weight.tolist(),
        )
        assert whole == len(alone.tokens)


def test_a_refused_record_is_named_and_not_those_tokenised_with_it() -> None:
    with pytest.raises(DataError) as caught:
        encode_records([*MANY, chat("Hi.", "Ho.", role="robot"), *MANY], Letters(), 500)
    assert str(caught.value).count("train.jsonl line 3: ") == 1


def test_of_very_many_bad_records_the_first_are_named_and_the_others_counted() -> None:
    with pytest.raises(DataError) as caught:
        encode_records([chat("Hi.", "")] * (2 * AT_ONCE), Letters(), 500)
    assert str(caught.value).count("train.jsonl line 3: ") == 20
    assert f"and {2 * AT_ONCE - 20} more" in str(caught.value)


class Merging(Letters):
    """Takes the end of a prompt and a letter after it for one token."""

    MERGED = 9999

    def chat(self, messages: Sequence[Message], add_generation_prompt: bool) -> list[int]:
        ids, merged = super().chat(messages, add_generation_prompt), []
        for one in ids:
            if one == ord("H") + len(SPECIAL) and merged and merged[-1] == ord("\n") + len(SPECIAL):
                merged[-1] = self.MERGED
            else:
                merged.append(one)
        return merged


def pair(*turns: str, rejected: str) -> Record:
    messages = chat(*turns).messages
    return Record("r", messages, rejected=rejected, place="pairs.jsonl:3")


def parts(record: Record, tokenizer: Letters, max_length: int = 500) -> tuple[str, str, str]:
    """Prompt, chosen and rejected; prompt alone weighs 0."""
    ((example, _, _),) = encode_record(record, tokenizer, max_length)
    first, second = example.answers
    assert example.weight.tolist() == [0.0] * first + [1.0] * (len(example.tokens) - first)
    found = np.split(example.tokens, [first, second])
    prompt, chosen, rejected = (tokenizer.decode(some.tolist()) for some in found)
    return prompt, chosen, rejected


@pytest.mark.parametrize("tokenizer", [Letters(), Silent()])
def test_a_pair_is_a_prompt_and_two_answers(tokenizer: Letters) -> None:
    record = pair("Where?", "Here.", "When?", "Now.", rejected="Not now.")
    prompt, chosen, rejected = parts(record, tokenizer)
    asked = tokenizer.template(record.messages[:-1], True)
    assert prompt == asked
    ends = "<end>" if type(tokenizer) is Letters else ""
    assert (chosen.strip(), rejected.strip()) == (f"Now.{ends}", f"Not now.{ends}")


def test_where_tokens_merge_both_answers_begin_before_that() -> None:
    record = pair("Where?", "Here.", rejected="There.")
    ((example, _, _),) = encode_record(record, Merging(), 500)
    first, second = example.answers
    whole = len(Letters().chat(chat("Where?").messages, True))
    assert first == whole - 1
    assert example.tokens[first] == Merging.MERGED
    assert example.tokens[second] == ord("\n") + len(SPECIAL)  # the same break, not merged


def test_answers_that_are_too_long_are_cut_and_counted() -> None:
    record = pair("Q?", "abcdef", rejected="ab")
    prompt, _, _ = parts(record, Letters())
    room = len(Letters().encode(prompt)) + 4
    assert parts(record, Letters(), room)[1:] == ("abcd", "ab<end>")
    ((example, whole, piece),) = encode_record(record, Letters(), room)
    assert (whole > len(example.tokens), piece) == (True, 0)


@pytest.mark.parametrize("length", [8, None])
def test_a_pair_whose_difference_is_cut_away_is_refused(length: int | None) -> None:
    record = pair("Q?", "abcdef", rejected="abcdxy")
    room = length or len(Letters().encode(parts(record, Letters())[0])) + 4
    with pytest.raises(DataError, match=r"pairs.jsonl:3: nothing to prefer within the first"):
        encode_record(record, Letters(), room)


def test_pairs_of_many_records_are_those_of_each() -> None:
    records = [pair("Q?", "Yes.", rejected="No."), chat("Where?", "Here.")]
    together = encode_records(records, Letters(), 500)
    for example, record in zip(together, records, strict=True):
        ((alone, _, _),) = encode_record(record, Letters(), 500)
        assert (example.answers, example.tokens.tolist()) == (alone.answers, alone.tokens.tolist())
