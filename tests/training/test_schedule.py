"""Learning rates, and when to stop."""

from __future__ import annotations

import math

import pytest

from lorecraft.recipe import StageSection
from lorecraft.training.schedule import learning_rate
from lorecraft.training.stopping import Stopping


def rates(schedule: str, warmup: float, total: int = 100) -> list[float]:
    stage = StageSection(kind="sft", learning_rate=2.0, schedule=schedule, warmup=warmup)
    return [learning_rate(step, total, stage) for step in range(total)]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_rate_warms_up_to_its_highest(schedule: str) -> None:
    seen = rates(schedule, 0.1)
    assert seen[:10] == pytest.approx([0.2 * step for step in range(1, 11)])
    assert max(seen) == pytest.approx(2.0)


def test_each_schedule_is_halfway_where_it_should_be() -> None:
    assert rates("cosine", 0.0)[50] == pytest.approx(1.0)
    assert rates("cosine", 0.0)[25] == pytest.approx(1 + math.cos(math.pi / 4))
    assert rates("linear", 0.0)[75] == pytest.approx(0.5)
    assert set(rates("constant", 0.0)) == {2.0}


def test_the_last_step_still_moves() -> None:
    assert rates("cosine", 0.0)[-1] > 0
    assert rates("linear", 0.05, 1) == [2.0]


def test_patience_counts_validations_without_enough_gain() -> None:
    rule = Stopping(patience=2, min_delta=0.1)
    assert [rule.observe(loss, step) for step, loss in enumerate((1.0, 0.95, 0.92))] == [True] * 3
    assert rule.exhausted
    assert (rule.best, rule.best_step) == (0.92, 2)


def test_a_gain_starts_the_patience_anew() -> None:
    rule = Stopping(patience=2, min_delta=0.0)
    for step, loss in enumerate((1.0, 1.1, 0.9, 1.2)):
        rule.observe(loss, step)
    assert not rule.exhausted
    assert rule.best_step == 2


def test_without_patience_it_never_stops_early() -> None:
    rule = Stopping(patience=None, min_delta=0.0)
    for step in range(50):
        rule.observe(1.0 + step, step)
    assert not rule.exhausted


def test_a_loss_that_is_not_a_number_is_never_the_best() -> None:
    rule = Stopping(patience=None, min_delta=0.0)
    assert not rule.observe(math.nan, 0)
    assert rule.observe(3.0, 5)
    assert not rule.observe(math.nan, 10)
    assert rule.best_step == 5


def test_a_baseline_that_is_not_a_number_costs_no_patience_for_good() -> None:
    rule = Stopping(patience=2, min_delta=0.0)
    for step, loss in enumerate((math.nan, 3.0, 2.0, 1.0)):
        rule.observe(loss, step)
    assert not rule.exhausted
    assert rule.best_step == 3
