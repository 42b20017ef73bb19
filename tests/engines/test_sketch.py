"""What is known of a model without its weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import Example, pack
from lorecraft.engines import create
from lorecraft.engines.base import BASE, Engine, Request
from lorecraft.engines.torch.allocation import watched
from lorecraft.errors import ModelError
from lorecraft.models.find import find

SMALL = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Ten blocks; Gemma 2 says of each whether its attention has a window."""
    folder = tmp_path_factory.mktemp("models")
    LlamaForCausalLM(LlamaConfig(**SMALL, num_hidden_layers=10)).save_pretrained(folder / "llama")
    gemma = Gemma2Config(**SMALL, num_hidden_layers=10)
    Gemma2ForCausalLM(gemma).save_pretrained(folder / "gemma2")
    return {"llama": folder / "llama", "gemma2": folder / "gemma2", "pocket": find("pocket")}


def examples(count: int = 8, length: int = 12) -> list[Example]:
    random = np.random.default_rng(0)
    weight = np.ones(length, np.float32)
    weight[0] = 0
    return [Example(random.integers(2, 300, length, np.int32), weight, "") for _ in range(count)]


def sketched(folder: Path, blocks: int, layers: int | str = "all") -> tuple[Engine, int]:
    engine = create("torch")
    engine.sketch(folder, "float32", "none", blocks)
    return engine, engine.attach(AdapterSpec(rank=4, layers=layers), trainable=True)


@pytest.mark.parametrize("name", ["llama", "gemma2", "pocket"])
@pytest.mark.parametrize(
    "spec",
    [
        AdapterSpec(rank=3),
        AdapterSpec(rank=4, targets=("q_proj", "mlp.down_proj"), layers=2),
    ],
)
def test_the_outline_counts_what_is_then_attached(
    models: dict[str, Path], name: str, spec: AdapterSpec
) -> None:
    engine = create("torch")
    outline = engine.outline(models[name], spec)
    engine.open(models[name])
    slot = engine.attach(spec, trainable=True)
    tensors = engine.adapter(slot)
    assert outline.trained == sum(tensor.size for tensor in tensors.values())
    assert outline.adapted == (2 if spec.layers == 2 else outline.blocks)
    assert outline.weights + outline.adapter == pytest.approx(engine.memory().used, rel=0.01)


def test_quantized_weights_are_counted_without_the_library_for_it(models: dict[str, Path]) -> None:
    engine, spec = create("torch"), AdapterSpec()
    whole = engine.outline(models["llama"], spec, "bfloat16")
    small = whole.quantized["nf4"]
    assert small < whole.quantized["int8"] < whole.weights
    embeddings = 2 * 2 * 300 * 32  # input and output, which stay as they are
    assert small - embeddings == pytest.approx(0.28 * (whole.weights - embeddings), rel=0.1)


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_a_sketch_does_all_that_the_model_does(models: dict[str, Path], name: str) -> None:
    engine, slot = sketched(models[name], blocks=3)
    batch = pack(examples(), slot)
    assert np.isfinite(engine.accumulate(batch).total)
    assert engine.update(1e-3).applied
    assert np.isfinite(engine.score(batch)).all()
    requests = [Request([5, 6, 7], adapter, 4) for adapter in (BASE, slot)]
    assert len(list(engine.generate(requests))) == 8
    assert len(engine.adapter(slot)) == 3 * 7 * 2


def test_a_sketch_leaves_torch_s_random_numbers_alone(models: dict[str, Path]) -> None:
    before = torch.random.get_rng_state()
    engine, slot = sketched(models["llama"], blocks=2)
    engine.accumulate(pack(examples(), slot))
    engine.update(0.0)
    list(engine.generate([Request([5, 6, 7], slot, 4)]))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_configuration_that_transformers_does_not_know_is_told_by_the_outline(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "abacus"}')
    with pytest.raises(ModelError, match="cannot be loaded"):
        create("torch").outline(tmp_path, AdapterSpec())


def test_memory_grows_by_the_same_for_each_block(models: dict[str, Path]) -> None:
    def held(blocks: int) -> int:
        engine, slot = sketched(models["llama"], blocks)
        with engine.watched() as watch:
            engine.accumulate(pack(examples(), slot))
        return watch.bytes

    two, six, ten = (held(blocks) for blocks in (2, 6, 10))
    assert ten == pytest.approx(2 * six - two, rel=0.01)


def test_blocks_below_the_adapter_keep_nothing(models: dict[str, Path]) -> None:
    def held(layers: int | str) -> int:
        engine, slot = sketched(models["llama"], 6, layers)
        with engine.watched() as watch:
            engine.accumulate(pack(examples(), slot))
        return watch.bytes

    assert held(2) < 0.6 * held("all")


def test_what_work_allocates_is_counted_while_it_lives() -> None:
    before = torch.zeros(1000)
    with watched("cpu") as watch:
        one = before + 1
        two = one.view(10, 100) * 2
        del one
        three = two.t() + 0
    assert watch.bytes == 2 * 4000
    assert three.shape == (100, 10)


def test_what_autograd_keeps_is_counted() -> None:
    with watched("cpu") as watch:
        x = torch.zeros(1000, requires_grad=True)
        for _ in range(5):
            x = x.exp()
    assert watch.bytes == 6 * 4000


def test_the_fake_engine_s_outline_is_its_adapter_s_size(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"vocab_size": 40}')
    engine, spec = create("fake"), replace(AdapterSpec(), rank=2)
    outline = engine.outline(tmp_path, spec)
    engine.sketch(tmp_path, "auto", "none", 1)
    slot = engine.attach(spec, trainable=True)
    assert outline.trained == sum(tensor.size for tensor in engine.adapter(slot).values())
    with engine.watched() as watch:
        engine.accumulate(pack([replace(e, tokens=e.tokens % 40) for e in examples()], slot))
    assert watch.bytes > 0
