"""A quantised base is the model of its rounded weights: it scores, learns and answers like that
model, and holds what the outline says."""

from __future__ import annotations

import importlib.util
import json
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import Example, pack
from lorecraft.engines import create
from lorecraft.engines.base import BASE, Request
from lorecraft.engines.torch import quantized
from lorecraft.engines.torch.decoder import Decoder
from lorecraft.engines.torch.forward import OneByOne, Packed
from lorecraft.engines.torch.int8 import rounded
from lorecraft.errors import EngineError, ModelError

SIZES = {
    "vocab_size": 40,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "initializer_range": 0.2,
}
MODELS = {
    "llama": transformers.LlamaConfig(**SIZES),
    "qwen2": transformers.Qwen2Config(**SIZES),
    "qwen3": transformers.Qwen3Config(**SIZES, tie_word_embeddings=True),
    "bloom": transformers.BloomConfig(vocab_size=40, hidden_size=64, n_layer=2, n_head=4),
}
QUANTIZATIONS = [
    "int8",
    pytest.param(
        "nf4",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not here"
        ),
    ),
]
SPEC = AdapterSpec(rank=4, alpha=8.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    for name, config in MODELS.items():
        torch.manual_seed(0)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(root / name)
    return {name: root / name for name in MODELS}


@pytest.fixture(params=QUANTIZATIONS)
def quantization(request) -> str:
    return request.param


def opened(folder, quantization="none", dtype="float32"):
    engine = create("torch")
    engine.open(folder, dtype, quantization)
    return engine


def some(count=6, seed=0):
    random = np.random.default_rng(seed)
    return [
        Example(random.integers(0, 40, n).astype(np.int32), np.float32([0, *[1] * (n - 1)]), str(n))
        for n in random.integers(3, 20, count)
    ]


def dequantised(folder, quantization, target):
    """The folder of a model that holds the rounded weights in float32."""
    own = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    own.requires_grad_(False)
    how = quantized.Quantization(quantization, "cpu")
    for _, linear in quantized.convertible(own):
        small = how.tensors(linear, linear.weight.data)
        if quantization == "int8":
            linear.weight.data = small["weight"].float() * small["scale"][:, None]
        else:
            from bitsandbytes.functional import dequantize_4bit

            linear.weight.data = dequantize_4bit(small["weight"].data, small["weight"].quant_state)
    own.save_pretrained(target)
    return target


def attached(engine):
    """A trainable slot whose B is not 0."""
    slot = engine.attach(SPEC, trainable=True)
    random = np.random.default_rng(1)
    tensors = engine.adapter(slot)
    engine.load_adapter(
        slot, {n: random.normal(0, 0.1, t.shape).astype(np.float32) for n, t in tensors.items()}
    )
    return slot


@pytest.mark.parametrize("forward", [Decoder, Packed])
@pytest.mark.parametrize("model", ["llama", "qwen2", "qwen3", "bloom"])
def test_it_scores_and_learns_as_the_model_of_its_rounded_weights(
    folders, model, forward, quantization, tmp_path, monkeypatch
):
    if forward is Packed:
        monkeypatch.setattr(Decoder, "fits", lambda _: False)
    engine = opened(folders[model], quantization)
    assert type(engine._forward) is (OneByOne if model == "bloom" else forward)
    plain = opened(dequantised(folders[model], quantization, tmp_path))
    slot, same = attached(engine), attached(plain)
    examples = some()
    for batch, other in ((BASE, BASE), (slot, same)):
        difference = engine.score(pack(examples, batch)) - plain.score(pack(examples, other))
        assert np.abs(difference).max() < 5e-4
    list(engine.generate([Request([3, 4], slot, 3), Request([5], BASE, 3)]))
    # bitsandbytes by itself would have repacked nf4 weights by now, and cut the gradients off.
    loss = engine.accumulate(pack(examples, slot)).total
    assert loss == pytest.approx(plain.accumulate(pack(examples, same)).total, rel=1e-5)
    gradient, exact = engine._optimiser.gradient, plain._optimiser.gradient
    assert float((gradient - exact).norm() / exact.norm()) < 1e-4


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_near_it(folders, quantization, dtype):
    batch = pack(some(), BASE)
    exact = opened(folders["qwen2"], quantization).score(batch)
    off = opened(folders["qwen2"], quantization, dtype).score(batch) - exact
    assert np.abs(off).mean() < 0.15  # weights in half precision are rounded to other numbers


def test_each_example_is_by_itself(folders, quantization):
    """bitsandbytes' own int8 is not like that: outliers of one row change how others are taken."""
    engine = opened(folders["llama"], quantization)
    examples = some()
    together = engine.score(pack(examples, BASE))
    alone = np.concatenate([engine.score(pack([example], BASE)) for example in examples])
    assert np.abs(together - alone).max() < 1e-4


def test_it_learns_and_resumes_with_the_same_bits(folders, quantization):
    def train(engine, slot, steps):
        losses = []
        for _ in range(steps):
            losses.append(engine.accumulate(pack(some(), slot)).total)
            engine.update(1e-2)
        return losses

    engine = opened(folders["qwen3"], quantization, "bfloat16")
    slot = engine.attach(SPEC, trainable=True)
    losses = train(engine, slot, 12)
    assert losses[-1] < 0.7 * losses[0]
    state = engine.state()
    expected = train(engine, slot, 3)
    again = opened(folders["qwen3"], quantization, "bfloat16")
    slot = again.attach(SPEC, trainable=True)
    again.restore(state)
    assert train(again, slot, 3) == expected
    for name, tensor in engine.adapter(slot).items():
        assert np.array_equal(tensor, again.adapter(slot)[name])


def test_it_answers_with_the_likeliest_token(folders, quantization):
    engine = opened(folders["llama"], quantization)
    network = engine._forward._network
    prompts = [[3, 4, 5], [7], [9, 8, 7, 6]]
    answers = [[] for _ in prompts]
    for index, token in engine.generate([Request(p, BASE, 5) for p in prompts]):
        answers[index].append(token)
    network.set_attn_implementation("eager")
    for prompt, answer in zip(prompts, answers, strict=True):
        text = list(prompt)
        for token in answer:
            with torch.no_grad():
                logits = network(torch.tensor([text]), use_cache=False).logits[0, -1]
            assert logits.max() - logits[token] < 1e-4
            text.append(token)


def test_whole_numbers_are_within_half_a_step_of_the_weights():
    weight = torch.randn(5, 33, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    whole, scale = rounded(weight)
    off = (whole.float() * scale[:, None] - weight).abs()
    assert (off <= 0.5001 * scale[:, None]).all()
    assert int(whole.abs().max()) == 127
    assert not whole[2].any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", list(MODELS))
def test_the_outline_is_what_is_held(folders, model, quantization, dtype):
    engine = create("torch")
    outline = engine.outline(folders[model], SPEC, dtype, quantization)
    whole = engine.outline(folders[model], SPEC, dtype)
    engine.open(folders[model], dtype, quantization)
    engine.attach(SPEC)
    assert outline.weights + outline.adapter == pytest.approx(engine.memory().used, rel=0.02)
    assert whole.quantized[quantization] == outline.weights


def test_what_is_rehearsed_is_quantised_too(folders, quantization):
    engine, sketch = opened(folders["qwen2"], quantization), create("torch")
    sketch.sketch(folders["qwen2"], "float32", quantization, 2)
    assert sketch.memory().used == engine.memory().used
    assert type(sketch._forward) is type(engine._forward)
    slot = sketch.attach(SPEC, trainable=True)
    assert np.isfinite(sketch.accumulate(pack(some(), slot)).total)


@pytest.mark.parametrize("forward", [Decoder, Packed])
def test_learning_does_not_keep_the_weights_in_full(forward, quantization, tmp_path, monkeypatch):
    if forward is Packed:
        monkeypatch.setattr(Decoder, "fits", lambda _: False)
    deep = {"num_hidden_layers": 8, "hidden_size": 128, "intermediate_size": 512}
    config = transformers.LlamaConfig(**SIZES | deep)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    engine = opened(tmp_path, quantization)
    slot = engine.attach(AdapterSpec(rank=1), trainable=True)
    whole = sum(4 * linear.inputs * linear.outputs for linear in engine._adapters._frozen.linears)
    with engine.watched() as watch:
        engine.accumulate(pack([Example(np.int32([1, 2]), np.float32([0, 1]), "")], slot))
    assert watch.bytes < 0.7 * whole


def test_an_unknown_quantization_is_refused(folders):
    with pytest.raises(EngineError, match="int3"):
        opened(folders["llama"], "int3")


def test_a_model_without_linears_is_refused(tmp_path):
    config = transformers.GPT2Config(vocab_size=40, n_embd=64, n_layer=2, n_head=4)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    with pytest.raises(EngineError, match="GPT2LMHeadModel has no linear that can be quantised"):
        opened(tmp_path, "int8")


def test_a_missing_library_is_named_with_the_command_that_installs_it(folders, monkeypatch):
    def none(name):
        return None if name == "bitsandbytes" else importlib.machinery.ModuleSpec(name, None)

    monkeypatch.setattr(importlib.util, "find_spec", none)
    for call in (create("torch").open, lambda *a: create("torch").outline(a[0], SPEC, *a[1:])):
        with pytest.raises(EngineError, match=r"needs bitsandbytes.*(\n.*)*lorecraft\[quantiz"):
            call(folders["llama"], "float32", "nf4")


def test_a_device_that_cannot_do_it_is_named():
    pytest.importorskip("bitsandbytes")
    with pytest.raises(EngineError, match="nf4 on abacus"):
        quantized.Quantization("nf4", "abacus")


@pytest.mark.parametrize("quantization", ["none", "int8"])
def test_weights_that_are_quantised_already_are_refused(folders, tmp_path, quantization):
    folder = tmp_path / "small"
    shutil.copytree(folders["llama"], folder)
    config = json.loads((folder / "config.json").read_text())
    how = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": how}))
    engine = create("torch")
    for call in (engine.open, lambda *a: engine.outline(a[0], SPEC, *a[1:])):
        with pytest.raises(ModelError, match=r"quantised already \(gptq\)"):
            call(folder, "float32", quantization)


def test_weights_are_quantised_one_after_another(folders, quantization, monkeypatch):
    given = []
    original = quantized.Quantization.tensors

    def tensors(self, small, weight):
        assert sum(earlier() is not None for earlier in given) <= 1
        given.append(weakref.ref(weight))
        return original(self, small, weight)

    monkeypatch.setattr(quantized.Quantization, "tensors", tensors)
    opened(folders["llama"], quantization)
    assert len(given) == 14
