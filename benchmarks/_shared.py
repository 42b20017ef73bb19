"""What the benchmarks of the engine share: models, data, and ways that take turns."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import lorecraft.models.pocket
from lorecraft.data.batches import Example
from lorecraft.engines import lora

HERE = Path(__file__).parent
POCKET = Path(lorecraft.models.pocket.__file__).parent / "weights"
M135 = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TRL = {
    "trl, defaults": ("float32", True, None),  # under bf16 autocast
    "trl, all bf16": ("bfloat16", False, "bfloat16"),  # the best that was found
    "trl, all fp32": ("float32", False, "float32"),  # for its losses
}
"""How TRL is set: the weights' dtype, gradient checkpointing, and the adapters' dtype."""
BATCH, RATE, RANK = 8, 2e-4, 16
"""Records of a step, learning rate, and rank, of what is trained beside TRL."""
Figures = dict[str, Any]


def model(name: str) -> Path:
    """``pocket``, or ``m135``: Qwen2's architecture, 135 million random weights."""
    if name == "pocket":
        return POCKET
    folder = Path(tempfile.gettempdir()) / "lorecraft-benchmarks" / name
    if not (folder / "model.safetensors").exists():
        import torch
        from transformers import Qwen2Config, Qwen2ForCausalLM

        torch.manual_seed(0)
        Qwen2ForCausalLM(Qwen2Config(**M135)).bfloat16().save_pretrained(folder)
    return folder


def gsm8k() -> list[Example]:
    """200 records of GSM8K (Cobbe et al. 2021, arXiv:2110.14168; MIT licence), question and
    answer, in the embedded model's tokens. The answer is trained."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(POCKET / "tokenizer.json"))
    examples = []
    for line in (HERE / "gsm8k.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        question, answer = (tokenizer.encode(record[k]).ids for k in ("question", "answer"))
        weight = np.repeat(np.float32([0, 1]), [len(question), len(answer)])
        tokens = np.array(question + answer, np.int32)
        examples.append(Example(tokens, weight, str(len(examples))))
    return examples


def start_alike(network: Any, dtype: str | None) -> None:
    """Give PEFT's adapter the A that the engine starts from, in another dtype if one is given."""
    import torch

    named = {n.replace(".default", ""): p for n, p in network.named_parameters() if ".default" in n}
    shapes = {name: tuple(named[name].shape) for name in sorted(named, key=_place)}
    start = lora.initial(shapes, 0, lambda _: np.zeros(0, np.float32))
    for name, array in start.items():
        named[name].data.copy_(torch.from_numpy(array))
        if dtype is not None:
            named[name].data = named[name].data.to(getattr(torch, dtype))


def trained_by_trl(
    trainer: Any,
    config: Any,
    folder: Path,
    data: Any,
    dtype: str,
    checkpointing: bool,
    adapters: str | None,
    **settings: Any,
) -> Figures:
    """What an epoch of TRL's ``trainer`` takes, its records in order, and its losses.

    ``adapters`` is the dtype of theirs; by default PEFT makes it float32.
    """
    from peft import LoraConfig
    from torch.utils.data import SequentialSampler
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback

    class InOrder(trainer):
        def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

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

    figures: Figures = {"product_gflops": product_peak()}
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(POCKET / "tokenizer.json"))
    tokenizer.pad_token = tokenizer.eos_token = tokenizer.convert_ids_to_tokens(0)
    with tempfile.TemporaryDirectory() as output:
        watch = Watch()
        run = InOrder(
            network,
            args=config(
                output_dir=output,
                per_device_train_batch_size=BATCH,
                learning_rate=RATE,
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
                **settings,
            ),
            train_dataset=data,
            processing_class=tokenizer,
            peft_config=LoraConfig(
                r=RANK,
                lora_alpha=2 * RANK,
                target_modules=list(TARGETS),
                task_type="CAUSAL_LM",
            ),
            callbacks=[watch],
        )
        start_alike(run.model, adapters)
        whole: Figures = {}
        with measured(whole):
            run.train()
    return whole | figures | {"losses": watch.losses}


def _place(name: str) -> tuple[int, int]:
    """The block, and the linear's place in it."""
    parts = name.split(".")
    return int(parts[parts.index("layers") + 1]), TARGETS.index(parts[-3])


def product_peak() -> float:
    """GFLOPS of a large bf16 matrix product, now."""
    import torch

    x = torch.randn(2048, 2048).bfloat16()
    x @ x
    began = time.perf_counter()
    for _ in range(10):
        x @ x
    return 10 * 2 * 2048**3 / (time.perf_counter() - began) / 1e9


@contextmanager
def measured(figures: Figures) -> Any:
    """Adds seconds, seconds of processor time, and the whole process's peak in megabytes."""
    began, spent = time.perf_counter(), time.process_time()
    yield
    figures["seconds"] = time.perf_counter() - began
    figures["cpu_seconds"] = time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures["megabytes"] = peak / (1e6 if sys.platform == "darwin" else 1e3)


def main(
    script: str,
    ways: Mapping[str, Callable[[], Figures]],
    rounds: int,
    once: Sequence[str] = (),
) -> dict[str, Any]:
    """Run every way in a process of its own, in turns, those of ``once`` a single time; the median
    of each figure by way.

    Within such a process: run the way that is asked for, and end.
    """
    if len(sys.argv) > 1:
        print("FIGURES " + json.dumps(ways[sys.argv[1]]()))
        sys.exit()
    found: dict[str, list[Figures]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways if not number else [way for way in ways if way not in once]:
            found[way].append(_of_its_own(script, way))
            print(f"{number + 1}/{rounds} {way}: {_line(found[way][-1])}", flush=True)
    return {way: _medians(each) for way, each in found.items()}


def save(script: str, results: Mapping[str, Any]) -> None:
    path = HERE / "results" / f"{Path(script).stem}.json"
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _of_its_own(script: str, way: str) -> Figures:
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, script, way]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("FIGURES "):
            return json.loads(line.removeprefix("FIGURES "))
    sys.exit(f"{way} did not run:\n{done.stderr[-3000:]}")


def _medians(each: Sequence[Figures]) -> Figures:
    result: Figures = {}
    for name, value in each[0].items():
        several = [one[name] for one in each]
        numbers = isinstance(value, int | float)
        result[name] = round(median(several), 2) if numbers else several[0]
    return result


def _line(figures: Figures) -> str:
    return ", ".join(f"{k} {v:,.1f}" for k, v in figures.items() if isinstance(v, int | float))
