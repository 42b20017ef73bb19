"""Losses on pairs: beside TRL's trainer, and the same however a pass is cut and computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import TokenBatch
from lorecraft.engines import create
from lorecraft.engines.torch import engine as torch_engine
from lorecraft.engines.torch import passes
from lorecraft.engines.torch.forward import OneByOne, Packed
from lorecraft.engines.torch.passes import whole
from lorecraft.recipe import PreferenceSection
from lorecraft.training.preference import Preference, answers

from .conftest import VOCABULARY

TARGETS = ("q_proj", "v_proj", "down_proj")
SPEC = AdapterSpec(rank=3, alpha=6, targets=TARGETS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Llama; small enough for many, with a tokenizer of a word for each token."""
    tokenizers = pytest.importorskip("tokenizers")
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from .conftest import LLAMA, save_model

    where = save_model(tmp_path_factory.mktemp("trl"), LlamaForCausalLM, LlamaConfig(**LLAMA))
    words = {f"w{index}": index for index in range(VOCABULARY)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="w1", pad_token="w2")
    fast.save_pretrained(where)
    return where


def texts(count: int = 4) -> list[dict[str, str]]:
    random = np.random.default_rng(5)

    def said(words: int) -> str:
        return "".join(f" w{index}" for index in random.integers(3, VOCABULARY, words))

    return [
        {"prompt": said(4 + n).strip(), "chosen": said(2 + n), "rejected": said(6 - n)}
        for n in range(count)
    ]


def batch_of(rows, slot: int) -> TokenBatch:
    """Rows of token ids, as TRL has them: ``prompt_ids``, ``chosen_ids``, ``rejected_ids``."""
    parts = [row[f"{name}_ids"] for row in rows for name in ("prompt", "chosen", "rejected")]
    lengths = [len(part) for part in parts]
    parent = [p for index in range(len(rows)) for p in (-1, 3 * index, 3 * index)]
    return TokenBatch(
        tokens=np.concatenate(parts).astype(np.int32),
        starts=np.cumsum([0, *lengths]).astype(np.int32),
        parent=np.array(parent, np.int32),
        adapter=np.full(len(parts), slot, np.int32),
        weight=np.repeat(np.float32([0, 1, 1] * len(rows)), lengths),
    )


def some_rows(count: int = 4) -> list[dict[str, list[int]]]:
    return [
        {f"{key}_ids": [int(word[1:]) for word in text.split()] for key, text in row.items()}
        for row in texts(count)
    ]


def opened(folder):
    """An engine, and a slot whose B is not 0."""
    engine = create("torch")
    engine.device = "cpu"
    engine.open(folder, "float32")
    slot = engine.attach(SPEC, trainable=True)
    random = np.random.default_rng(1)
    engine.load_adapter(
        slot, {n: random.normal(0, 0.2, a.shape) for n, a in engine.adapter(slot).items()}
    )
    return engine, slot


def learned(engine, batch, settings=None, reference=None):
    pairs = int((batch.parent >= 0).sum()) // 2
    reference = np.full((pairs, 2), -12.0) if reference is None else reference
    objective = Preference(settings or PreferenceSection(sft=0.3), batch, reference)
    loss = engine.accumulate(batch, objective)
    gradient = engine._optimiser.gradient.numpy().copy()
    engine._optimiser.clear()
    return loss, gradient


def packed(engine):
    decoder = engine._forward
    return Packed(decoder._network, decoder._adapters, decoder.device)


def headless(engine):
    """Packed, the head apart."""
    forward = packed(engine)
    forward._head_weight = engine._forward._head_weight
    return forward


def one_by_one(engine):
    decoder = engine._forward
    decoder._network.set_attn_implementation("eager")
    return OneByOne(decoder._network, decoder._adapters, decoder.device)


@pytest.mark.parametrize("by", [packed, headless, one_by_one])
def test_pairs_learn_the_same_by_autograd(folder, by, monkeypatch):
    engine, slot = opened(folder)
    batch = batch_of(some_rows(), slot)
    expected_loss, expected = learned(engine, batch)
    monkeypatch.setattr(engine, "_forward", by(engine))
    loss, gradient = learned(engine, batch)
    assert loss.total == pytest.approx(expected_loss.total, rel=1e-5)
    assert np.abs(gradient - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("trees", [None, whole])
def test_a_pair_stays_in_one_pass(folder, trees, monkeypatch):
    engine, slot = opened(folder)
    batch = batch_of(some_rows(), slot)
    expected_loss, expected = learned(engine, batch)
    monkeypatch.setattr(passes, "TOKENS", 1)
    if trees:
        monkeypatch.setattr(torch_engine, "shared", trees)
    loss, gradient = learned(engine, batch)
    assert loss.total == pytest.approx(expected_loss.total, rel=1e-5)
    np.testing.assert_allclose(loss.sums, expected_loss.sums, rtol=1e-5)
    assert np.abs(gradient - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_prompt_is_computed_once_for_both_answers(folder):
    engine, slot = opened(folder)
    batch = batch_of(some_rows(), slot)
    rows = [row.inputs for tree in engine._trees(batch) for row in tree]
    last_of_each_answer = 2 * 4
    assert sum(len(row.tokens) for row in rows) == len(batch.tokens) - last_of_each_answer


def test_what_enters_the_lowest_adapted_block_is_kept_for_pairs_too(folder):
    engine = create("torch")
    engine.device = "cpu"
    engine.open(folder, "float32")
    slot = engine.attach(AdapterSpec(rank=2, layers=1), trainable=True)
    batch = batch_of(some_rows(), slot)
    expected_loss, expected = learned(engine, batch)
    engine.keep(batch)
    loss, gradient = learned(engine, batch)
    assert loss.total == pytest.approx(expected_loss.total, rel=1e-6)
    assert np.abs(gradient - expected).max() < 1e-5 * np.abs(expected).max()


def trainer(folder, where, **settings):
    """TRL's, over the same adapter, with the adapter as it is for its reference."""
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl")
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    config = peft.LoraConfig(
        r=SPEC.rank, lora_alpha=SPEC.alpha, target_modules=list(TARGETS), task_type="CAUSAL_LM"
    )
    network = peft.get_peft_model(network, config)
    arguments = trl.DPOConfig(
        output_dir=str(where), per_device_train_batch_size=4, report_to=[], use_cpu=True,
        bf16=False, gradient_checkpointing=False, disable_tqdm=True, **settings,
    )  # fmt: skip
    return trl.DPOTrainer(
        network,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(texts()),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )


def set_adapter(network, tensors, name="default") -> dict[str, torch.nn.Parameter]:
    named = dict(network.named_parameters())
    found = {key: named[key.replace(".weight", f".{name}.weight")] for key in tensors}
    for key, parameter in found.items():
        parameter.data.copy_(torch.from_numpy(tensors[key]))
    return found


LOSSES = {
    "sigmoid": ({"loss_type": ["sigmoid"], "beta": 0.3}, {"beta": 0.3}),
    "ipo": ({"loss_type": ["ipo"], "beta": 0.5}, {"loss": "ipo", "beta": 0.5}),
    "hinge": ({"loss_type": ["hinge"], "beta": 0.4}, {"loss": "hinge", "beta": 0.4}),
    "average": ({"loss_type": ["sigmoid_norm"], "beta": 2.0}, {"average": True, "beta": 2.0}),
    # Of one pair, "aot" is DPO with smoothed labels; the mean of all tokens is that of its own.
    "smoothing": (
        {"loss_type": ["aot"], "beta": 0.3, "label_smoothing": 0.2},
        {"beta": 0.3, "label_smoothing": 0.2},
    ),
    "sft": (
        {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.7], "beta": 0.3},
        {"sft": 0.7, "beta": 0.3},
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_gradients_and_figures_are_those_of_trl(folder, tmp_path, name):
    theirs, ours = LOSSES[name]
    peer = trainer(folder, tmp_path, **theirs)
    engine, slot = opened(folder)
    began = engine.adapter(slot)
    random = np.random.default_rng(9)
    moved = {n: a + random.normal(0, 0.05, a.shape).astype(np.float32) for n, a in began.items()}
    rows = list(peer.train_dataset)
    alone = name in ("smoothing", "sft")
    for some in [[row] for row in rows] if alone else [rows]:
        batch = batch_of(some, slot)
        inputs = peer.data_collator(some)
        engine.load_adapter(slot, began)
        reference = answers(batch, engine.score(batch))
        engine.load_adapter(slot, moved)
        set_adapter(peer.model, began, "ref")
        parameters = set_adapter(peer.model, moved)
        peer.model.zero_grad()
        expected = peer.compute_loss(peer.model, inputs)
        expected.backward()
        objective = Preference(PreferenceSection(**ours), batch, reference)
        loss = engine.accumulate(batch, objective)
        assert loss.total / loss.weight == pytest.approx(float(expected.detach()), rel=1e-4)
        attached = engine._adapters.attached[slot]
        gradients = attached.split(engine._optimiser.gradient / loss.weight)
        engine._optimiser.clear()
        for key, parameter in parameters.items():
            seen, wanted = gradients[key].numpy(), parameter.grad.numpy()
            assert np.abs(seen - wanted).max() < 1e-4 * np.abs(wanted).max() + 1e-7, key
        figures = objective.figures(loss.sums)
        for key, theirs_is in (
            ("margin", "rewards/margins"),
            ("accuracy", "rewards/accuracies"),
            ("chosen", "logps/chosen"),
            ("rejected", "logps/rejected"),
        ):
            told = peer._metrics["train"][theirs_is][-1]
            assert figures[key].mean() == pytest.approx(told, rel=1e-3, abs=1e-5), key
