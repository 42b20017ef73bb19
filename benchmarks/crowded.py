"""Training beside other work on the same cores, under OpenMP's ways to wait.

Run by `make bench`. The embedded model, rank 32 on all linears, GSM8K in batches of 8, alone and
beside a process that keeps one core busy: with the defaults, with threads that sleep while they
wait (OMP_WAIT_POLICY=passive), and with one thread (OMP_NUM_THREADS=1). Writes
benchmarks/results/crowded.json.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial

import _shared

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import pack

STEPS, BATCH, RANK, ROUNDS = 12, 8, 32, 2
SETTINGS = {
    "defaults": {},
    "sleeping": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def steps(settings: Mapping[str, str], crowded: bool) -> _shared.Figures:
    os.environ |= settings  # read when torch is loaded
    from lorecraft.engines.torch.engine import TorchEngine

    engine = TorchEngine()
    engine.device = "cpu"
    engine.open(_shared.model("pocket"), "bfloat16")
    slot = engine.attach(AdapterSpec(rank=RANK, alpha=2 * RANK), trainable=True, seed=0)
    examples = _shared.gsm8k()
    batches = [examples[n * BATCH : (n + 1) * BATCH] for n in range(STEPS)]
    engine.accumulate(pack(batches[0], slot))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"])] if crowded else []
    figures: _shared.Figures = {}
    try:
        with _shared.measured(figures):
            for batch in batches:
                engine.accumulate(pack(batch, slot))
                engine.update(1e-4)
    finally:
        for process in busy:
            process.kill()
    tokens = sum(len(example.tokens) for batch in batches for example in batch)
    return figures | {"tokens_per_second": tokens / figures["seconds"]}


if __name__ == "__main__":
    ways = {
        f"{'beside another process' if crowded else 'alone'}, {name}": partial(
            steps, settings, crowded
        )
        for crowded in (False, True)
        for name, settings in SETTINGS.items()
    }
    _shared.save(__file__, _shared.main(__file__, ways, ROUNDS))
