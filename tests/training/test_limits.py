"""Where a stage ends before its steps: tokens, time, memory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_stage import Log, same, settings, trained

from lorecraft.engines.base import LossSum
from lorecraft.engines.fake import FakeEngine
from lorecraft.errors import OutOfMemory
from lorecraft.training.checkpoints import CheckpointStore
from lorecraft.training.loop import Interrupted
from lorecraft.training.schedule import learning_rate


class Slow(FakeEngine):
    """Takes its time."""

    step, validation = 0.02, 0.0

    def accumulate(self, batch: Any, objective: str = "cross_entropy") -> LossSum:
        time.sleep(self.step)
        return super().accumulate(batch, objective)

    def score(self, batch: Any) -> Any:
        time.sleep(self.validation)
        return super().score(batch)


class Small(FakeEngine):
    """Has memory for so many tokens at a time."""

    room = 12

    def accumulate(self, batch: Any, objective: str = "cross_entropy") -> LossSum:
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


def test_a_deadline_leaves_time_for_the_last_validation(model: Path) -> None:
    engine = Slow()
    engine.validation = 0.1
    began = time.monotonic()
    _, _, result, log = trained(model, settings(epochs=500), engine, seconds=1.5)
    assert time.monotonic() - began < 1.5 + 1.0
    assert result.stopped_by == "deadline"
    assert log.of("valid")[-1]["step"] == result.steps
    assert log.of("step")[0]["seconds_left"] > log.of("step")[-1]["seconds_left"] >= 0


def test_minutes_of_a_stage_are_those_of_all_its_runs_together(model: Path, tmp_path: Path) -> None:
    stage, store = settings(epochs=500, limits={"minutes": 1 / 60}), CheckpointStore(tmp_path)
    ends = time.monotonic() + 0.4
    with pytest.raises(Interrupted):
        trained(
            model, stage, Slow(), checkpoints=store, should_stop=lambda: time.monotonic() > ends
        )
    began = time.monotonic()
    _, _, result, _ = trained(model, stage, Slow(), checkpoints=store)
    assert result.stopped_by == "deadline"
    assert time.monotonic() - began < 1.0


def test_what_a_deadline_stopped_goes_on_with_new_time(model: Path, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    first = trained(model, settings(), Slow(), checkpoints=store, seconds=0.3)[2]
    assert first.stopped_by == "deadline"
    _, _, result, log = trained(model, settings(), checkpoints=store)
    assert log.of("resume")[0]["step"] == first.steps
    assert (result.stopped_by, result.steps) == ("steps", 32)


def test_the_rate_falls_to_its_end_by_the_deadline(model: Path) -> None:
    *_, log = trained(model, settings(epochs=500), Slow(), seconds=1.0)
    rates = [event["learning_rate"] for event in log.of("step")]
    assert max(rates) > 0.01
    assert rates[-1] < 0.1 * max(rates)


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
