"""What a run's work takes: a little of it done on a few blocks, and carried over to all.

The same engine does the same work on batches of the run's own, so nothing that it does has to be
modelled: kernels, attention, dispatch and what is kept for the backward pass are as they will be.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import Example, pack
from lorecraft.engines import create
from lorecraft.engines.base import BASE, Engine, Outline, Request
from lorecraft.recipe import Recipe
from lorecraft.runs.workbench import adapter_spec
from lorecraft.runs.workload import ExamLoad, StageLoad
from lorecraft.training.preference import Preference

FEW, MORE = 2, 6
"""Blocks of the two sketches from whose difference a block's share is known."""
WHOLE = 8
"""A model of so many blocks is tried as it is."""
STEPS, SCORES, EXAM = 0.35, 0.1, 2.0
"""Seconds that training, validating and answering are tried for; a batch that is begun is ended."""
LONGER = 4
"""So many times as long for a sketch: an error grows with the blocks it is carried over to."""
SAMPLE = 12
"""Batches that are tried, at most."""
MICRO = 2
"""Of a step that accumulates more micro-batches, so many are tried."""

Figures = dict[str, float]
Item = TypeVar("Item")


def rehearse(
    recipe: Recipe,
    model: Path,
    outline: Outline,
    stages: Sequence[StageLoad],
    exam: ExamLoad,
    recomputes: bool = False,
) -> Figures:
    """Seconds and bytes, for the whole model: of each stage ``<name> step`` and ``<name> score``,
    seconds a token, ``<name> step bytes`` and ``<name> score bytes`` at most; ``exam group`` and
    ``exam bytes``."""

    def tried(blocks: int, adapter: AdapterSpec, patience: int = LONGER) -> Figures:
        sketch = create(recipe.engine)
        sketch.sketch(model, recipe.model.dtype, recipe.model.quantization, blocks)
        sketch.recomputes = recomputes
        figures = _try(sketch, adapter, stages, exam, patience)
        del sketch
        gc.collect()  # hooks and modules hold each other
        return figures

    spec = adapter_spec(recipe)
    if outline.blocks <= WHOLE:
        return tried(outline.blocks, spec, patience=1)
    # Targets and patterns may name blocks that the sketch has not.
    rank = max([spec.rank, *spec.rank_pattern.values()])
    spec = AdapterSpec(rank, dropout=spec.dropout, targets=outline.kinds, dora=spec.dora)
    few, more = tried(FEW, spec), tried(MORE, spec)
    adapted = frozen = _each(few, more)
    if outline.adapted < outline.blocks:
        frozen = _each(few, tried(MORE, replace(spec, layers=FEW)))
    return {
        name: few[name]
        + adapted[name] * (outline.adapted - FEW)
        + frozen[name] * (outline.blocks - outline.adapted)
        for name in few
    }


def _each(few: Figures, more: Figures) -> Figures:
    """What one more block adds."""
    return {name: max(0.0, more[name] - few[name]) / (MORE - FEW) for name in few}


def _try(
    engine: Engine, spec: AdapterSpec, stages: Sequence[StageLoad], exam: ExamLoad, patience: int
) -> Figures:
    slot = engine.attach(spec, trainable=True)
    figures: Figures = {}

    def step(batches: Sequence[Sequence[Example]]) -> None:
        for examples in batches:
            batch, settings = pack(examples, slot), stage.section.preference
            known = np.zeros((len(examples), 2))  # as if the reference had said it
            engine.accumulate(batch, Preference(settings, batch, known) if settings else None)
        engine.update(0.0)

    def score(batch: Sequence[Example]) -> None:
        engine.score(pack(batch, slot))

    for stage in stages:
        largest = [stage.train[index] for index in stage.largest]
        size = stage.section.batch_size
        starts = _spread(range(0, len(stage.valid), size), SAMPLE)
        valid = [stage.valid[start : start + size] for start in starts] or [largest]
        steps = [
            [[stage.train[index] for index in batch] for batch in step[:MICRO]]
            for step in _spread(stage.epoch, SAMPLE)
        ]
        with engine.watched() as watch:
            step([largest])
        figures[f"{stage.name} step bytes"] = watch.bytes
        with engine.watched() as watch:
            score(max(valid, key=_tokens))
        figures[f"{stage.name} score bytes"] = watch.bytes
        sizes = [sum(map(_tokens, batches)) for batches in steps]
        figures[f"{stage.name} step"] = _seconds(step, steps, sizes, patience * STEPS)
        figures[f"{stage.name} score"] = _seconds(
            score, valid, [*map(_tokens, valid)], patience * SCORES
        )
    if exam.groups:
        tuned = [engine.attach(spec) for _ in stages]
        figures |= _try_exam(engine, [BASE, *tuned], exam)
    return figures


def _try_exam(engine: Engine, slots: Sequence[int], exam: ExamLoad) -> Figures:
    longest = [Request(one.prompt, slot, exam.limit) for slot in slots for one in exam.groups[-1]]
    with engine.watched() as watch:
        for count, _ in enumerate(engine.generate(longest)):
            if count > len(longest):
                break
    requests = [
        Request(one.prompt, slot, one.base if slot == BASE else one.tuned)
        for slot in slots
        for one in exam.groups[len(exam.groups) // 2]
    ]
    began, said = time.perf_counter(), 0
    for _ in engine.generate(requests):
        said += 1
        if time.perf_counter() - began > EXAM:
            break
    share = said / sum(request.max_new_tokens for request in requests)
    return {"exam bytes": watch.bytes, "exam group": (time.perf_counter() - began) / share}


def _spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of them, evenly spaced, those in the middle of equal parts."""
    count = min(most, len(items))
    return [items[(2 * index + 1) * len(items) // (2 * count)] for index in range(count)]


def _tokens(batch: Sequence[Example]) -> int:
    return sum(len(example.tokens) for example in batch)


def _seconds(
    work: Callable[[Item], None], items: Sequence[Item], sizes: Sequence[int], room: float
) -> float:
    """The seconds that a unit of size takes, over as many items as there is time: the lower
    quartile, since the first ones of a shape, and a busy machine, only ever take longer."""
    began, taken = time.perf_counter(), []
    for item, size in zip(items, sizes, strict=True):
        start = time.perf_counter()
        work(item)
        taken.append((time.perf_counter() - start) / size)
        if time.perf_counter() - began > room:
            break
    return sorted(taken)[len(taken) // 4]
