"""The pure parts that all engines share."""

from __future__ import annotations

import numpy as np
import pytest

from lorecraft.engines import create
from lorecraft.engines.base import Request
from lorecraft.engines.sampling import draw
from lorecraft.errors import EngineError


def test_an_unknown_engine_is_refused_with_the_known_names():
    with pytest.raises(EngineError, match="fake"):
        create("abacus")


def drawn(logits, count, **settings):
    """So many tokens, each by a uniform number of its own."""
    random, request = np.random.default_rng(0), Request([0], **{"temperature": 1.0} | settings)
    return [draw(np.array(logits), request, random.random()) for _ in range(count)]


def test_draws_follow_the_probabilities():
    counts = np.bincount(drawn(np.log([0.5, 0.3, 0.2]), 4000), minlength=3)
    assert np.abs(counts / 4000 - [0.5, 0.3, 0.2]).max() < 0.03


def test_the_nucleus_drops_the_tail():
    logits = np.log([0.2, 0.5, 0.3])
    assert set(drawn(logits, 300, top_p=0.75)) == {1, 2}
    assert set(drawn(logits, 50, top_p=0.5)) == {1}


def test_a_low_temperature_is_nearly_greedy():
    assert set(drawn([1.0, 1.5, 0.0], 100, temperature=0.02)) == {1}
