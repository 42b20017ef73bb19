"""Where a stage ends before its steps: tokens, time, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.engines.base import LossSum
from lorecraft.engines.fake import FakeEngine
from lorecraft.errors import OutOfMemory
from lorecraft.training.checkpoints import CheckpointStore
from lorecraft.training.loop import Interrupted
from lorecraft.training.schedule import learning_rate

from .small_stage import Log, same, settings, trained

SPEC = AdapterSpec(rank=2, alpha=4.0, dropout=0.1)


class Slow(FakeEngine):
    """Takes its time, by a clock of its own: so many seconds for a step, and for each call while it
    validates (two to a validation here)."""

    def __init__(self, step: float = 1.0, validation: float = 0.0) -> None:
        super().__init__()
        self.step, self.validation, self.now = step, validation, 0.0

    def clock(self) -> float:
        return self.now

    def accumulate(self, batch: Any, objective: Any = None) -> LossSum:
        self.now += self.step
        return super().accumulate(batch, objective)

    def score(self, batch: Any) -> Any:
        self.now += self.validation
        return super().score(batch)


def timed(model: Path, engine: Slow, **options: Any) -> Any:
    stage = options.pop("stage", None) or settings(epochs=500)
    return trained(model, stage, engine, clock=engine.clock, **options)


class Small(FakeEngine):
    """Has memory for so many tokens at a time."""

    room = 12

    def accumulate(self, batch: Any, objective: Any = None) -> LossSum:
        self._check(batch)
        return super().accumulate(batch, objective)

    def score(self, batch: Any) -> Any:
        self._check(batch)
        return super().score(batch)

    def _check(self, batch: Any) -> None:
        if len(batch.tokens) > self.room:
            raise OutOfMemory(f"{len(batch.tokens)} tokens")


def test_a_stage_ends_when_its_tokens_are_seen(model: Path) -> None:
    _, _, result, _ = trained(model, settings(limits={"tokens": 100}))
    assert result.stopped_by == "tokens"
    assert 100 <= result.tokens < 100 + 4 * 6
    assert result.best_valid_error is not None


@pytest.mark.parametrize("seconds", [30.0, 47.0, 60.5])
def test_a_deadline_leaves_time_for_the_last_validation(model: Path, seconds: float) -> None:
    engine = Slow(validation=2.0)
    _, _, result, log = timed(model, engine, seconds=seconds)
    assert seconds - 4 < engine.now <= seconds
    assert result.stopped_by == "deadline"
    assert log.of("valid")[-1]["step"] == result.steps
    assert log.of("step")[0]["seconds_left"] > log.of("step")[-1]["seconds_left"] >= 0


def test_the_slowest_step_so_far_may_come_again(model: Path) -> None:
    class Uneven(Slow):
        def accumulate(self, batch: Any, objective: Any = None) -> LossSum:
            self.step = 9.0 if self.now == 0 else 1.0
            return super().accumulate(batch, objective)

    engine = Uneven()
    assert timed(model, engine, seconds=30.0)[2].stopped_by == "deadline"
    assert engine.now == 22, "at 21 there are 9 seconds left"


def test_a_first_validation_that_takes_all_the_time_is_given_up(
    model: Path, tmp_path: Path
) -> None:
    engine, store = Slow(validation=25.0), CheckpointStore(tmp_path)
    _, slot, result, log = timed(model, engine, seconds=10.0, checkpoints=store)
    assert engine.now == 25, "the second half of it is not begun"
    assert (result.stopped_by, result.steps, log.of("valid")) == ("deadline", 0, [])
    fresh = FakeEngine()
    fresh.open(model)
    assert same(engine.adapter(slot), fresh.adapter(fresh.attach(SPEC, trainable=True, seed=3)))
    assert timed(model, Slow(), stage=settings(), checkpoints=store)[2].stopped_by == "steps"


def test_no_step_is_begun_without_time_for_it(model: Path) -> None:
    engine = Slow(validation=4.0)
    _, _, result, log = timed(model, engine, seconds=10.0)
    assert (result.stopped_by, result.steps) == ("deadline", 0)
    assert [event["step"] for event in log.of("valid")] == [0]


def test_minutes_of_a_stage_are_those_of_all_its_runs_together(model: Path, tmp_path: Path) -> None:
    stage, store = settings(epochs=500, limits={"minutes": 1}), CheckpointStore(tmp_path)
    first, second = Slow(), Slow()
    with pytest.raises(Interrupted):
        timed(model, first, stage=stage, checkpoints=store, should_stop=lambda: first.now >= 25)
    _, _, result, _ = timed(model, second, stage=stage, checkpoints=store)
    assert result.stopped_by == "deadline"
    assert (first.now, second.now) == (25, 35)
    assert result.steps == result.seconds == 60


def test_what_a_deadline_stopped_goes_on_with_new_time(model: Path, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    first = timed(model, Slow(), stage=settings(), checkpoints=store, seconds=12.0)[2]
    assert (first.stopped_by, first.steps) == ("deadline", 12)
    _, _, result, log = trained(model, settings(), checkpoints=store)
    assert log.of("resume")[0]["step"] == first.steps
    assert (result.stopped_by, result.steps) == ("steps", 32)


def test_all_steps_done_is_no_deadline(model: Path) -> None:
    assert timed(model, Slow(), stage=settings(), seconds=32.5)[2].stopped_by == "steps"


def test_the_rate_falls_to_its_end_by_the_deadline(model: Path) -> None:
    *_, log = timed(model, Slow(), seconds=60.0)
    rates = [event["learning_rate"] for event in log.of("step")]
    assert max(rates) > 0.01
    assert rates[-1] < 0.1 * max(rates)


def test_tokens_that_are_spent_at_a_checkpoint_stay_spent(model: Path, tmp_path: Path) -> None:
    """A kill may fall between the checkpoint of the last step and the end."""
    stage, store = settings(limits={"tokens": 115}), CheckpointStore(tmp_path)
    with pytest.raises(Interrupted):
        trained(model, stage, checkpoints=store, should_stop=lambda: spent(store, 115))
    result = trained(model, stage, checkpoints=store)[2]
    assert (result.stopped_by, result.steps) == ("tokens", 5)


def spent(store: CheckpointStore, tokens: int) -> bool:
    saved = store.load()
    return saved is not None and saved[1]["tokens"] >= tokens


def test_a_share_of_time_counts_only_when_it_is_ahead_of_the_steps() -> None:
    stage = settings(warmup=0.0)
    assert learning_rate(50, 100, stage, 0.2) == learning_rate(50, 100, stage)
    assert learning_rate(50, 100, stage, 1.0) == pytest.approx(0.0)
    assert learning_rate(50, 100, stage, 7.0) == pytest.approx(0.0)


def test_an_interrupted_stage_holds_its_best_adapter(model: Path, tmp_path: Path) -> None:
    store, log = CheckpointStore(tmp_path), Log()
    engine = FakeEngine()
    calls = iter(range(1, 100))
    with pytest.raises(Interrupted):
        trained(
            model, settings(), engine, checkpoints=store, log=log,
            should_stop=lambda: next(calls) == 7,
        )  # fmt: skip
    saved = store.load()
    assert saved is not None
    best = {n.removeprefix("best/"): a for n, a in saved[0].items() if n.startswith("best/")}
    assert best and same(engine.adapter(0), best)
    assert log.of("valid")[-1]["step"] == 5


def test_too_little_memory_halves_the_batch_and_changes_nothing_else(model: Path) -> None:
    plain, slot, whole, _ = trained(model, settings(), dropout=0.0)
    small, again, result, log = trained(model, settings(), Small(), dropout=0.0)
    assert [event["pieces"] for event in log.of("memory")] == [2]
    assert result.tokens == whole.tokens
    for name, tensor in plain.adapter(slot).items():
        np.testing.assert_allclose(small.adapter(again)[name], tensor, atol=1e-4)


def test_a_resumed_stage_keeps_to_the_smaller_batches(model: Path, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    calls = iter(range(1, 100))
    with pytest.raises(Interrupted):
        trained(model, settings(), Small(), checkpoints=store, should_stop=lambda: next(calls) == 7)
    resumed, slot, _, log = trained(model, settings(), Small(), checkpoints=store)
    whole = trained(model, settings(), Small())
    assert log.of("memory") == []
    assert same(resumed.adapter(slot), whole[0].adapter(whole[1]))


def test_one_example_too_large_for_memory_is_an_error(model: Path) -> None:
    engine = Small()
    engine.room = 5
    with pytest.raises(OutOfMemory):
        trained(model, settings(), engine, valid=[])
