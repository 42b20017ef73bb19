"""The written-out decoder gives what Transformers and autograd give, and is chosen only then."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import transformers

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import Example, TokenBatch, pack
from lorecraft.engines import create
from lorecraft.engines.base import BASE
from lorecraft.engines.torch import attention, forward, kept, segments
from lorecraft.engines.torch import engine as torch_engine
from lorecraft.engines.torch.decoder import Decoder
from lorecraft.engines.torch.forward import Packed
from lorecraft.engines.torch.passes import shared, whole

SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.4,
}
FAMILIES = {
    "llama": (transformers.LlamaConfig, {}),
    "llama3_rope": (
        transformers.LlamaConfig,
        {
            "max_position_embeddings": 64,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        },
    ),
    "qwen2_biases": (transformers.Qwen2Config, {}),
    "qwen3_head_norms": (transformers.Qwen3Config, {}),
    "mistral_window": (transformers.MistralConfig, {"sliding_window": 5}),
    "seed_oss": (transformers.SeedOssConfig, {}),
    "llama_tied": (transformers.LlamaConfig, {"tie_word_embeddings": True}),
    "llama_mlp_biases": (transformers.LlamaConfig, {"mlp_bias": True, "attention_bias": True}),
}
SPECS = {
    "all": AdapterSpec(rank=4, alpha=8),
    "some_targets": AdapterSpec(rank=3, alpha=3, targets=("q_proj", "v_proj", "down_proj")),
    "last_layers": AdapterSpec(rank=2, alpha=2, layers=2),
    "dora": AdapterSpec(rank=3, alpha=3, dora=True, targets=r".*\.(q|v|up|down)_proj"),
    "ranks": AdapterSpec(rank=2, alpha=2, rslora=True, rank_pattern={"k_proj": 5, r"1\..*": 3}),
}


@pytest.fixture(scope="module", params=list(FAMILIES))
def folder(request, tmp_path_factory):
    make, settings = FAMILIES[request.param]
    where = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    config = make(**SIZES | settings)
    network = transformers.AutoModelForCausalLM.from_config(config)
    for name, parameter in network.named_parameters():
        if name.endswith(("bias", "norm.weight", "layernorm.weight")):
            torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.3)
    network.save_pretrained(where)
    return where


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models as small as these are slower with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def engine(folder):
    return opened(folder)


def opened(folder, dtype="float32"):
    engine = create("torch")
    engine.device = "cpu"
    engine.open(folder, dtype)
    assert type(engine._forward) is Decoder
    return engine


def by_autograd(engine):
    decoder = engine._forward
    return Packed(decoder._network, decoder._adapters, decoder.device)


def examples(lengths, seed=0):
    random = np.random.default_rng(seed)
    return [
        Example(
            random.integers(0, 40, n).astype(np.int32),
            np.array([0, *random.choice([0, 0.5, 1], n - 2), 1], np.float32),
            "",
        )
        for n in lengths
    ]


def started(engine, spec, seed=1):
    """A slot whose B is not 0."""
    slot = engine.attach(spec, trainable=True)
    random = np.random.default_rng(seed)
    weights = {
        name: random.normal(0, 0.2, array.shape) + (array if array.ndim == 1 else 0)
        for name, array in engine.adapter(slot).items()
    }
    engine.load_adapter(slot, weights)
    return slot


def trees(slot):
    """A prompt with three answers, one of which has two answers of its own, and a row alone."""
    batch = pack(examples((19, 5, 7, 5, 3, 4, 9)), slot)
    weight = np.where(np.arange(len(batch.tokens)) < 19, 0, 1).astype(np.float32)
    weight[batch.starts[6]] = 0
    parent = np.array([-1, 0, 0, 0, 2, 2, -1], np.int32)
    return dataclasses.replace(batch, weight=weight, parent=parent)


def learned(engine, batch):
    """The loss, and the gradient, which is then cleared."""
    loss = engine.accumulate(batch)
    gradient = engine._optimiser.gradient.numpy().copy()
    engine._optimiser.clear()
    return loss.total, gradient


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_loss_and_gradients_are_those_of_autograd(engine, spec, monkeypatch):
    batch = pack(examples((2, 9, 14, 3, 17)), started(engine, spec))
    loss, gradient = learned(engine, batch)
    monkeypatch.setattr(engine, "_forward", by_autograd(engine))
    expected_loss, expected = learned(engine, batch)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert np.abs(gradient - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.abs(expected).min() < np.abs(expected).max()  # there is something to compare


@pytest.mark.parametrize("by", [lambda engine: engine._forward, by_autograd])
def test_a_shared_prompt_learns_like_one_repeated(engine, by, monkeypatch):
    monkeypatch.setattr(engine, "_forward", by(engine))
    slot = started(engine, SPECS["all"])
    batch = trees(slot)
    scores = engine.score(batch)
    loss, gradient = learned(engine, batch)
    monkeypatch.setattr(torch_engine, "shared", whole)
    expected_loss, expected = learned(engine, batch)
    assert np.abs(engine.score(batch) - scores).max() < 1e-4
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert np.abs(gradient - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_shared_prompt_is_computed_once(engine):
    rows = [row.inputs for tree in shared(trees(0)) for row in tree]
    computed = sum(len(row.tokens) for row in rows)
    repeated = sum(len(tree[0].inputs.tokens) for tree in whole(trees(0)))
    assert computed == len(trees(0).tokens) - len([1, 1, 1, 1, 1])  # each leaf's last token
    assert repeated > 2 * computed


@pytest.mark.parametrize("by", [lambda engine: engine._forward, by_autograd])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_what_is_computed_again_is_the_same(engine, by, dropout, monkeypatch):
    monkeypatch.setattr(engine, "_forward", by(engine))
    slot = started(engine, dataclasses.replace(SPECS["all"], dropout=dropout))
    before = engine._adapters.random.get_state()
    loss, gradient = learned(engine, trees(slot))
    after = engine._adapters.random.get_state()
    engine._adapters.random.set_state(before)
    monkeypatch.setattr(engine._forward, "recomputes", True)
    again = learned(engine, trees(slot))
    assert again[0] == loss
    assert np.array_equal(again[1], gradient)
    assert torch.equal(engine._adapters.random.get_state(), after)


def test_computing_again_takes_less_memory(engine, monkeypatch):
    batch = pack(examples((30,) * 60), started(engine, SPECS["all"]))
    taken = []
    for by in (engine._forward, by_autograd(engine)):
        for recomputes in (False, True):
            monkeypatch.setattr(engine, "_forward", by)
            monkeypatch.setattr(by, "recomputes", recomputes)
            with engine.watched() as watch:
                engine.accumulate(batch)
            taken.append(watch.bytes)
    assert taken[1] < 0.8 * taken[0]
    assert taken[3] < 0.8 * taken[2]


def test_what_enters_the_lowest_adapted_block_is_computed_once(engine, monkeypatch):
    slot = started(engine, SPECS["last_layers"])
    batch = pack(examples((9, 14, 3)), slot)
    expected, scores = learned(engine, batch), engine.score(batch)
    assert engine.can_keep(slot, len(batch.tokens))
    engine.keep(batch)
    passed = []
    lowest = engine._forward._blocks[0]
    monkeypatch.setattr(lowest, "forward", lambda *_, **__: passed.append(1))
    loss, gradient = learned(engine, batch)
    assert loss == expected[0]
    assert np.array_equal(gradient, expected[1])
    assert np.array_equal(engine.score(batch), scores)
    monkeypatch.undo()
    other = pack(examples((9, 14, 3), seed=1), slot)
    assert np.abs(engine.score(other)).sum() > 0  # what is not kept is computed


def test_what_is_kept_of_a_row_is_not_taken_for_its_end_alone(engine):
    slot = started(engine, SPECS["last_layers"])
    whole = pack(examples((12,)), slot)
    expected = learned(engine, whole)
    prompt, answer = whole.tokens[:8], whole.tokens[8:]
    family = TokenBatch(
        tokens=np.concatenate([prompt, answer, answer[:2]]),
        starts=np.int32([0, 8, 12, 14]),
        parent=np.int32([-1, 0, 0]),
        adapter=np.full(3, slot, np.int32),
        weight=np.float32([0] * 8 + [1] * 6),
    )
    engine.keep(family)
    assert learned(engine, whole)[0] == pytest.approx(expected[0], rel=1e-6)


def test_nothing_is_kept_where_all_blocks_are_adapted_or_room_is_short(engine, monkeypatch):
    assert not engine.can_keep(started(engine, SPECS["all"]), 10)
    slot = started(engine, SPECS["last_layers"])
    assert not engine.can_keep(slot, 10**15)


def test_a_full_disk_ends_the_keeping_alone(engine, monkeypatch):
    slot = started(engine, SPECS["last_layers"])
    batch = pack(examples((9, 14, 3)), slot)
    expected = learned(engine, batch)

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept.os, "pwrite", fails)
    engine.keep(batch)
    assert np.array_equal(learned(engine, batch)[1], expected[1])


def test_rows_too_long_for_plain_products_learn_the_same(engine, monkeypatch):
    batch = pack(examples((4, 13, 12)), started(engine, SPECS["all"]))
    _, expected = learned(engine, batch)
    monkeypatch.setattr(attention, "SHORT", 8)
    _, gradient = learned(engine, batch)
    assert np.abs(gradient - expected).max() < 1e-4 * np.abs(expected).max()


def test_buckets_of_many_sizes_learn_the_same(engine, monkeypatch):
    batch = pack(examples((2, 3, 9, 9, 20)), started(engine, SPECS["all"]))
    _, expected = learned(engine, batch)
    monkeypatch.setattr(segments, "SMALL", 0)
    _, gradient = learned(engine, batch)
    assert np.abs(gradient - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("by", [lambda engine: engine._forward, by_autograd])
def test_a_row_that_weighs_nothing_rounds_sizes_and_changes_nothing(engine, by, monkeypatch):
    monkeypatch.setattr(engine, "_forward", by(engine))
    batch = pack(examples((3, 9, 12)), started(engine, SPECS["all"]))
    loss, gradient = learned(engine, batch)
    monkeypatch.setattr(forward, "TOKENS", 1)
    monkeypatch.setattr(forward, "WANTED", 1)
    expected_loss, expected = learned(engine, batch)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert np.abs(gradient - expected).max() < 1e-5 * np.abs(expected).max()


def test_packed_sizes_are_multiples():
    rows = [forward.Row(np.ones(n, np.int32), np.arange(n - 1), 0) for n in (2, 5, 40)]
    given = forward.rounded(rows)
    assert sum(len(row.tokens) for row in given) % forward.TOKENS == 0
    assert sum(len(row.wanted) for row in given) % forward.WANTED == 0
    assert list(given[:3]) == rows
    assert forward.rounded(given) is given


def test_scores_are_those_of_transformers_under_each_adapter(engine, monkeypatch):
    slots = [BASE, *(started(engine, SPECS[s], seed) for seed, s in enumerate(SPECS))]
    batches = [pack(examples((5, 2, 11), seed=slot + 2), slot) for slot in slots]
    scores = [engine.score(batch) for batch in batches]
    monkeypatch.setattr(engine, "_forward", by_autograd(engine))
    for seen, batch in zip(scores, batches, strict=True):
        assert np.abs(seen - engine.score(batch)).max() < 1e-4


def test_bfloat16_learns_as_near_to_float32_as_autograd_does(engine, folder, monkeypatch):
    def gradient(engine):
        batch = pack(examples((8, 15, 30, 30)), started(engine, SPECS["all"]))
        return learned(engine, batch)[1]

    exact, rounded = gradient(engine), opened(folder, "bfloat16")
    ours = np.linalg.norm(gradient(rounded) - exact)
    monkeypatch.setattr(rounded, "_forward", by_autograd(rounded))
    theirs = np.linalg.norm(gradient(rounded) - exact)
    assert ours < 1.3 * theirs + 0.01 * np.linalg.norm(exact)


def test_dropout_goes_through_autograd_with_a_mask_for_every_linear(engine):
    batch = pack(examples((6, 9)), started(engine, AdapterSpec(rank=2, dropout=0.5)))
    first, second = learned(engine, batch), learned(engine, batch)
    assert first[0] != second[0]
    assert np.isfinite(first[1]).all()


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        (transformers.GraniteConfig, {"residual_multiplier": 0.5}),
        (transformers.SmolLM3Config, {"no_rope_layers": [1, 0, 1], "pad_token_id": 0}),
        (transformers.LlamaConfig, {"hidden_act": "gelu"}),
        (transformers.Gemma2Config, {}),
        (transformers.Phi3Config, {"pad_token_id": 0}),
        (transformers.Ministral3Config, {}),
        (transformers.HeliumConfig, {"pad_token_id": 0}),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_that_computes_otherwise_is_left_to_transformers(family, settings, dtype, tmp_path):
    torch.manual_seed(0)
    config = family(**SIZES | settings | {"initializer_range": 0.05})
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    engine = create("torch")
    engine.device = "cpu"
    engine.open(tmp_path, dtype)
    assert not isinstance(engine._forward, Decoder)


def test_a_rotary_embedding_that_follows_the_longest_row_is_not_packed(tmp_path):
    torch.manual_seed(0)
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [3.0] * 4,
        "original_max_position_embeddings": 16,
        "factor": 4.0,
    }
    config = transformers.LlamaConfig(
        **SIZES | {"max_position_embeddings": 64, "rope_parameters": rope}
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    engine = create("torch")
    engine.device = "cpu"
    engine.open(tmp_path, "float32")
    short, long = examples((9,)), examples((30,))
    together = engine.score(pack([*short, *long], BASE))
    assert np.abs(together[:9] - engine.score(pack(short, BASE))).max() < 1e-5


def test_the_idle_row_does_not_bring_in_a_token_that_nobody_uses(folder):
    engine = opened(folder)
    embedding = engine._forward._network.get_input_embeddings().weight
    slot = started(engine, SPECS["all"])
    batch = pack([Example(e.tokens % 39 + 1, e.weight, "") for e in examples((3, 9))], slot)
    if embedding is not engine._forward._network.lm_head.weight:  # tied, it would be a logit
        embedding.data[0] = torch.inf
    loss, gradient = learned(engine, batch)
    assert np.isfinite(loss) and np.isfinite(gradient).all()
