"""Work that is done once: a prompt for all its continuations, and what enters the lowest adapted
block for all epochs.

Run by `make bench`, on a machine that does nothing else. m135 (135 million random weights in bf16),
LoRA rank 16 on all linears. Writes benchmarks/results/once.json.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import _shared
import numpy as np

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import TokenBatch, pack

ROUNDS = 2
PROMPT, CONTINUATIONS, LONG = 400, 4, 60
"""Tokens of a prompt, its continuations, and tokens of each."""
PROMPTS, STEPS = 4, 3
EPOCHS, BATCHES, LAYERS = 5, 2, 8


def prompts(shared: bool) -> _shared.Figures:
    """Prompts with their continuations, the continuations trained."""
    engine, slot = _engine("all")
    random, figures, losses = np.random.default_rng(0), {}, []
    with _shared.measured(figures):
        for _ in range(STEPS):
            batch = _forest(random, slot)
            loss = engine.accumulate(batch if shared else _repeated(batch))
            engine.update(2e-4)
            losses.append(loss.total / loss.weight)
    tokens = STEPS * PROMPTS * (PROMPT + CONTINUATIONS * LONG)
    return figures | {"tokens": tokens, "losses": losses}


def epochs(kept: bool) -> _shared.Figures:
    """The last blocks adapted, the same records in every epoch."""
    engine, slot = _engine(LAYERS)
    examples, figures, losses = _shared.gsm8k(), {}, []
    batches = [pack(examples[8 * n : 8 * n + 8], slot) for n in range(BATCHES)]
    with _shared.measured(figures):
        for epoch in range(EPOCHS):
            for batch in batches:
                if kept and epoch == 0:
                    engine.keep(batch)
                loss = engine.accumulate(batch)
                engine.update(2e-4)
                losses.append(loss.total / loss.weight)
    tokens = EPOCHS * sum(len(batch.tokens) for batch in batches)
    return figures | {"tokens": tokens, "losses": losses}


def _engine(layers: int | str) -> tuple[Any, int]:
    from lorecraft.engines.torch.engine import TorchEngine

    engine = TorchEngine()
    engine.device = "cpu"
    engine.open(_shared.model("m135"), "bfloat16")
    spec = AdapterSpec(rank=16, alpha=32, layers=layers)
    return engine, engine.attach(spec, trainable=True, seed=0)


def _forest(random: np.random.Generator, slot: int) -> TokenBatch:
    lengths = [PROMPT, *[LONG] * CONTINUATIONS] * PROMPTS
    family = [-1, *[0] * CONTINUATIONS]
    parents = [p + n * len(family) if p >= 0 else -1 for n in range(PROMPTS) for p in family]
    return TokenBatch(
        tokens=random.integers(3, 3000, sum(lengths)).astype(np.int32),
        starts=np.cumsum([0, *lengths]).astype(np.int32),
        parent=np.array(parents, np.int32),
        adapter=np.full(len(lengths), slot, np.int32),
        weight=np.repeat(np.float32([p >= 0 for p in parents]), lengths),
    )


def _repeated(batch: TokenBatch) -> TokenBatch:
    """Every continuation with a prompt of its own."""
    from lorecraft.data.batches import Example, flatten

    slot = int(batch.adapter[0])
    return pack([Example(tokens, weight, "") for _, tokens, weight in flatten(batch)], slot)


WAYS = {
    "prompts repeated": partial(prompts, False),
    "prompts shared": partial(prompts, True),
    "entered computed anew": partial(epochs, False),
    "entered kept": partial(epochs, True),
}

if __name__ == "__main__":
    results = _shared.main(__file__, WAYS, ROUNDS)
    names = list(WAYS)
    for slow, quick in zip(names[::2], names[1::2], strict=True):
        ratio = results[slow]["seconds"] / results[quick]["seconds"]
        print(f"{quick}: {ratio:.2f}x as fast as {slow}")
    _shared.save(__file__, results)
