"""Adapters of PEFT in its many configurations: read exactly, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorecraft.adapters import peft_format
from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import Example, pack
from lorecraft.engines import create
from lorecraft.errors import AdapterError

Q_PROJ = "model.layers.{}.self_attn.q_proj"


def tensors_at(*paths: str, rank: int = 2) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = {"lora_A": (rank, 4), "lora_B": (6, rank)}
    return {
        f"base_model.model.{path}.{part}.weight": random.normal(size=shape).astype(np.float32)
        for path in paths
        for part, shape in shapes.items()
    }


def saved(folder: Path, spec: AdapterSpec | None = None, **changes: Any) -> Path:
    spec = spec or AdapterSpec(rank=2, alpha=6.0)
    peft_format.save(folder, spec, tensors_at(Q_PROJ.format(0), rank=spec.rank), "owner/base")
    path = folder / peft_format.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def saved_by_peft(model_folder: Path, folder: Path, **settings: Any) -> dict[str, np.ndarray]:
    """PEFT's own adapter with B not 0; returns its tensors as PEFT counts them."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model_folder, dtype="float32")
    config = LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **settings)
    model = get_peft_model(base, config)
    model.save_pretrained(folder)
    return {name: t.float().numpy() for name, t in get_peft_model_state_dict(model).items()}


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj"], "layers_to_transform": [0], "layers_pattern": "layers"},
        {"target_modules": r".*\.1\.mlp\.(up|down)_proj"},
    ],
    ids=["all-linear", "one layer, not the last", "a pattern"],
)
def test_peft_s_tensors_are_read_as_they_are(
    tiny_model: Path, tmp_path: Path, settings: dict
) -> None:
    expected = saved_by_peft(tiny_model, tmp_path, r=3, lora_alpha=7, lora_dropout=0.1, **settings)
    spec, tensors = peft_format.load(tmp_path)
    assert (spec.rank, spec.alpha, spec.dropout) == (3, 7.0, 0.1)
    assert tensors.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(tensors[name], expected[name])
    engine = create("torch")
    engine.open(tiny_model, "float32")
    assert engine.adapter(engine.attach(spec, tensors)).keys() == expected.keys()


def test_peft_reads_from_our_configuration_what_it_would_write(
    tiny_model: Path, tmp_path: Path
) -> None:
    from peft import LoraConfig

    config = LoraConfig.from_pretrained(
        saved(tmp_path / "a", AdapterSpec(rank=2, alpha=6.0, dropout=0.2, layers=1))
    )
    assert (config.r, config.lora_alpha, config.lora_dropout) == (2, 6.0, 0.2)
    assert (config.target_modules, config.layers_to_transform) == ({"q_proj"}, [0])
    assert (config.layers_pattern, config.base_model_name_or_path) == ("layers", "owner/base")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (AdapterSpec(2, rslora=True), {"use_rslora": True, "use_dora": False}),
        (AdapterSpec(2, rank_pattern={"q_proj": 2}), {"rank_pattern": {"q_proj": 2}}),
        (AdapterSpec(2, alpha_pattern={"q_proj": 5.0}), {"alpha_pattern": {"q_proj": 5.0}}),
        (AdapterSpec(2, targets=r".*\.q_proj"), {"target_modules": r".*\.q_proj"}),
        (AdapterSpec(2, targets=("q_proj",)), {"target_modules": {"q_proj"}}),
        (AdapterSpec(2, targets=r".*\.q_proj", layers=1), {"target_modules": {Q_PROJ.format(0)}}),
    ],
)
def test_what_goes_beyond_lora_stands_where_peft_looks_for_it(
    tmp_path: Path, spec: AdapterSpec, expected: dict[str, Any]
) -> None:
    from peft import LoraConfig

    config = LoraConfig.from_pretrained(saved(tmp_path / "a", spec))
    assert {key: getattr(config, key) for key in expected} == expected


@pytest.mark.parametrize("dora", [False, True])
def test_an_adapter_of_gpt2_means_the_same_to_peft(tmp_path: Path, dora: bool) -> None:
    """GPT-2 keeps its linear weights transposed, has biases, and calls its blocks h."""
    import torch
    from peft import PeftModel
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=50, n_positions=32, n_embd=16, n_layer=2, n_head=2)
    network = GPT2LMHeadModel(config)
    torch.nn.init.normal_(network.transformer.h[0].attn.c_attn.bias)
    network.save_pretrained(tmp_path / "base")
    expected = saved_by_peft(
        tmp_path / "base",
        tmp_path / "peft",
        r=2,
        target_modules=["c_attn"],
        fan_in_fan_out=True,
        use_dora=dora,
    )
    spec, tensors = peft_format.load(tmp_path / "peft")
    assert tensors.keys() == expected.keys()
    ours = AdapterSpec(rank=2, alpha=spec.alpha, targets=("c_attn",), layers=2, dora=dora)
    peft_format.save(tmp_path / "ours", ours, tensors, "gpt2")
    logits = []
    for folder in ("peft", "ours"):
        base = GPT2LMHeadModel.from_pretrained(tmp_path / "base")
        model = PeftModel.from_pretrained(base, tmp_path / folder).eval()
        with torch.no_grad():
            logits.append(model(input_ids=torch.tensor([[3, 1, 4, 1, 5]])).logits.numpy())
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-6)
    engine = create("torch")
    engine.open(tmp_path / "base", "float32")
    weight = np.array([0, 1, 1, 1, 1], np.float32)
    batch = [Example(np.array([3, 1, 4, 1, 5], np.int32), weight, "")]
    scores = engine.score(pack(batch, engine.attach(spec, tensors)))
    log = torch.from_numpy(logits[0][0]).log_softmax(-1).numpy()
    np.testing.assert_allclose(scores[1:], log[range(4), [1, 4, 1, 5]], atol=1e-5)


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    folder = saved(tmp_path / "adapter")
    halves = {n: torch.from_numpy(t).bfloat16() for n, t in tensors_at(Q_PROJ.format(0)).items()}
    save_file(halves, folder / peft_format.WEIGHTS)
    _, tensors = peft_format.load(folder)
    for name, half in halves.items():
        np.testing.assert_array_equal(tensors[name], half.float().numpy())


def test_rank_stabilised_scaling_is_kept(tmp_path: Path) -> None:
    spec, _ = peft_format.load(saved(tmp_path / "a", AdapterSpec(rank=4, alpha=6.0)))
    stabilised, _ = peft_format.load(
        saved(tmp_path / "b", AdapterSpec(rank=4, alpha=6.0), use_rslora=True)
    )
    (path,) = spec.targets
    assert spec.scale_of(path) == 6.0 / 4
    assert stabilised.scale_of(path) == 6.0 / 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank_pattern": {"q_proj": 8}}, "rank 8, as"),
        ({"rank_pattern": {"(": 8}}, "rank_pattern is"),
        ({"alpha_pattern": {"q_proj": "much"}}, "alpha_pattern is"),
        ({"alpha_pattern": ["q_proj"]}, "alpha_pattern is"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
        ({"init_lora_weights": "pissa_niter_4"}, "changed the base weights"),
        ({"r": 0}, "r is 0"),
        ({"lora_alpha": None}, "lora_alpha is None"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(AdapterError, match=message):
        peft_format.load(saved(tmp_path / "adapter", **changes))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    weights = saved(tmp_path / "adapter") / peft_format.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(AdapterError, match="is broken"):
        peft_format.load(weights.parent)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    tensors = tensors_at(Q_PROJ.format(0))
    next(iter(tensors.values()))[0, 0] = np.nan
    peft_format.save(tmp_path / "adapter", AdapterSpec(rank=2), tensors, "owner/base")
    with pytest.raises(AdapterError, match="not finite"):
        peft_format.load(tmp_path / "adapter")


def test_saving_again_replaces_the_whole_folder(tmp_path: Path) -> None:
    folder = saved(tmp_path / "adapter")
    (folder / "left-over").write_text("")
    saved(folder, AdapterSpec(rank=3))
    assert peft_format.load(folder)[0].rank == 3
    assert sorted(path.name for path in folder.iterdir()) == [
        peft_format.CONFIG,
        peft_format.WEIGHTS,
    ]
    assert list(tmp_path.iterdir()) == [folder]
