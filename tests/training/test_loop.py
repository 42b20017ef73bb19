"""The training loop, over the fake engine: what it does at each step, and what it survives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.engines.base import LossSum
from lorecraft.engines.fake import FakeEngine
from lorecraft.training import loop
from lorecraft.training.checkpoints import CheckpointStore
from lorecraft.training.loop import Interrupted
from lorecraft.training.steps import total_steps

from .small_stage import Deadly, Killed, examples, same, settings, trained


def test_it_learns(model: Path) -> None:
    _, _, result, _ = trained(model, settings(epochs=20))
    losses = [point["loss"] for point in result.curves if "loss" in point]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({"epochs": 4}, 32),
        ({"accumulate": 3}, 12),
        ({"limits": {"steps": 7}}, 7),
        ({"batch_size": 30}, 4),
    ],
)
def test_steps_follow_from_records_and_settings(
    model: Path, given: dict[str, int], steps: int
) -> None:
    stage = settings(**given)
    assert total_steps(30, stage) == steps
    assert trained(model, stage)[2].steps == steps


def test_a_loss_is_the_sum_over_weights_not_a_mean_of_means(model: Path) -> None:
    class Lopsided(FakeEngine):
        parts: Iterator[LossSum]

        def accumulate(self, batch: Any, objective: Any = None) -> LossSum:
            super().accumulate(batch, objective)
            return next(self.parts)

    engine = Lopsided()
    engine.parts = iter([LossSum(10.0, 1.0), LossSum(10.0, 9.0)])
    *_, log = trained(model, settings(accumulate=2, limits={"steps": 1}), engine)
    assert log.of("step")[0]["loss"] == pytest.approx(2.0)


def test_accumulated_micro_batches_are_one_large_batch(model: Path) -> None:
    parts = trained(model, settings(batch_size=5, accumulate=6), dropout=0.0)
    whole = trained(model, settings(batch_size=30), dropout=0.0)
    for name, tensor in parts[0].adapter(parts[1]).items():
        np.testing.assert_allclose(tensor, whole[0].adapter(whole[1])[name], atol=1e-4)
    assert parts[2].steps == whole[2].steps == 4


def test_a_step_tells_its_speed_and_the_memory_at_its_peak(model: Path) -> None:
    engine, _, result, log = trained(model, settings())
    steps = log.of("step")
    assert all(step["memory"] == engine.memory().peak > 0 for step in steps)
    assert all(step["tokens_per_second"] > 0 for step in steps)
    assert steps[-1]["tokens"] == result.tokens


class Spiking(FakeEngine):
    """Gives a high loss for batches with the third record."""

    def accumulate(self, batch: Any, objective: Any = None) -> LossSum:
        seen = super().accumulate(batch, objective)
        third = examples(3, 0)[2].tokens
        rows = [batch.tokens[batch.segment(index)] for index in range(batch.segments)]
        hit = any(np.array_equal(row, third) for row in rows)
        return LossSum(9 * seen.total, seen.weight) if hit else seen


def test_a_step_whose_loss_stands_out_names_its_records(model: Path) -> None:
    _, _, _, log = trained(model, settings(epochs=6), Spiking())
    spikes = log.of("spike")
    losses = {step["step"]: step["loss"] for step in log.of("step")}
    assert len(spikes) >= 4, "one an epoch, but for the first steps"
    for event in spikes:
        assert "record 2" in event["records"] and len(event["records"]) <= 4
        assert event["loss"] == losses[event["step"]] > 2 * event["median"]


def test_a_stage_that_goes_on_finds_the_same_spikes(model: Path, tmp_path: Path) -> None:
    whole = trained(model, settings(epochs=6), Spiking())[3].of("spike")
    store, calls = CheckpointStore(tmp_path / "checkpoints"), iter(range(1, 100))
    with pytest.raises(Interrupted):
        trained(
            model,
            settings(epochs=6),
            Spiking(),
            checkpoints=store,
            should_stop=lambda: next(calls) == 20,
        )
    log = trained(model, settings(epochs=6), Spiking(), checkpoints=store)[3]
    assert log.of("spike") == [event for event in whole if event["step"] > 20] != []


def test_the_best_adapter_is_kept_not_the_last(model: Path) -> None:
    stage = settings(epochs=40, learning_rate=0.05)
    engine, slot, result, log = trained(model, stage)
    errors = {event["step"]: event["error"] for event in log.of("valid")}
    assert result.best_valid_error == min(errors.values())
    assert errors[result.best_step] == result.best_valid_error
    assert result.best_step < result.steps, "the set is small enough to be overfitted"
    kept = engine.adapter(slot)
    again = trained(model, settings(epochs=40, learning_rate=0.05))
    assert same(kept, again[0].adapter(again[1]))


def test_without_validation_the_last_adapter_counts(model: Path) -> None:
    _, _, result, log = trained(model, settings(), valid=[])
    assert result.best_valid_error is None
    assert result.best_step == result.steps
    assert log.of("valid") == []
    assert log.of("stop")[0]["kept"] == "last"


def test_patience_stops_early(model: Path) -> None:
    _, _, result, _ = trained(model, settings(epochs=200, learning_rate=0.1, patience=2))
    assert result.stopped_by == "patience"
    assert result.steps < 200 * 8


@pytest.mark.parametrize("at", [1, 4, 5, 6, 13, 31])
def test_an_interrupted_stage_goes_on_to_the_same_bits(
    model: Path, tmp_path: Path, at: int
) -> None:
    engine, slot, whole, _ = trained(model, settings())
    store = CheckpointStore(tmp_path / "checkpoints")
    calls = iter(range(1, 100))
    with pytest.raises(Interrupted):
        trained(model, settings(), checkpoints=store, should_stop=lambda: next(calls) == at)
    resumed, again, result, log = trained(model, settings(), checkpoints=store)
    assert log.of("resume")[0]["step"] == at
    assert len(log.of("step")) == whole.steps - at
    assert same(engine.adapter(slot), resumed.adapter(again))
    assert result.curves == whole.curves
    assert result.tokens == whole.tokens


def test_a_stage_killed_at_any_event_goes_on_to_the_same_bits(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also across a step that is not finite, the patience that ends it and the last validation."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)
    stage = settings(epochs=3, patience=2, validate_every=7, learning_rate=0.08)
    engine, slot, whole, log = trained(model, stage, PoisonedRecord())
    assert log.of("nan") and whole.stopped_by == "patience"
    store, deaths = CheckpointStore(tmp_path / "checkpoints"), 0
    while True:
        resumed = PoisonedRecord()
        try:
            _, again, result, _ = trained(
                model, stage, resumed, checkpoints=store, log=Deadly(after=3 + deaths % 3)
            )
            break
        except Killed:
            deaths += 1
    assert deaths > 5
    assert same(engine.adapter(slot), resumed.adapter(again))
    assert result.curves == whole.curves
    assert (result.best_step, result.steps) == (whole.best_step, whole.steps)


class PoisonedRecord(FakeEngine):
    """Gives a loss that is not a number for batches with the first record of all."""

    def accumulate(self, batch: Any, objective: Any = None) -> LossSum:
        seen = super().accumulate(batch, objective)
        poison = examples(1, 0)[0].tokens
        rows = [batch.tokens[batch.segment(index)] for index in range(batch.segments)]
        hit = any(np.array_equal(row, poison) for row in rows)
        return LossSum(float("nan"), seen.weight) if hit else seen


class Poisoned(FakeEngine):
    """Gives a loss that is not a number at the calls named."""

    def __init__(self, at: set[int]) -> None:
        super().__init__()
        self.at, self.calls = at, 0

    def accumulate(self, batch: Any, objective: Any = None) -> LossSum:
        self.calls += 1
        seen = super().accumulate(batch, objective)
        return LossSum(float("nan"), seen.weight) if self.calls in self.at else seen


def test_a_nan_step_is_not_applied_and_halves_the_rate(model: Path) -> None:
    stage = settings(schedule="constant", warmup=0.0)
    engine, slot, result, log = trained(model, stage, Poisoned({8}))
    (event,) = log.of("nan")
    assert event["step"] == 8
    assert len(event["records"]) == 2 and event["records"][0].startswith("record ")
    rates = {step["step"]: step["learning_rate"] for step in log.of("step")}
    assert rates[7] == pytest.approx(0.02) and rates[9] == pytest.approx(0.01)
    assert result.stopped_by == "steps"
    assert all(np.isfinite(tensor).all() for tensor in engine.adapter(slot).values())


def test_three_nan_steps_in_a_row_end_the_stage_with_the_best_adapter(model: Path) -> None:
    engine, slot, result, log = trained(model, settings(), Poisoned({11, 12, 13}))
    assert result.stopped_by == "nan"
    assert result.steps == 13
    assert len(log.of("nan")) == 3
    assert result.best_step in (0, 5, 10)
    assert all(np.isfinite(tensor).all() for tensor in engine.adapter(slot).values())


def test_nan_steps_apart_do_not_end_the_stage(model: Path) -> None:
    _, _, result, log = trained(model, settings(), Poisoned({3, 6, 9, 15}))
    assert [event["step"] for event in log.of("nan")] == [3, 6, 9, 15]
    assert result.stopped_by == "steps"


def test_a_rate_that_breaks_the_adapter_at_once_ends_the_stage(model: Path) -> None:
    """Every second step starts from the last good state, so it is finite, and proves nothing."""
    engine, slot, result, log = trained(
        model, settings(warmup=0.0), Poisoned(set(range(2, 99, 2))), valid=[], dropout=0.0
    )
    assert [event["step"] for event in log.of("nan")] == [2, 4, 6]
    assert [event["back_to"] for event in log.of("nan")] == [0, 0, 0]
    assert result.stopped_by == "nan"
    assert result.best_step == 0
    fresh = FakeEngine()
    fresh.open(model)
    start = fresh.attach(AdapterSpec(rank=2, alpha=4.0), trainable=True, seed=3)
    assert same(engine.adapter(slot), fresh.adapter(start))


def test_an_adapter_that_is_not_finite_is_never_kept(model: Path) -> None:
    stage = settings(learning_rate=1e160, warmup=0.0, limits={"steps": 1})
    with np.errstate(all="ignore"):
        engine, slot, result, _ = trained(model, stage, valid=[])
    assert all(np.isfinite(tensor).all() for tensor in engine.adapter(slot).values())
    assert result.best_step == 0


def test_validation_that_is_never_finite_chooses_nothing(model: Path) -> None:
    class Blind(FakeEngine):
        def score(self, batch: Any) -> Any:
            return np.full(len(batch.tokens), np.nan, np.float32)

    _, _, result, log = trained(model, settings(), Blind())
    assert result.best_valid_error is None
    assert result.best_step == result.steps == 32
    assert log.of("stop")[0]["kept"] == "last"
    assert all("loss" in point for point in result.curves)
