"""Splits and similarity: what belongs together stays together."""

from __future__ import annotations

import random

import pytest

from lorecraft.data import similar
from lorecraft.data.records import Message, Record
from lorecraft.data.similar import NEAR, Similar, jaccard, shingles
from lorecraft.data.split import split_groups, without_leaks


def text(id_: str, words: str, *facts: str) -> Record:
    return Record(id_, text=words, facts=facts)


def distinct(count: int) -> list[Record]:
    return [
        text(str(n), f"{chr(97 + n % 26) * 7} {n * 7919} {chr(122 - n % 26)}") for n in range(count)
    ]


def test_near_duplicates_and_common_facts_never_cross() -> None:
    records = distinct(40)
    records += [
        text("a1", "The lighthouse at the end of the long pier was built in 1921."),
        text("a2", "the lighthouse at the end of the long pier was built in 1922"),
        text("a3", "The lighthouse at the end of the long pier was built in 1921!"),
        text("b1", "Completely other words.", "f1"),
        text("b2", "Nothing in common here.", "f1", "f2"),
        text("b3", "Again something else.", "f2"),
    ]
    crossed_over = set()
    for seed in range(12):
        train, valid = split_groups(records, 0.2, seed)
        assert sorted(r.id for r in (*train, *valid)) == sorted(r.id for r in records)
        assert 0 < len(valid) <= 0.2 * len(records)
        for group in ("a", "b"):
            inside = [record.id for record in valid if record.id.startswith(group)]
            assert len(inside) in (0, 3)
            crossed_over |= set(inside)
    assert crossed_over


def test_a_split_is_deterministic_and_keeps_the_order() -> None:
    records = distinct(30)
    train, valid = split_groups(records, 0.1, 5)
    assert (train, valid) == split_groups(records, 0.1, 5)
    assert valid != split_groups(records, 0.1, 6)[1]
    assert train == [record for record in records if record in train]


def test_one_group_alone_is_all_trained() -> None:
    records = [text("1", "The same."), text("2", "the same")]
    assert split_groups(records, 0.5, 0) == (records, [])
    assert split_groups([], 0.5, 0) == ([], [])


def test_conversations_are_compared_by_what_the_user_says() -> None:
    def chat(id_: str, question: str, answer: str) -> Record:
        return Record(id_, (Message("user", question), Message("assistant", answer)))

    trained = [chat("1", "Where is the office of Ostrin?", "Upstairs.")]
    same = chat("2", "where is the office of Ostrin", "On the second floor.")
    other = chat("3", "When does the harbour open?", "Upstairs.")
    assert without_leaks([same, other], trained) == [other]


def test_a_similar_text_is_found_with_its_exact_similarity() -> None:
    known = [
        "a rainy day in the harbour town",
        "A rainy day in the harbour town.",
        "bread and wine",
    ]
    similar = Similar(known)
    assert similar.first == [0, 0, 2]
    asked = "a rainy day in the harbour towns"
    assert list(similar.matches([("towns", asked), ("none", "quite unlike")])) == [
        ("towns", 0, jaccard(shingles(asked), shingles(known[0])))
    ]
    assert list(similar.pairs()) == []


def test_short_and_empty_texts_can_be_compared() -> None:
    assert Similar(["", "ab", "?"]).first == [0, 1, 0]
    assert jaccard(shingles("ab"), shingles("AB!")) == 1


def test_every_near_duplicate_is_found_among_many_unlike() -> None:
    draw = random.Random(0)
    words = [f"{chr(97 + n % 26)}{n * 7919 % 1000}" for n in range(800)]
    texts = [" ".join(draw.choices(words, k=30)) for _ in range(150)]
    texts += [f"{text} {draw.choice(words)}" for text in texts[:40]]
    near = {
        (i, j)
        for i, first in enumerate(map(shingles, texts))
        for j, second in enumerate(map(shingles, texts[i + 1 :]), start=i + 1)
        if jaccard(first, second) >= NEAR
    }
    assert len(near) >= 40
    assert set(Similar(texts).pairs()) == near


def test_pairs_that_nobody_wants_are_not_compared() -> None:
    texts = ["the lighthouse of Ostrin is white", "the lighthouse of Ostrin is white."] * 2
    texts += ["the lighthouse of Ostrin was white"]
    assert list(Similar(texts).pairs(wanted=lambda i, j: False)) == []


def test_many_near_duplicates_are_joined_without_comparing_each_with_each() -> None:
    words = " ".join(chr(97 + n % 26) * 3 + str(n * 7919 % 1000) for n in range(40))
    texts = [f"{words} {n:05}" for n in range(300)]
    leader = list(range(len(texts)))
    compared = []

    def apart(i: int, j: int) -> bool:
        if leader[i] != leader[j]:
            compared.append((i, j))
        return leader[i] != leader[j]

    for i, j in Similar(texts).pairs(wanted=apart):
        leader = [leader[i] if its == leader[j] else its for its in leader]
    assert set(leader) == {0}
    assert len(compared) < 2 * len(texts)


def test_near_duplicates_are_found_among_many_of_one_template(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(similar, "_COMPARISONS", 1000)
    rng = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"

    def word() -> str:
        return "".join(rng.choices(letters, k=9))

    template = "Please answer the following question as shortly as you can, in one sentence: "
    texts = []
    for _ in range(100):
        own = [word() for _ in range(5)]
        texts += [template + " ".join(own), template + " ".join(own) + "s"]
    found = set(Similar(texts).pairs())
    assert {(2 * i, 2 * i + 1) for i in range(100)} <= found
