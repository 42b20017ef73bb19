"""Generation beside Transformers' own, on the same prompts, greedy, in bf16.

Run by `make bench`, on a machine that does nothing else. 64 prompts of 20 to 200 tokens, cut from
GSM8K, on the model of 135 million random weights; nothing stops an answer but its length.
Transformers gets them sorted by length, in padded batches of 16, each of which lasts as long as its
longest answer. Tokens a second count new tokens over the whole time, prompts included.

"even": 64 new tokens each. "mixed": 8 to 128. "models": 16 prompts each for the base and two
adapters, in one call or in three. Writes benchmarks/results/generation.json.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import Any

import _shared
import numpy as np

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.engines.base import BASE, Request

PROMPTS, BATCH, EVEN, ROUNDS = 64, 16, 64, 2
LENGTHS, MIXED = (20, 200), (8, 128)


def requests(answers: str) -> list[Request]:
    random = np.random.default_rng(0)
    text = np.concatenate([example.tokens for example in _shared.gsm8k()])
    made = []
    for _ in range(PROMPTS):
        first, length = random.integers(len(text) - 200), random.integers(*LENGTHS, endpoint=True)
        new = EVEN if answers == "even" else int(random.integers(*MIXED, endpoint=True))
        made.append(Request(text[first : first + length].tolist(), max_new_tokens=new))
    return made


def ours(answers: str) -> _shared.Figures:
    engine, asked = _engine(), requests(answers)
    return _measured(lambda: sum(1 for _ in engine.generate(asked)))


def models(together: bool) -> _shared.Figures:
    """The same prompts for the base and two adapters."""
    engine = _engine()
    slots = [BASE, *(_adapter(engine, seed) for seed in (1, 2))]
    asked = [
        [Request(r.tokens, slot, r.max_new_tokens) for r in requests("even")[:BATCH]]
        for slot in slots
    ]
    calls = [[*chain(*asked)]] if together else asked
    return _measured(lambda: sum(1 for call in calls for _ in engine.generate(call)))


def transformers(answers: str) -> _shared.Figures:
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(_shared.model("m135"), dtype="bfloat16").eval()
    network.generation_config.eos_token_id = None
    network.generation_config.pad_token_id = 0
    asked = sorted(requests(answers), key=lambda request: len(request.tokens))

    def answer(batch: list[Request], new: int) -> None:
        longest = max(len(request.tokens) for request in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        for row, request in zip(ids, batch, strict=True):
            row[longest - len(request.tokens) :] = torch.tensor(request.tokens)
        places = torch.arange(longest) - longest
        mask = places >= -torch.tensor([[len(request.tokens)] for request in batch])
        said = network.generate(
            input_ids=ids, attention_mask=mask.long(), max_new_tokens=new, do_sample=False
        )
        assert said.shape[1] == longest + new

    def all_of_them() -> int:
        for first in range(0, PROMPTS, BATCH):
            batch = asked[first : first + BATCH]
            answer(batch, max(request.max_new_tokens for request in batch))
        return sum(request.max_new_tokens for request in asked)

    answer(asked[:2], 2)
    return _measured(all_of_them)


def _engine() -> Any:
    from lorecraft.engines.torch.engine import TorchEngine

    engine = TorchEngine()
    engine.device = "cpu"
    engine.open(_shared.model("m135"), "bfloat16")
    list(engine.generate([Request([1, 2], max_new_tokens=2)]))
    return engine


def _adapter(engine: Any, seed: int) -> int:
    slot = engine.attach(AdapterSpec(rank=16, alpha=32.0), seed=seed)
    random = np.random.default_rng(seed)
    weights = {n: random.normal(0, 0.01, t.shape) for n, t in engine.adapter(slot).items()}
    engine.load_adapter(slot, weights)
    return int(slot)


def _measured(work: Any) -> _shared.Figures:
    figures: _shared.Figures = {"product_gflops": _shared.product_peak()}
    with _shared.measured(figures):
        figures["tokens"] = work()
    return figures | {"tokens_per_second": figures["tokens"] / figures["seconds"]}


WAYS = {
    "even lorecraft": partial(ours, "even"),
    "even transformers": partial(transformers, "even"),
    "mixed lorecraft": partial(ours, "mixed"),
    "mixed transformers": partial(transformers, "mixed"),
    "models lorecraft, one call": partial(models, True),
    "models lorecraft, three calls": partial(models, False),
}


if __name__ == "__main__":
    _shared.save(__file__, _shared.main(__file__, WAYS, ROUNDS))
