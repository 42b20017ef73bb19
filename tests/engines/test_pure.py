"""The pure parts that all engines share."""

from __future__ import annotations

import numpy as np
import pytest

from lorecraft.engines import create
from lorecraft.engines.sampling import draw
from lorecraft.errors import EngineError


def test_an_unknown_engine_is_refused_with_the_known_names():
    with pytest.raises(EngineError, match="fake"):
        create("abacus")


def test_draws_follow_the_probabilities():
    random = np.random.default_rng(0)
    logits = np.log([0.5, 0.3, 0.2])
    counts = np.bincount([draw(logits, 1.0, 1.0, random) for _ in range(4000)], minlength=3)
    assert np.abs(counts / 4000 - [0.5, 0.3, 0.2]).max() < 0.03


def test_the_nucleus_drops_the_tail():
    random = np.random.default_rng(0)
    logits = np.log([0.2, 0.5, 0.3])
    assert {draw(logits, 1.0, 0.75, random) for _ in range(300)} == {1, 2}
    assert {draw(logits, 1.0, 0.5, random) for _ in range(50)} == {1}


def test_a_low_temperature_is_nearly_greedy():
    random = np.random.default_rng(0)
    assert {draw(np.array([1.0, 1.5, 0.0]), 0.02, 1.0, random) for _ in range(100)} == {1}
