"""A stage that the fake engine trains in no time, and what it told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import Example
from lorecraft.engines.fake import FakeEngine
from lorecraft.recipe import StageSection
from lorecraft.training.loop import StageResult, train_stage

VOCABULARY = 24


def examples(count: int, seed: int) -> list[Example]:
    random = np.random.default_rng(seed)
    made = []
    for index in range(count):
        tokens = random.integers(0, VOCABULARY, 6).astype(np.int32)
        made.append(Example(tokens, np.array([0, 0, 0, 1, 1, 1], np.float32), f"record {index}"))
    return made


def settings(**given: Any) -> StageSection:
    usual = {"kind": "sft", "epochs": 4, "batch_size": 4, "learning_rate": 0.02, "general": 0.0}
    return StageSection(**(usual | {"validate_every": 5} | given))


class Log:
    """Collects events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, kind: str, **fields: Any) -> None:
        self.events.append({"kind": kind, **fields})

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]


class Killed(Exception):
    pass


class Deadly(Log):
    """Ends the process, as it were, at the event after so many."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def __call__(self, kind: str, **fields: Any) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1
        super().__call__(kind, **fields)


def trained(
    model: Path,
    stage: StageSection,
    engine: FakeEngine | None = None,
    dropout: float = 0.1,
    **options: Any,
) -> tuple[FakeEngine, int, StageResult, Log]:
    engine = engine or FakeEngine()
    engine.open(model)
    slot = engine.attach(AdapterSpec(rank=2, alpha=4.0, dropout=dropout), trainable=True, seed=3)
    log = options.pop("log", None) or Log()
    options = {"valid": examples(6, 1), **options}
    result = train_stage(
        engine, slot, examples(30, 0), stage=stage, seed=5, on_event=log, **options
    )
    return engine, slot, result, log


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return all(np.array_equal(left[name], right[name]) for name in left)
