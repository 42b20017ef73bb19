"""Asking a model: how its answer is drawn, where it ends, and what it may not hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorecraft.data.records import Message
from lorecraft.engines.base import BASE, Request
from lorecraft.recipe import load_recipe
from lorecraft.runs.ask import Asker
from lorecraft.runs.workbench import Workbench

ASKED = [Message("user", "Who keeps Lumen Pier?")]


@pytest.fixture
def open_bench(write_recipe: Callable[..., Path]) -> Callable[..., Workbench]:
    return lambda **model: Workbench.open(load_recipe(write_recipe(model=model)))


def answer(bench: Workbench, **settings: Any) -> str:
    return "".join(Asker(bench, {"base": BASE}).ask(ASKED, **settings))


def test_an_answer_is_drawn_by_its_seed(open_bench: Callable[..., Workbench]) -> None:
    bench = open_bench()
    first, again, other = (answer(bench, temperature=1.0, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert answer(bench, temperature=1.0, min_p=1.0) == answer(bench)


def test_an_answer_ends_before_a_stop_string(open_bench: Callable[..., Workbench]) -> None:
    bench = open_bench()
    whole = answer(bench)
    stop = whole[len(whole) // 2 :][:3]
    assert answer(bench, stop=(stop,)) == whole[: whole.index(stop)]


def test_banned_texts_are_never_said(open_bench: Callable[..., Workbench]) -> None:
    bench = open_bench()
    prompt = bench.tokenizer.chat(ASKED, add_generation_prompt=True)
    first = next(iter(bench.engine.generate([Request(prompt)])))[1]
    text = bench.tokenizer.decode([first])
    hindered = open_bench(banned=text)
    assert hindered.banned == (hindered.tokenizer.pieces(text),)
    assert not answer(hindered).startswith(text)
