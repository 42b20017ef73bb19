"""Intervals and tests agree with published and hand-counted values."""

from itertools import product

import numpy as np
import pytest

from lorecraft.evaluation.statistics import (
    holm,
    mcnemar,
    mean,
    paired_difference,
    perplexity,
    randomisation,
    wilson,
)


def test_wilson_agrees_with_published_values():
    # Newcombe (1998), table I: 81 of 263 and 15 of 148, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)


def test_wilson_stays_inside_and_knows_nothing_from_nothing():
    assert wilson(0, 20) == (0.0, pytest.approx(0.1611, abs=1e-4))
    assert wilson(20, 20)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 passed of 2"):
        wilson(3, 2)


def test_mcnemar_counts_only_what_differs():
    before = [True] * 50 + [False] * 8 + [True]
    after = [True] * 50 + [True] * 8 + [False]
    assert mcnemar(before, after) == pytest.approx(2 * (1 + 9) / 2**9)
    assert mcnemar([True, False], [True, False]) == 1.0
    assert mcnemar([True] * 3000, [False] * 3000) < 1e-300


def test_a_paired_difference_has_its_sign_and_covers_it():
    before, after = [False] * 90 + [True] * 10, [True] * 95 + [False] * 5
    difference, low, high = paired_difference(before, after)
    assert difference == pytest.approx(0.85)
    assert low < difference < high
    assert paired_difference(after, before)[0] == pytest.approx(-0.85)
    assert paired_difference(before, after) == paired_difference(before, after)


def test_the_bootstrap_covers_as_often_as_it_says():
    draw = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        before, after = draw.random(150) < 0.5, draw.random(150) < 0.6
        _, low, high = paired_difference(before.tolist(), after.tolist(), seed=trial)
        covered += low <= 0.1 <= high
    assert covered >= 180


def test_perplexity_is_over_all_tokens():
    value, low, high = perplexity([2.0, 6.0], [2, 2])
    assert value == pytest.approx(np.exp(2))
    assert low == pytest.approx(np.exp(1)) and high == pytest.approx(np.exp(3))


def test_holm_adjusts_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_a_mean_counts_groups_together():
    value, low, high = mean([[1.0] * 9, [0.0]])
    assert value == pytest.approx(0.9)
    assert (low, high) == (0.0, 1.0)  # two groups tell little, however many marks they have
    value, low, high = mean([[1.0]] * 20)
    assert (value, high) == (1.0, 1.0)
    assert low == pytest.approx(wilson(20, 20)[0])


def test_the_interval_of_a_mean_covers_as_often_as_it_says():
    draw, covered = np.random.default_rng(2), 0
    for trial in range(200):
        _, low, high = mean([[mark] for mark in draw.beta(2, 3, 80)], seed=trial)
        covered += low <= 0.4 <= high
    assert covered >= 180


def test_randomisation_agrees_with_all_signs_counted():
    before, after = [0.2, 0.5, 0.4, 0.9, 0.1, 0.3], [0.6, 0.7, 0.3, 1.0, 0.4, 0.5]
    change = np.subtract(after, before)
    sums = [abs(np.dot(signs, change)) for signs in product((-1, 1), repeat=6)]
    exact = np.mean(np.array(sums) >= abs(change.sum()) - 1e-9)
    assert randomisation(before, after) == pytest.approx(exact, abs=0.02)
    assert randomisation(before, before) == 1.0
