"""What a quantised base costs: LoRA steps on bf16, int8 and nf4 weights of the same model.

Run by `make bench`, on a machine that does nothing else. As in sft.py: GSM8K, loss on the answers,
batches of 8, rank 16 on all linears. `held` is the model with its adapter; `megabytes` the peak of
the whole process, libraries included. Writes benchmarks/results/quantised.json.
"""

from __future__ import annotations

import time
from functools import partial

import _shared

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import pack

STEPS, BATCH, RATE, RANK = 3, 8, 2e-4, 16
ROUNDS = 2


def steps(quantization: str) -> _shared.Figures:
    from lorecraft.engines.torch.engine import TorchEngine

    figures: _shared.Figures = {"product_gflops": _shared.product_peak()}
    engine = TorchEngine()
    engine.device = "cpu"
    began = time.perf_counter()
    engine.open(_shared.model("m135"), "bfloat16", quantization)
    figures["opened_in_seconds"] = time.perf_counter() - began
    slot = engine.attach(AdapterSpec(rank=RANK, alpha=2 * RANK), trainable=True, seed=0)
    figures["held_megabytes"] = engine.memory().used / 1e6
    examples = _shared.gsm8k()
    batches = [examples[n * BATCH : (n + 1) * BATCH] for n in range(STEPS)]
    losses = []
    with _shared.measured(figures):
        for batch in batches:
            loss = engine.accumulate(pack(batch, slot))
            engine.update(RATE)
            losses.append(loss.total / loss.weight)
    tokens = sum(len(example.tokens) for batch in batches for example in batch)
    figures |= {"tokens_per_second": tokens / figures["seconds"], "losses": losses}
    return figures


if __name__ == "__main__":
    ways = {name: partial(steps, name) for name in ("none", "int8", "nf4")}
    _shared.save(__file__, _shared.main(__file__, ways, ROUNDS))
