"""Lengths in a model's tokens, and what of a record would be trained."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import pytest

from lorecraft.data.audit.lengths import Tokens
from lorecraft.models.find import find
from lorecraft.models.tokenizer import load_tokenizer

from .conftest import Look
from .planted import chat, clean, found

LOAD = partial(load_tokenizer, find("pocket"))


def test_records_beyond_the_limit_are_found_and_those_without_an_answer_in_it(look: Look) -> None:
    rows = [*clean(), chat("short?", "long " * 200), chat("long " * 200, "short")]
    seen = look(rows, more=[Tokens(LOAD, 100)])
    texts = dict(found(seen, "tokens"))
    assert texts["nothing is trained within the limit: 1 record"] == ["train.jsonl line 42"]
    assert texts["longer than the limit, and cut there: 2 records"] == ["train.jsonl line 41"]
    assert seen.figures["lengths"]["unit"] == "tokens"
    assert seen.figures["trained_tokens"] > 40 * 12


def test_a_record_that_cannot_be_made_into_tokens_is_named_and_the_rest_is_counted(
    look: Look,
) -> None:
    rows = clean()
    rows[5]["messages"] = rows[5]["messages"][::-1]
    seen = look(rows, more=[Tokens(LOAD, 100)])
    finding = next(f for f in seen.findings if f.check == "tokens")
    assert finding.text == "cannot be made into tokens: 1 record"
    assert finding.spots[0].why == "the assistant speaks first"
    assert sum(seen.figures["lengths"]["splits"]["train"]["histogram"]) == 39


def test_of_a_pair_each_answer_is_held_against_the_limit_with_the_prompt(look: Look) -> None:
    rows = [
        {"prompt": f"{i} lamps?", "chosen": "word " * long, "rejected": f"no {i} " * 20}
        for i, long in enumerate((20, 200))
    ]
    seen = look(rows, more=[Tokens(LOAD, 120)])
    assert found(seen, "tokens") == [
        ("longer than the limit, and cut there: 1 record", ["train.jsonl line 2"])
    ]


class Endless:
    """A tokenizer whose chat template does not end a turn."""

    eos_id = 0
    stop_ids = frozenset({0})
    fingerprint = ""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def chat_all(self, chats: Any) -> Any:
        ends = self._real.stop_ids
        return [[id_ for id_ in ids if id_ not in ends] for ids in self._real.chat_all(chats)]

    def chat(self, messages: Any, prompt: bool) -> Any:
        return self.chat_all([(tuple(messages), prompt)])[0]


def test_answers_that_do_not_end_are_found(look: Look) -> None:
    seen = look(clean(3), more=[Tokens(lambda: Endless(LOAD()), 100)])  # type: ignore[arg-type,return-value]
    assert [text for text, _ in found(seen, "tokens")] == [
        "the answer has no end of turn, so that the model would not learn to stop: 3 records"
    ]


@pytest.mark.parametrize("loaded", [False, True])
def test_the_check_goes_to_other_processes_without_its_tokenizer(loaded: bool) -> None:
    check = Tokens(LOAD, 100)
    if loaded:
        check.look([])
    assert len(pickle.dumps(check)) < 2000
