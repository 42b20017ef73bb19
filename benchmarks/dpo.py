"""Preference tuning beside TRL's DPOTrainer with PEFT, on the same tokens, steps and adapters.

Run by `make bench`, on a machine that does nothing else. Pairs of GSM8K: a question, its answer,
and the answer to another question; batches of 8 pairs, rank 16 on all linears, AdamW at 2e-4, beta
0.1, one epoch; both start from the same A. Pairs a second are over the wall time from the first
batch to the last step, with the reference's pass: one in one epoch for TRL too, which makes it anew
in each. Writes benchmarks/results/dpo.json; the losses of fp32 PEFT stand beside.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from itertools import pairwise
from typing import Any

import _shared
import numpy as np

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import Example, pack
from lorecraft.recipe import PreferenceSection
from lorecraft.training.preference import Preference, answers

STEPS = {"m135": 2}
BATCH, RATE, RANK, BETA = 8, 2e-4, 16, 0.1
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
    """``adapters``: the dtype of theirs; by default PEFT makes it float32."""
    from datasets import Dataset
    from peft import LoraConfig
    from torch.utils.data import SequentialSampler
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    class AsItIs(DPOTrainer):
        """In order, and of tokens that are there."""

        def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

        def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
            return dataset

    class Watch(TrainerCallback):
        def __init__(self) -> None:
            self.losses: list[float] = []
            self.began = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            figures["seconds"] = time.perf_counter() - self.began

        def on_log(self, *_: Any, logs: dict[str, Any], **__: Any) -> None:
            if "loss" in logs:
                self.losses.append(float(logs["loss"]))

    figures: _shared.Figures = {"product_gflops": _shared.product_peak()}
    network = AutoModelForCausalLM.from_pretrained(_shared.model(name), dtype=dtype)
    rows = [np.split(pair.tokens, pair.answers) for batch in _batches(name) for pair in batch]
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    data = Dataset.from_list(
        [dict(zip(columns, (part.tolist() for part in row), strict=True)) for row in rows]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(_shared.POCKET / "tokenizer.json"))
    tokenizer.pad_token = tokenizer.eos_token = tokenizer.convert_ids_to_tokens(0)
    with tempfile.TemporaryDirectory() as folder:
        settings = DPOConfig(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            beta=BETA,
            lr_scheduler_type="constant",
            num_train_epochs=1,
            logging_steps=1,
            max_length=None,
            gradient_checkpointing=checkpointing,
            bf16=dtype == "float32" and adapters is None,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            logging_nan_inf_filter=False,
        )
        how = LoraConfig(
            r=RANK,
            lora_alpha=2 * RANK,
            target_modules=list(_shared.TARGETS),
            task_type="CAUSAL_LM",
        )
        watch = Watch()
        trainer = AsItIs(
            network, args=settings, train_dataset=data, processing_class=tokenizer,
            peft_config=how, callbacks=[watch],
        )  # fmt: skip
        _shared.start_alike(trainer.model, adapters)
        whole: _shared.Figures = {}
        with _shared.measured(whole):
            trainer.train()
    return whole | figures | _speed(name, figures["seconds"]) | {"losses": watch.losses}


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
