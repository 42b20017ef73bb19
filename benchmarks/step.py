"""A step of training by the written-out decoder, beside Transformers' modules and autograd.

Run by `make bench`, on a machine that does nothing else. The embedded model, rank 32 on all
linears, 16 conversations a step, and a new number of tokens in every step, as in real data. The
ways take turns, each time in a process of its own; printed are the medians of a step and of the
peak of memory. Writes benchmarks/results/step.json.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

import lorecraft.models.pocket
from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import Example, pack
from lorecraft.engines.torch import forward, segments
from lorecraft.engines.torch.engine import TorchEngine

RESULTS = Path(__file__).parent / "results" / "step.json"
WEIGHTS = Path(lorecraft.models.pocket.__file__).parent / "weights"
WAYS = ("autograd", "written out, sizes as they come", "written out")
ROUNDS, STEPS = 3, 40


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(ROUNDS):
        for way in WAYS:
            command = [sys.executable, __file__, way, str(number)]
            found[way].append(json.loads(subprocess.check_output(command)))
    results = {
        way: {name: round(median(one[name] for one in each), 1) for name in each[0]}
        for way, each in found.items()
    }
    for way, figures in results.items():
        ratio = results["autograd"]["milliseconds"] / figures["milliseconds"]
        print(
            f"{way:32} {figures['milliseconds']:6.1f} ms a step ({ratio:.2f}x), "
            f"{figures['megabytes']:,.0f} MB"
        )
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def measure(way: str, seed: int) -> dict[str, float]:
    """The median of the steps after the first few, and the peak of the whole process."""
    if way == WAYS[1]:
        forward.TOKENS = forward.WANTED = segments.EVEN = 1
    engine = TorchEngine()
    engine.device = "cpu"
    engine.open(WEIGHTS)
    if way == WAYS[0]:
        decoder = engine._forward
        engine._forward = forward.Packed(decoder._network, decoder._adapters, "cpu")
    slot = engine.attach(AdapterSpec(rank=32, alpha=32), trainable=True)
    random, taken = np.random.default_rng(seed), []
    for _ in range(STEPS):
        batch = pack([example(random) for _ in range(16)], slot)
        began = time.perf_counter()
        engine.accumulate(batch)
        engine.update(1e-3)
        taken.append(1000 * (time.perf_counter() - began))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "milliseconds": median(taken[5:]),
        "megabytes": peak / (1e6 if sys.platform == "darwin" else 1e3),
    }


def example(random: np.random.Generator) -> Example:
    """A short conversation of made-up tokens, its second half trained."""
    length = int(random.integers(20, 46))
    weight = (np.arange(length) >= length // 2).astype(np.float32)
    return Example(random.integers(3, 3000, length).astype(np.int32), weight, "")


if __name__ == "__main__":
    main()
