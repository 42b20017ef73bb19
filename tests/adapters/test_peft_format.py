"""Adapters on disk: PEFT loads ours, we load PEFT's, and what is broken is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorecraft.adapters import peft_format
from lorecraft.adapters.spec import AdapterSpec
from lorecraft.engines import create
from lorecraft.engines.base import Engine
from lorecraft.errors import AdapterError


def opened(model: Path) -> Engine:
    engine = create("torch")
    engine.open(model, "float32")
    return engine


def filled(engine: Engine, slot: int) -> None:
    """Random numbers in all parts: B is zero at the start, and would hide everything."""
    random = np.random.default_rng(1)
    tensors = {
        name: random.uniform(0.5, 1.5, tensor.shape) * tensor
        if tensor.ndim == 1
        else random.normal(0, 0.3, tensor.shape)
        for name, tensor in engine.adapter(slot).items()
    }
    engine.load_adapter(slot, tensors)


def ours(engine: Engine, slot: int, tokens: list[int]) -> np.ndarray:
    """Log-probabilities of the tokens after the first."""
    from lorecraft.data.batches import Example, pack

    weight = np.ones(len(tokens), np.float32)
    weight[0] = 0
    return engine.score(pack([Example(np.array(tokens, np.int32), weight, "")], slot))[1:]


def theirs(model: Any, tokens: list[int]) -> np.ndarray:
    import torch

    with torch.no_grad():
        log = model(input_ids=torch.tensor([tokens])).logits[0].float().log_softmax(-1)
    return log[:-1].gather(1, torch.tensor(tokens[1:])[:, None])[:, 0].numpy()


@pytest.mark.parametrize(
    "spec",
    [
        AdapterSpec(rank=4, alpha=8.0),
        AdapterSpec(rank=3, alpha=5.0, targets=("q_proj", "down_proj")),
        AdapterSpec(rank=2, alpha=2.0, layers=1),
        AdapterSpec(rank=4, alpha=6.0, rslora=True),
        AdapterSpec(rank=4, alpha=6.0, dora=True),
        AdapterSpec(2, rank_pattern={"q_proj": 5, r"1\.mlp\..*": 3}, alpha_pattern={"v_proj": 7.0}),
        AdapterSpec(
            3, dora=True, rslora=True, targets=r".*\.[qv]_proj", rank_pattern={"q_proj": 1}
        ),
        AdapterSpec(3, targets=r".*\.(up|down)_proj", layers=1),
    ],
    ids=[
        "all-linear",
        "named",
        "last layer",
        "rslora",
        "dora",
        "patterns",
        "expression",
        "expression in the last layer",
    ],
)
def test_peft_loads_our_adapter_and_gives_the_same_logits(
    tiny_model: Path, tmp_path: Path, spec: AdapterSpec
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    engine = opened(tiny_model)
    slot = engine.attach(spec, trainable=True)
    filled(engine, slot)
    peft_format.save(tmp_path / "adapter", spec, engine.adapter(slot), str(tiny_model))
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype="float32")
    model = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    tokens = [5, 17, 40, 99, 3, 250, 31]
    np.testing.assert_allclose(ours(engine, slot, tokens), theirs(model, tokens), atol=2e-5)
    base_alone = ours(engine, -1, tokens)
    assert np.abs(base_alone - ours(engine, slot, tokens)).max() > 0.01


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["v_proj", "up_proj"]},
        {"target_modules": "all-linear", "use_rslora": True},
        {"target_modules": r".*\.[qv]_proj", "use_dora": True},
        {
            "target_modules": "all-linear",
            "use_dora": True,
            "rank_pattern": {"q_proj": 2, r"0\.mlp\..*": 7, "no_such_proj": 3},
            "alpha_pattern": {"o_proj": 3},
        },
    ],
    ids=["lora", "rslora", "dora", "patterns"],
)
def test_we_load_peft_s_adapter_and_give_the_same_logits(
    tiny_model: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype="float32")
    config = LoraConfig(
        r=4, lora_alpha=12, init_lora_weights=False, task_type="CAUSAL_LM", **settings
    )
    model = get_peft_model(base, config).eval()
    for name, parameter in model.named_parameters():
        if "magnitude" in name:
            parameter.data *= torch.rand(parameter.shape) + 0.5
    model.save_pretrained(tmp_path / "peft")
    spec, tensors = peft_format.load(tmp_path / "peft")
    assert (spec.rank, spec.alpha) == (4, 12.0)
    engine = opened(tiny_model)
    slot = engine.attach(spec, tensors)
    tokens = [8, 1, 77, 200, 13]
    np.testing.assert_allclose(ours(engine, slot, tokens), theirs(model, tokens), atol=2e-5)


def saved(folder: Path) -> Path:
    at = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {f"{at}.lora_A.weight": np.ones((2, 4)), f"{at}.lora_B.weight": np.ones((6, 2))}
    peft_format.save(folder, AdapterSpec(rank=2), tensors, "pocket")
    return folder


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    spec, tensors = peft_format.load(saved(tmp_path / "adapter"))
    assert spec == AdapterSpec(rank=2, targets=("model.layers.0.self_attn.q_proj",))
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float32)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter"]


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / peft_format.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / peft_format.CONFIG).unlink(), "no adapter in"),
        (lambda f: (f / peft_format.CONFIG).write_text("{"), "cannot be read"),
        (lambda f: change_config(f, peft_type="IA3"), "describes IA3"),
        (lambda f: change_config(f, use_dora=True), "magnitudes for 0 modules"),
        (lambda f: change_config(f, r=8), "rank 8"),
        (lambda f: (f / peft_format.WEIGHTS).unlink(), "has no adapter_model.safetensors"),
        (
            lambda f: (f / peft_format.WEIGHTS).rename(f / "adapter_model.bin"),
            "a pickle, which can run code",
        ),
        (lambda f: (f / peft_format.WEIGHTS).write_bytes(b"\x10" * 40), "is broken"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, harm: Any, message: str) -> None:
    folder = saved(tmp_path / "adapter")
    harm(folder)
    with pytest.raises(AdapterError, match=message):
        peft_format.load(folder)


def test_an_adapter_of_another_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    engine = opened(tiny_model)
    with pytest.raises(AdapterError):
        engine.attach(*peft_format.load(saved(tmp_path / "adapter")))
