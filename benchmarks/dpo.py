"""Preference tuning beside TRL's DPOTrainer with PEFT, on the same tokens, steps and adapters.

Run by `make bench`, on a machine that does nothing else. Pairs of GSM8K: a question, its answer,
and the answer to another question; batches of 8 pairs, rank 16 on all linears, AdamW at 2e-4, beta
0.1, one epoch; both start from the same A. Pairs a second are over the wall time from the first
batch to the last step, with the reference's pass: one in one epoch for TRL too, which makes it anew
in each. Writes benchmarks/results/dpo.json; the losses of fp32 PEFT stand beside.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import pairwise
from typing import Any

import _shared
import numpy as np
from _shared import BATCH, RANK, RATE

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import Example, pack
from lorecraft.recipe import PreferenceSection
from lorecraft.training.preference import Preference, answers

STEPS = {"m135": 2}
BETA = 0.1
ROUNDS = 2


def ours(name: str) -> _shared.Figures:
    from lorecraft.engines.torch.engine import TorchEngine

    figures: _shared.Figures = {"product_gflops": _shared.product_peak()}
    engine = TorchEngine()
    engine.device = "cpu"
    engine.open(_shared.model(name), "bfloat16")
    slot = engine.attach(AdapterSpec(rank=RANK, alpha=2 * RANK), trainable=True, seed=0)
    settings, losses = PreferenceSection(beta=BETA), []
    began = time.perf_counter()
    with _shared.measured(figures):
        batches = [pack(batch, slot) for batch in _batches(name)]
        references = [answers(batch, engine.score(batch)) for batch in batches]
        figures["reference_seconds"] = time.perf_counter() - began
        for batch, reference in zip(batches, references, strict=True):
            loss = engine.accumulate(batch, Preference(settings, batch, reference))
            engine.update(RATE)
            losses.append(loss.total / loss.weight)
    return figures | _speed(name, figures["seconds"]) | {"losses": losses}


def trl(name: str, dtype: str, checkpointing: bool, adapters: str | None) -> _shared.Figures:
    """See ``_shared.TRL``."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class AsItIs(DPOTrainer):
        """Of tokens that are there."""

        def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
            return dataset

    rows = [np.split(pair.tokens, pair.answers) for batch in _batches(name) for pair in batch]
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    data = Dataset.from_list(
        [dict(zip(columns, (part.tolist() for part in row), strict=True)) for row in rows]
    )
    figures = _shared.trained_by_trl(
        AsItIs, DPOConfig, _shared.model(name), data, dtype, checkpointing, adapters, beta=BETA
    )
    return figures | _speed(name, figures["seconds"])


def _batches(name: str) -> list[list[Example]]:
    records = _shared.gsm8k()[: STEPS[name] * BATCH + 1]
    pairs = []
    for record, other in pairwise(records):
        asked = int(np.flatnonzero(record.weight)[0])
        wrong = other.tokens[other.weight > 0]
        tokens = np.concatenate([record.tokens, wrong])
        weight = np.concatenate([record.weight, np.ones(len(wrong), np.float32)])
        pairs.append(Example(tokens, weight, record.record, (asked, len(record.tokens))))
    return [pairs[n * BATCH : (n + 1) * BATCH] for n in range(STEPS[name])]


def _speed(name: str, seconds: float) -> _shared.Figures:
    pairs = [pair for batch in _batches(name) for pair in batch]
    tokens = sum(len(pair.tokens) for pair in pairs)
    return {"pairs": len(pairs), "tokens": tokens, "pairs_per_second": len(pairs) / seconds}


def ways() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in STEPS:
        found[f"{name} lorecraft"] = partial(ours, name)
        for how, settings in _shared.TRL.items():
            found[f"{name} {how}"] = partial(trl, name, *settings)
    return found


def show(results: dict[str, Any]) -> None:
    for name in STEPS:
        own = results[f"{name} lorecraft"]
        peers = [results[f"{name} {how}"]["pairs_per_second"] for how in _shared.TRL]
        own["times_trl"] = round(own["pairs_per_second"] / max(peers), 2)
        print(
            f"{name}: {own['pairs_per_second']:.2f} pairs/s, {own['times_trl']}x TRL's best "
            f"({max(peers):.2f})"
        )
        for way in (f"{name} lorecraft", f"{name} trl, all fp32"):
            print(f"  {way:24}", *(f"{loss:.4f}" for loss in results[way]["losses"]))


if __name__ == "__main__":
    found = ways()
    results = _shared.main(__file__, found, ROUNDS, once=[w for w in found if "fp32" in w])
    show(results)
    _shared.save(__file__, results)
