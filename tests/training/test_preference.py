"""A stage on pairs, over the fake engine: its reference, what it tells, what it keeps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import Example, pack
from lorecraft.engines.fake import FakeEngine
from lorecraft.errors import OutOfMemory
from lorecraft.recipe import PreferenceSection, StageSection
from lorecraft.training.checkpoints import CheckpointStore
from lorecraft.training.loop import StageResult, train_stage
from lorecraft.training.preference import Preference, answers, totals, unlearned

from .small_stage import VOCABULARY, Deadly, Killed, Log, same

GOOD, BAD = 3, 7


def pairs(count: int, seed: int) -> list[Example]:
    """Any prompt is to be answered with one token, and not with another."""
    random = np.random.default_rng(seed)
    made = []
    for index in range(count):
        prompt, rest = random.integers(8, VOCABULARY, 4), random.integers(8, VOCABULARY, 2)
        answers = [GOOD, *rest], [BAD, *rest[:1]]
        tokens = np.concatenate([prompt, *answers]).astype(np.int32)
        weight = np.repeat(np.float32([0, 1]), [4, 5])
        made.append(Example(tokens, weight, f"pair {index}", answers=(4, 7)))
    return made


def settings(**given: Any) -> StageSection:
    usual = {"kind": "dpo", "epochs": 4, "batch_size": 4, "learning_rate": 0.02}
    return StageSection(**(usual | {"validate_every": 5} | given))


def began(engine: FakeEngine, model: Path, dropout: float = 0.0) -> int:
    """A slot that is not the base: what the stage before left."""
    engine.open(model)
    slot = engine.attach(AdapterSpec(rank=2, alpha=4.0, dropout=dropout), trainable=True, seed=3)
    random = np.random.default_rng(0)
    start = {n: random.normal(0, 0.3, a.shape) for n, a in engine.adapter(slot).items()}
    engine.load_adapter(slot, start)
    return slot


def trained(
    model: Path,
    stage: StageSection,
    engine: FakeEngine | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[FakeEngine, int, StageResult, Log]:
    engine = engine or FakeEngine()
    slot = began(engine, model, dropout)
    log = options.pop("log", None) or Log()
    options = {"valid": pairs(6, 1), **options}
    result = train_stage(engine, slot, pairs(30, 0), stage=stage, seed=5, on_event=log, **options)
    return engine, slot, result, log


def test_a_margin_grows_on_pairs_never_seen(model: Path) -> None:
    _, _, result, log = trained(model, settings())
    first, *_, last = log.of("valid")
    assert last["margin"] > first["margin"] + 0.1
    assert last["loss"] < first["loss"]
    assert last["accuracy"] == 1.0
    assert result.best_valid_error == pytest.approx(min(event["loss"] for event in log.of("valid")))


def test_the_reference_is_the_adapter_that_the_stage_starts_from(model: Path) -> None:
    engine = FakeEngine()
    slot = began(engine, model)
    batch = pack(pairs(6, 1), slot)
    reference = answers(batch, engine.score(batch))
    _, _, _, log = trained(model, settings(limits={"steps": 1}))
    first = log.of("valid")[0]
    assert first["margin"] == 0.0
    assert first["loss"] == pytest.approx(math.log(2))
    assert first["chosen"] == pytest.approx(reference[:, 0].mean())
    assert first["rejected"] == pytest.approx(reference[:, 1].mean())


class Counting(FakeEngine):
    def __init__(self) -> None:
        super().__init__()
        self.scored = 0

    def score(self, batch: Any) -> Any:
        self.scored += int((batch.parent >= 0).sum()) // 2
        return super().score(batch)


def test_the_reference_is_asked_once(model: Path) -> None:
    engine, _, _, log = trained(model, settings(epochs=6), Counting())
    assert engine.scored == 30 + 6 + 6 * len(log.of("valid"))
    assert [event["pairs"] for event in log.of("reference")] == [36]


def test_every_step_tells_margin_accuracy_and_both_log_probabilities(model: Path) -> None:
    _, _, result, log = trained(model, settings())
    assert {"margin", "accuracy", "chosen", "rejected"} <= set(log.of("step")[-1])
    steps = [point for point in result.curves if "loss" in point]
    assert steps[-1]["margin"] > steps[0]["margin"]
    assert {"valid_margin", "valid_accuracy", "valid_chosen"} <= set(result.curves[-1])


@pytest.mark.parametrize("preference", [{}, {"loss": "ipo", "sft": 0.2}, {"loss": "orpo"}])
def test_micro_batches_and_halves_are_one_large_batch(model: Path, preference: Any) -> None:
    class Narrow(FakeEngine):
        def accumulate(self, batch: Any, objective: Any = None) -> Any:
            if len(batch.parent) > 3 * 4:
                raise OutOfMemory("too much")
            return super().accumulate(batch, objective)

    given = {"epochs": 4, "preference": preference}
    whole = trained(model, settings(batch_size=30, **given))
    parts = trained(model, settings(batch_size=5, accumulate=6, **given))
    halves = trained(model, settings(batch_size=30, **given), Narrow())
    assert halves[3].of("memory")
    for other in (parts, halves):
        for name, tensor in other[0].adapter(other[1]).items():
            np.testing.assert_allclose(tensor, whole[0].adapter(whole[1])[name], atol=2e-3)


def test_killed_anywhere_it_ends_with_the_same_bits(model: Path, tmp_path: Path) -> None:
    stage = settings(epochs=1, validate_every=3)
    engine, slot, whole, log = trained(model, stage, dropout=0.2)
    for after in range(0, len(log.events), 2):
        store = tmp_path / str(after)
        with pytest.raises(Killed):
            trained(
                model, stage, dropout=0.2, log=Deadly(after), checkpoints=CheckpointStore(store)
            )
        resumed = FakeEngine()
        other, _, result, told = trained(
            model, stage, resumed, dropout=0.2, checkpoints=CheckpointStore(store)
        )
        assert same(engine.state(), other.state()), after
        assert same(engine.adapter(slot), other.adapter(slot)), after
        assert result.curves == whole.curves
        assert bool(told.of("reference")) != bool(told.of("resume"))


def test_the_best_adapter_is_that_of_the_lowest_validation_loss(model: Path) -> None:
    stage = settings(epochs=40, learning_rate=0.3, preference={"loss": "ipo", "beta": 1.0})
    engine, slot, result, log = trained(model, stage)
    valid = {event["step"]: event["loss"] for event in log.of("valid")}
    assert result.best_step == min(valid, key=lambda step: valid[step])
    assert result.best_step < result.steps
    batch = pack(pairs(6, 1), slot)
    other = FakeEngine()
    start = pack(pairs(6, 1), began(other, model))
    reference = answers(start, other.score(start))
    assert stage.preference is not None
    kept = totals(batch, engine.score(batch), Preference(stage.preference, batch, reference))
    assert kept["loss"] / kept["weight"] == pytest.approx(result.best_valid_error, rel=1e-4)


def test_without_validation_pairs_the_last_adapter_is_kept(model: Path) -> None:
    _, _, result, _ = trained(model, settings(epochs=1), valid=[])
    assert result.best_step == result.steps == 8


def ticking(seconds: float) -> Callable[[], float]:
    clock = itertools.count(step=seconds)
    return lambda: next(clock)


@pytest.mark.parametrize("valid", [pairs(6, 1), []])
def test_a_deadline_ends_a_stage_and_it_goes_on_from_there(
    model: Path, tmp_path: Path, valid: list[Example]
) -> None:
    store = CheckpointStore(tmp_path)
    options = {"valid": valid, "checkpoints": store, "clock": ticking(0.1)}
    _, _, result, _ = trained(model, settings(), seconds=5.0, **options)
    assert result.stopped_by == "deadline"
    assert 0 < result.steps < 32
    _, _, result, log = trained(model, settings(), **options)
    assert (result.stopped_by, result.steps) == ("steps", 32)
    assert not log.of("reference")


def test_a_deadline_before_the_reference_has_answered_ends_a_stage(
    model: Path, tmp_path: Path
) -> None:
    store, start = CheckpointStore(tmp_path), FakeEngine()
    expected = start.adapter(began(start, model))
    options = {"checkpoints": store, "clock": ticking(5.0)}
    engine, slot, result, _ = trained(model, settings(), seconds=5.0, **options)
    assert (result.stopped_by, result.steps) == ("deadline", 0)
    assert result.seconds > 5.0
    assert same(engine.adapter(slot), expected)
    _, _, result, log = trained(model, settings(), **options)
    assert (result.stopped_by, result.steps) == ("steps", 32)
    assert log.of("reference") and not log.of("resume")


def test_it_is_told_once_when_chosen_answers_become_less_likely(model: Path) -> None:
    def clashing(count: int, seed: int) -> list[Example]:
        """Answers that differ in their end alone: to push one away is to push both."""
        random = np.random.default_rng(seed)
        made = []
        for index in range(count):
            prompt = random.integers(8, VOCABULARY, 3)
            body = [1, 2, 4, 5, 6]
            tokens = np.array([*prompt, *body, BAD, *body, GOOD], np.int32)
            weight = np.repeat(np.float32([0, 1]), [3, 12])
            made.append(Example(tokens, weight, str(index), answers=(3, 9)))
        return made

    def run(**preference: float) -> Log:
        engine, log = FakeEngine(), Log()
        slot = began(engine, model)
        stage = settings(epochs=10, learning_rate=0.05, preference=preference)
        train_stage(engine, slot, clashing(20, 0), clashing(6, 1), stage, 5, on_event=log)
        return log

    log = run()
    (event,) = log.of("unlearning")
    assert event["fallen"] > 0
    before = log.of("valid")[0]["chosen"]
    assert event["chosen"] == pytest.approx(before - event["fallen"], abs=0.02)
    assert not run(sft=5.0).of("unlearning")


def test_a_fall_that_chance_explains_is_not_told() -> None:
    assert unlearned({"gained": -1.0, "gained_squared": 1.1, "weight": 50.0})
    assert not unlearned({"gained": -0.01, "gained_squared": 1.0, "weight": 50.0})
    assert not unlearned({"gained": -9.0, "gained_squared": 81.0, "weight": 1.0})


def objective(sums: list[list[float]], **given: Any) -> tuple[float, np.ndarray]:
    """Of one pair, whose answers have three tokens and two, against a reference of -4 and -5."""
    batch = pack(pairs(1, 0), 0)
    preference = Preference(PreferenceSection(**given), batch, np.array([[-4.0, -5.0]]))
    losses, slopes = preference(np.array([0]), np.array(sums))
    return float(losses[0]), slopes[0]


@pytest.mark.parametrize(
    ("given", "loss"),
    [
        ({"beta": 0.5}, math.log(1 + math.exp(-0.5 * 3))),
        ({"loss": "hinge", "beta": 0.1}, 1 - 0.1 * 3),
        ({"loss": "hinge", "beta": 1.0}, 0.0),
        ({"loss": "ipo", "beta": 0.5}, (1 / 3 + 2 / 2 - 1) ** 2),
        ({"beta": 0.5, "average": True}, math.log(1 + math.exp(-0.5 * (1 / 3 + 1)))),
        ({"beta": 0.5, "sft": 0.3}, math.log(1 + math.exp(-0.5 * 3)) + 0.3 * 3 / 3),
        (
            {"beta": 0.5, "label_smoothing": 0.1},
            0.9 * math.log(1 + math.exp(-1.5)) + 0.1 * math.log(1 + math.exp(1.5)),
        ),
    ],
)
def test_the_loss_of_a_pair_by_hand(given: Any, loss: float) -> None:
    """The chosen answer at -3 (the reference says -4), the rejected at -7 (-5)."""
    assert objective([[-3.0, -7.0]], **given)[0] == pytest.approx(loss)


def test_orpo_is_the_log_odds_ratio_beside_the_loss_of_the_answer() -> None:
    p, q = math.exp(-3 / 3), math.exp(-7 / 2)
    ratio = math.log((p / (1 - p)) / (q / (1 - q)))
    expected = 1.0 + 0.2 * math.log(1 + math.exp(-ratio))
    assert objective([[-3.0, -7.0]], loss="orpo", beta=0.2)[0] == pytest.approx(expected)
    sure, slopes = objective([[0.0, -1e-12]], loss="orpo")
    assert math.isfinite(sure) and np.isfinite(slopes).all()


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "hinge", "orpo"])
@pytest.mark.parametrize("more", [{}, {"label_smoothing": 0.2, "sft": 0.5, "average": True}])
def test_slopes_are_those_of_the_loss(loss: str, more: Any) -> None:
    given = {"loss": loss, "beta": 0.3, **more}
    at, step = np.array([[-3.2, -6.1]]), 1e-6
    _, slopes = objective(at.tolist(), **given)
    for side in (0, 1):
        moved = np.eye(2)[side] * step
        above, below = (objective((at + s * moved).tolist(), **given)[0] for s in (1, -1))
        assert slopes[side] == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-8)


def test_sums_that_are_far_apart_do_not_overflow() -> None:
    for sums in ([[-1e5, -1.0]], [[-1.0, -1e5]]):
        loss, slopes = objective(sums, beta=10.0)
        assert math.isfinite(loss) and np.isfinite(slopes).all()
