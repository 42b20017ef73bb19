"""LoRA fine-tuning beside TRL with PEFT, on the same tokens, steps and adapters.

Run by `make bench`, on a machine that does nothing else. GSM8K, loss on the answers, batches of 8,
rank 16 on all linears, AdamW at 2e-4; both start from the same A. Tokens a second count prompts and
answers, over the wall time from the first batch to the last step. Writes
benchmarks/results/sft.json; the losses of fp32 PEFT stand beside.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import _shared
from _shared import BATCH, RANK, RATE

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import pack

STEPS = {"m135": 3, "pocket": 20}
ROUNDS = 2


def ours(name: str) -> _shared.Figures:
    from lorecraft.engines.torch.engine import TorchEngine

    figures: _shared.Figures = {"product_gflops": _shared.product_peak()}
    engine = TorchEngine()
    engine.device = "cpu"
    engine.open(_shared.model(name), "bfloat16")
    slot = engine.attach(AdapterSpec(rank=RANK, alpha=2 * RANK), trainable=True, seed=0)
    losses = []
    with _shared.measured(figures):
        for batch in _batches(name):
            loss = engine.accumulate(pack(batch, slot))
            engine.update(RATE)
            losses.append(loss.total / loss.weight)
    return figures | _speed(name, figures["seconds"]) | {"losses": losses}


def trl(name: str, dtype: str, checkpointing: bool, adapters: str | None) -> _shared.Figures:
    """See ``_shared.TRL``."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [example for batch in _batches(name) for example in batch]
    data = Dataset.from_dict(
        {
            "input_ids": [row.tokens.tolist() for row in rows],
            "completion_mask": [row.weight.astype(int).tolist() for row in rows],
        }
    )
    figures = _shared.trained_by_trl(
        SFTTrainer, SFTConfig, _shared.model(name), data, dtype, checkpointing, adapters,
        completion_only_loss=True,
    )  # fmt: skip
    return figures | _speed(name, figures["seconds"])


def _batches(name: str) -> list[list[Any]]:
    examples = _shared.gsm8k()
    return [examples[n * BATCH : (n + 1) * BATCH] for n in range(STEPS[name])]


def _speed(name: str, seconds: float) -> _shared.Figures:
    tokens = sum(len(example.tokens) for batch in _batches(name) for example in batch)
    return {"tokens": tokens, "tokens_per_second": tokens / seconds}


def bound(name: str) -> float:
    """FLOP a token that no way can do without: products of the frozen weights forward, and backward
    to what enters them; the head where there is loss."""
    import json

    c = json.loads((_shared.model(name) / "config.json").read_text("utf-8"))
    hidden, size = (
        c["hidden_size"],
        c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"],
    )
    heads = (2 * c["num_attention_heads"] + 2 * c["num_key_value_heads"]) * size
    linears = c["num_hidden_layers"] * hidden * (heads + 3 * c["intermediate_size"])
    rows = [example for batch in _batches(name) for example in batch]
    share = sum(r.weight.sum() for r in rows) / sum(len(r.tokens) for r in rows)
    return float(4 * (linears + share * hidden * c["vocab_size"]))


def ways() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in STEPS:
        found[f"{name} lorecraft"] = partial(ours, name)
        for how, settings in _shared.TRL.items():
            found[f"{name} {how}"] = partial(trl, name, *settings)
    return found


def show(results: dict[str, Any]) -> None:
    for name in STEPS:
        own, peer = results[f"{name} lorecraft"], results[f"{name} trl, all bf16"]
        share = bound(name) * own["tokens_per_second"] / own["product_gflops"] / 1e9
        own["share_of_bound"] = round(share, 3)
        own["times_trl"] = round(own["tokens_per_second"] / peer["tokens_per_second"], 2)
        own["memory_of_trl"] = round(own["megabytes"] / peer["megabytes"], 2)
        print(
            f"{name}: {own['tokens_per_second']:,.0f} tokens/s, {own['times_trl']}x TRL's best, "
            f"{own['memory_of_trl']:.0%} of its memory, {share:.0%} of the bound"
        )
        for way in (f"{name} lorecraft", f"{name} trl, all fp32"):
            print(f"  {way:24}", *(f"{loss:.4f}" for loss in results[way]["losses"]))


if __name__ == "__main__":
    found = ways()
    results = _shared.main(__file__, found, ROUNDS, once=[w for w in found if "fp32" in w])
    show(results)
    _shared.save(__file__, results)
