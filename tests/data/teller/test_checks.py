"""What an answer must be to be used."""

from __future__ import annotations

import json
import time

import pytest

from lorecraft.data.teller.checks import Unusable, check_pair, check_rewrite, parse
from lorecraft.data.teller.passages import Passage
from lorecraft.data.teller.requests import questions, rewrite

SOURCE = (
    "Lumen Pier was opened in 1931 by Odile Varga. Its lamp burns 1,200 litres of rape oil a year. "
    "The keeper trims the wick at dusk, because a long wick smokes."
)
TEXT = rewrite(Passage("p", SOURCE, "p"), "email").schema
PAIRS = questions(Passage("p", SOURCE, "p"), ["recall"]).schema


@pytest.mark.parametrize(
    "answer",
    [
        '{"text": "Yes."}',
        '```json\n{"text": "Yes."}\n```',
        '<think>Let me {see}.</think>\n{"text": "Yes."}',
        'Here it is: {"text": "Yes."} I hope that helps!',
    ],
)
def test_an_object_is_found_in_what_is_around_it(answer: str) -> None:
    assert parse(answer, TEXT) == {"text": "Yes."}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "no JSON"),
        ("I cannot do that.", "no JSON"),
        ('{"text": "cut sho', "no JSON"),
        ("{" * 5000, "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('["Yes."]', "JSON of another form"),
        ('{"text": ""}', "JSON of another form"),
        ('{"text": 7}', "JSON of another form"),
        ('{"text": "Yes.", "more": "No."}', "JSON of another form"),
        ('{"answer": "Yes."}', "JSON of another form"),
        ('{"text": "caf\\ud83d"}', "JSON of another form"),
        ('{"text": "Yes, but"} no.</think>', "no JSON"),
        ("```json" + " " * 100_000, "no JSON"),
    ],
)
def test_what_is_not_of_the_asked_form_is_refused(answer: str, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        parse(answer, TEXT)


def test_a_depth_that_was_not_asked_for_is_refused() -> None:
    pair = {"depth": "joke", "question": "Why?", "answer": "Because."}
    with pytest.raises(Unusable, match="another form"):
        parse(json.dumps({"pairs": [pair]}), PAIRS)


@pytest.mark.parametrize(
    "text",
    [
        "Subject: Lumen Pier\n\nDear Team,\nin 1931 Odile Varga opened Lumen Pier.\nBest Regards",
        "1. Odile Varga opened the pier.\n2. That was in 1931.\n3. Lumen burns 1200 litres.",
        "Lumen Pier's History\nVarga opened Lumen Pier in 1931.",
    ],
)
def test_a_rewrite_may_say_all_that_its_source_says(text: str) -> None:
    check_rewrite(text, [SOURCE], allowed=["Subject", "Dear", "Team", "Best", "Regards"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("In 1932 Odile Varga opened Lumen Pier.", "a number that is not"),
        ("In 1931 Jane Varga and then Tom Bell opened Lumen Pier.", "a name that is not"),
        ("Lumen Pier\nKeeper: Jane Doe\nOpened by Odile Varga in 1931.", "a name that is not"),
        ("A keeper cares for wick and oil, and likes it.", "too little of its source"),
        (SOURCE.replace("because", "since"), "a copy of its source"),
    ],
)
def test_a_rewrite_that_adds_loses_or_copies_is_refused(text: str, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        check_rewrite(text, [SOURCE])


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who opened Lumen Pier?", "Odile Varga opened it."),
        ("When was Lumen Pier opened?", "1931."),
        ("Why does the keeper trim the wick?", "Because a wick that is long smokes."),
    ],
)
def test_an_answer_may_say_what_stands_in_its_source(question: str, answer: str) -> None:
    check_pair(question, answer, SOURCE)


@pytest.mark.parametrize(
    ("question", "answer", "why"),
    [
        ("Who opened Lumen Pier?", "It was opened by Tom Bell.", "a name that is not"),
        ("How much oil does it burn?", "It burns 1,300 litres.", "a number that is not"),
        ("When was Tern Rock opened?", "In 1931.", "a name that is not"),
        ("What does the passage say of oil?", "It is rape oil.", "speaks of its source"),
        ("Why trim it?", "Nobody really knows anything about that.", "words that are not"),
        ("Is it so?", "Yes it is.", "nothing of its source"),
    ],
)
def test_an_answer_from_elsewhere_is_refused(question: str, answer: str, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        check_pair(question, answer, SOURCE)


def test_an_answer_of_nothing_but_lines_is_looked_through_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(Unusable):
        check_rewrite("\n" * 50_000 + "1066", [SOURCE])
    assert time.monotonic() - began < 2
