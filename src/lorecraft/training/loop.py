"""The training loop: one for every engine. It knows examples, steps and losses; no text."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lorecraft.data.batches import Example, TokenBatch, pack
from lorecraft.engines.base import Engine, LossSum
from lorecraft.errors import OutOfMemory
from lorecraft.recipe.schema import StageSection
from lorecraft.training.checkpoints import CheckpointStore
from lorecraft.training.limits import Curve, Limits, StageProgress
from lorecraft.training.preference import Figures, Preference, answers, totals, unlearned
from lorecraft.training.schedule import learning_rate
from lorecraft.training.spikes import WINDOW, spike
from lorecraft.training.steps import pieces, step_batches, steps_per_epoch, total_steps
from lorecraft.training.stopping import Stopping

CHECKPOINT_SECONDS = 20.0
CHECKPOINT_SHARE = 0.05
"""Checkpoints between validations are spaced so that writing takes no more of the time."""
GOOD_STEPS = 10
"""A state to go back to is taken each so many steps."""
BAD_STEPS = 3
"""So many steps in a row without a finite loss end a stage."""

FIGURES = ("margin", "accuracy", "chosen", "rejected")
"""What is told of pairs besides their loss; see ``Preference.figures``."""

Arrays = dict[str, NDArray[Any]]
Piece = tuple[Sequence[int], TokenBatch]
"""Indices of examples, and these as a batch."""
T = TypeVar("T")


class OnEvent(Protocol):
    """Told what happens: ``step``, ``valid``, ``spike`` (a step whose loss stands out), ``nan``,
    ``memory`` (there was not enough), ``kept`` (what is computed once for all epochs),
    ``reference`` (it is asked once), ``unlearning`` (chosen answers become less likely), ``stop``;
    ``resume``, ``passed_over`` (a checkpoint that cannot be used)."""

    def __call__(self, kind: str, **fields: Any) -> None: ...


class Interrupted(KeyboardInterrupt):
    """The stage was asked to stop; what it has done is in a checkpoint, and the engine's slot holds
    the best adapter so far."""


@dataclass(frozen=True)
class StageResult:
    """How a stage ended; the engine's slot holds the adapter that is kept.

    Attributes:
        steps: optimiser steps done.
        best_step: the step whose adapter is kept.
        best_valid_error: mean probability that the kept adapter withholds from the right tokens of
            the validation examples, 0 to 1, or of pairs its loss; None if no validation gave a
            finite loss. Then the last adapter is kept.
        stopped_by: ``steps`` (all done), ``tokens``, ``deadline``, ``patience`` or ``nan``.
        tokens: tokens seen, prompts included.
        seconds: spent training and validating, in all its runs together.
        curves: ``{"step", "loss"}`` and ``{"step", "valid_loss", "valid_error"}`` in order; of
            pairs each with ``FIGURES`` too, ``valid_`` before those of a validation.
    """

    steps: int
    best_step: int
    best_valid_error: float | None
    stopped_by: str
    tokens: int
    seconds: float
    curves: Curve


def train_stage(
    engine: Engine,
    slot: int,
    train: Sequence[Example],
    valid: Sequence[Example],
    stage: StageSection,
    seed: int,
    *,
    on_event: OnEvent,
    checkpoints: CheckpointStore | None = None,
    seconds: float = math.inf,
    should_stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> StageResult:
    """Train the adapter in ``slot``; leave the best one there.

    A checkpoint that is there is gone on from, and the end is the same to the last bit. Without
    ``valid`` the last adapter is kept. After a step that is not finite the engine goes back to the
    last state that was seen to be good, at half the rate; the data go on. Where memory does not
    suffice for a batch it is computed in two halves, from then on. Where the stage has pairs, the
    adapter as it comes is the reference, asked for each answer's log-probability once.

    Args:
        seconds: how long this call may take, its last validation and saving included. A stage that
            this or ``stage.limits.minutes`` stopped goes on when it is called again.
        clock: seconds that never go back.

    Raises:
        Interrupted: after the step in which ``should_stop`` turned true.
        OutOfMemory: a single example is too large.
    """
    run = _StageRun(engine, slot, train, valid, stage, seed, on_event, checkpoints, seconds, clock)
    return run.to_the_end(should_stop)


class _StageRun:
    def __init__(
        self,
        engine: Engine,
        slot: int,
        train: Sequence[Example],
        valid: Sequence[Example],
        stage: StageSection,
        seed: int,
        on_event: OnEvent,
        checkpoints: CheckpointStore | None,
        seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.engine, self.slot, self.stage, self.seed = engine, slot, stage, seed
        self.train, self.valid = train, valid
        self.on_event, self.checkpoints = on_event, checkpoints
        self.total = total_steps(len(train), stage)
        self.first_epoch = steps_per_epoch(len(train), stage)
        self.progress = StageProgress()
        self.stopping = Stopping(stage.patience, stage.min_delta)
        self.best: Arrays = {}
        self.good: Arrays = {}
        self.reference: Arrays = {}
        self.clock, self.save_at = clock, clock() + CHECKPOINT_SECONDS
        self.limits = Limits(stage.limits, seconds, clock)

    def to_the_end(self, should_stop: Callable[[], bool]) -> StageResult:
        resumed = self._resume()
        progress = self.progress
        self.limits.begin(progress)
        self._begin_keeping(resumed, should_stop)
        if not resumed:
            self._ask_reference(should_stop)
            if progress.stopped_by:
                return self._result()
            self.good = self.engine.state()
            self._validate()
        for group in self._groups():
            if progress.step >= self.total:
                break
            progress.stopped_by = progress.stopped_by or self.limits.over()
            if progress.stopped_by:
                break
            self._step(group)
            if progress.step % self.stage.validate_every == 0:
                self._validate()
            if should_stop():
                self._save()
                self._keep()
                raise Interrupted
            if self.clock() > self.save_at:
                self._save()
        if progress.validated != progress.step:
            self._validate()
        if progress.stopped_by == "deadline":
            self._save()
        return self._result()

    def _begin_keeping(self, resumed: bool, should_stop: Callable[[], bool]) -> None:
        """Decide whether what no step changes is computed once, in the first epoch, for all.

        Where the stage goes on, that is computed again in the batches of the first epoch: in other
        company it would not be the same to the last bit.
        """
        progress, parts = self.progress, [*self.train, *self.valid]
        if not resumed:
            tokens = sum(len(example.tokens) for example in parts)
            again = self.total > self.first_epoch
            progress.keeps = again and self.engine.can_keep(self.slot, tokens)
        if not progress.keeps:
            return
        self.on_event("kept", step=progress.step, records=len(parts))
        lengths = [len(example.tokens) for example in self.train]
        passed = min(progress.step, self.first_epoch)
        groups = islice(step_batches(lengths, self.stage, self.seed), passed)
        trained = chain.from_iterable(map(self._in_pieces, groups))
        for _, batch in chain(self._in_order(self.valid), trained):
            self.engine.keep(batch)
            if should_stop():
                self._keep()
                raise Interrupted

    def _ask_reference(self, should_stop: Callable[[], bool]) -> None:
        """What the adapter as it comes finds each answer's log-probability to be, [N, 2]. There is
        no training without it: when the time is over first, the stage ends."""
        if self.stage.preference is None:
            return
        self.on_event("reference", pairs=len(self.train) + len(self.valid))
        for part, examples in (("train", self.train), ("valid", self.valid)):
            asked = self._with_room(partial(self._answers, examples, should_stop))
            if asked is None:
                self.progress.stopped_by = "deadline"
                self.limits.tick()
                return
            self.reference[part] = np.concatenate([np.zeros((0, 2)), *asked])

    def _answers(
        self, examples: Sequence[Example], should_stop: Callable[[], bool]
    ) -> list[NDArray[np.float64]] | None:
        found = []
        for _, batch in self._in_order(examples):
            if self.limits.passed():
                return None
            found.append(answers(batch, self.engine.score(batch)))
            if should_stop():
                raise Interrupted
        return found

    def _objective(self, part: str, indices: Sequence[int], batch: TokenBatch) -> Preference | None:
        if self.stage.preference is None:
            return None
        return Preference(self.stage.preference, batch, self.reference[part][indices])

    def _groups(self) -> Iterator[list[list[int]]]:
        lengths = [len(example.tokens) for example in self.train]
        return step_batches(lengths, self.stage, self.seed, self.progress.step)

    def _step(self, group: list[list[int]]) -> None:
        progress, stage, began = self.progress, self.stage, self.clock()
        tokens, seconds = progress.tokens, progress.seconds
        rate = learning_rate(progress.step, self.total, stage, self.limits.share())
        rate *= progress.rate_scale
        before = self.engine.state() if progress.step % GOOD_STEPS == 0 else None
        loss, figures = self._gradients(group)
        update = None
        if math.isfinite(loss):
            update = self.engine.update(
                rate, max_norm=stage.max_grad_norm, weight_decay=stage.weight_decay
            )
        applied = update is not None and update.applied
        if applied and before is not None:
            self._mark_good(before)
        progress.step += 1
        self.limits.tick()
        self.limits.stepped(self.clock() - began)
        if update is None or not applied:
            self._go_back(loss, group)
            return
        # One step proves nothing: it started from a state that was known to be good.
        progress.since_bad += 1
        if progress.since_bad > 1:
            progress.bad_steps = 0
        usual, left = spike(loss, self._last_losses()), self.limits.left()
        progress.curves.append({"step": progress.step, "loss": loss, **figures})
        self.on_event(
            "step",
            step=progress.step,
            total=self.total,
            loss=loss,
            **figures,
            learning_rate=rate,
            gradient_norm=update.gradient_norm,
            tokens=progress.tokens,
            seconds=round(progress.seconds, 3),
            tokens_per_second=(progress.tokens - tokens) / max(progress.seconds - seconds, 1e-9),
            memory=self.engine.memory().peak,
            **({"seconds_left": round(left, 1)} if left < math.inf else {}),
        )
        if usual is not None:
            records = self._records(group)
            self.on_event("spike", step=progress.step, loss=loss, median=usual, records=records)

    def _last_losses(self) -> list[float]:
        recent = self.progress.curves[-2 * WINDOW :]  # validations stand between the steps
        return [point["loss"] for point in recent if "loss" in point]

    def _records(self, group: list[list[int]]) -> list[str]:
        return [self.train[index].record for indices in group for index in indices]

    def _gradients(self, group: list[list[int]]) -> tuple[float, Figures]:
        """Accumulate one step's gradients; its mean loss, and what else is told of pairs."""
        while True:
            try:
                parts = [self._accumulate(*piece) for piece in self._in_pieces(group)]
                break
            except OutOfMemory:
                if self.progress.pieces >= max(map(len, group)):
                    raise
                self.engine.restore(self.engine.state())  # forgets the gradients of this step
                self._halve()
        self.progress.tokens += sum(len(self.train[i].tokens) for ids in group for i in ids)
        weight = max(sum(loss.weight for loss, _ in parts), 1e-9)
        figures = {
            name: sum(float(each[name].sum()) for _, each in parts) / weight
            for name in (FIGURES if self.reference else ())
        }
        return sum(loss.total for loss, _ in parts) / weight, figures

    def _in_pieces(self, group: list[list[int]]) -> Iterator[Piece]:
        for indices in group:
            for piece in pieces(indices, self.progress.pieces):
                yield piece, pack([self.train[index] for index in piece], self.slot)

    def _accumulate(
        self, indices: Sequence[int], batch: TokenBatch
    ) -> tuple[LossSum, dict[str, NDArray[np.float64]]]:
        if self.progress.keeps and self.progress.step < self.first_epoch:
            self.engine.keep(batch)
        pairs = self._objective("train", indices, batch)
        loss = self.engine.accumulate(batch, pairs)
        return loss, {} if pairs is None or loss.sums is None else pairs.figures(loss.sums)

    def _halve(self) -> None:
        """From now on a batch is computed in twice as many pieces."""
        self.progress.pieces *= 2
        self.on_event("memory", step=self.progress.step, pieces=self.progress.pieces)

    def _mark_good(self, state: Arrays) -> None:
        """``state``, the engine's at the present step, has given a finite loss."""
        self.good, self.progress.good_step = state, self.progress.step

    def _go_back(self, loss: float, group: list[list[int]]) -> None:
        """After a step that is not finite: the last good state, and half the rate."""
        progress = self.progress
        self.engine.restore(self.good)
        progress.rate_scale /= 2
        progress.bad_steps, progress.since_bad = progress.bad_steps + 1, 0
        if progress.bad_steps >= BAD_STEPS:
            progress.stopped_by = "nan"
        self.on_event(
            "nan",
            step=progress.step,
            loss=str(loss),
            back_to=progress.good_step,
            rate_scale=progress.rate_scale,
            records=self._records(group),
        )

    def _validate(self) -> None:
        """Score the validation examples, keep the adapter if it is the best so far, and save."""
        if not self.valid:
            return
        progress, began = self.progress, self.clock()
        scored = self._with_room(self._scored)
        progress.validation_seconds = self.clock() - began
        progress.validated = progress.step
        if scored is None:
            progress.stopped_by = progress.stopped_by or "deadline"
            self.limits.tick()
            return
        loss, error = scored["loss"], scored["error"]
        figures = {name: scored[name] for name in FIGURES if name in scored}
        better = self.stopping.observe(error, progress.step)
        if better:
            self.best = dict(self.engine.adapter(self.slot))
        if math.isfinite(loss):
            self._mark_good(self.engine.state())
            point = {"step": progress.step, "valid_loss": loss, "valid_error": error}
            progress.curves.append(point | {f"valid_{name}": figures[name] for name in figures})
        self.on_event("valid", step=progress.step, loss=loss, error=error, **figures, best=better)
        if figures and unlearned(scored) and not progress.unlearning:
            progress.unlearning = True
            fallen, now = round(-scored["gained"], 2), round(scored["chosen"], 2)
            self.on_event("unlearning", step=progress.step, fallen=fallen, chosen=now)
        if self.stopping.exhausted and not progress.stopped_by:
            progress.stopped_by = "patience"
        self.limits.tick()
        self._save()

    def _with_room(self, work: Callable[[], T]) -> T:
        """What scores batches, in smaller ones where memory does not suffice."""
        while True:
            try:
                return work()
            except OutOfMemory:
                if self.progress.pieces >= self.stage.batch_size:
                    raise
                self._halve()

    def _scored(self) -> Figures | None:
        """Means over the validation examples, and their weight; see ``totals``. None when the time
        is over first."""
        sums: Counter[str] = Counter()
        for indices, batch in self._in_order(self.valid):
            if self.limits.passed():
                return None
            pairs = self._objective("valid", indices, batch)
            sums.update(totals(batch, self.engine.score(batch), pairs))
        weight = sums.pop("weight")
        return {name: value / weight for name, value in sums.items()} | {"weight": weight}

    def _in_order(self, examples: Sequence[Example]) -> Iterator[Piece]:
        size = max(1, self.stage.batch_size // self.progress.pieces)
        for start in range(0, len(examples), size):
            some = examples[start : start + size]
            yield range(start, start + len(some)), pack(some, self.slot)

    def _save(self) -> None:
        if self.checkpoints is None:
            return
        began = self.clock()
        self.progress.stopping = asdict(self.stopping)
        parts = {
            "engine": self.engine.state(),
            "good": self.good,
            "best": self.best,
            "reference": self.reference,
        }
        arrays = {f"{part}/{n}": a for part, named in parts.items() for n, a in named.items()}
        self.checkpoints.save(self.progress.step, arrays, asdict(self.progress))
        ended = self.clock()
        self.progress.saving_seconds = ended - began
        self.save_at = ended + max(CHECKPOINT_SECONDS, (ended - began) / CHECKPOINT_SHARE)

    def _resume(self) -> bool:
        if self.checkpoints is None:
            return False
        saved = self.checkpoints.load(
            lambda name, why: self.on_event("passed_over", checkpoint=name, why=why)
        )
        if saved is None:
            return False
        arrays, state = saved
        self.progress = StageProgress(**state)
        if self.progress.stopped_by == "deadline":  # there is new time
            self.progress.stopped_by = ""
        self.stopping = Stopping(**self.progress.stopping)
        self.good, self.best = _named(arrays, "good/"), _named(arrays, "best/")
        self.reference = _named(arrays, "reference/")
        self.engine.restore(_named(arrays, "engine/"))
        self.on_event("resume", step=self.progress.step, total=self.total)
        return True

    def _result(self) -> StageResult:
        progress = self.progress
        best_step = self._keep()
        stopped_by = progress.stopped_by or "steps"
        kept = "best" if self.stopping.best is not None else "last"
        self.on_event("stop", step=progress.step, by=stopped_by, kept=kept, best_step=best_step)
        return StageResult(
            steps=progress.step,
            best_step=best_step,
            best_valid_error=self.stopping.best,
            stopped_by=stopped_by,
            tokens=progress.tokens,
            seconds=progress.seconds,
            curves=progress.curves,
        )

    def _keep(self) -> int:
        """Put the best adapter into the slot; its step. Without one it is the last, or if the last
        updates broke that, the last good one."""
        if self.stopping.best is not None:
            self.engine.load_adapter(self.slot, self.best)
            return self.stopping.best_step
        tensors = self.engine.adapter(self.slot).values()
        if self.progress.stopped_by != "nan" and all(np.isfinite(t).all() for t in tensors):
            return self.progress.step
        self.engine.restore(self.good)
        return self.progress.good_step


def _named(arrays: Arrays, prefix: str) -> Arrays:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
