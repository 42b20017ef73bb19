"""What the torch engine alone promises."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from lorecraft.adapters import peft_format
from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import Example, flatten, pack
from lorecraft.engines import create
from lorecraft.engines.base import BASE, Request
from lorecraft.engines.torch import cache, continuation, forward, generation, linears, passes
from lorecraft.engines.torch.continuation import PackedContinuation
from lorecraft.engines.torch.decoder import Decoder
from lorecraft.engines.torch.forward import OneByOne, Packed
from lorecraft.errors import EngineError, ModelError, OutOfMemory
from lorecraft.recipe import Recipe

SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.4,
}


def opened(folder, dtype="float32", **settings):
    engine = create("torch")
    engine.device = "cpu"
    engine.open(folder, dtype, **settings)
    return engine


def some(count, seed=0, longest=30):
    random = np.random.default_rng(seed)
    lengths = random.integers(2, longest, count)
    return [
        Example(
            random.integers(0, 40, n).astype(np.int32),
            np.array([0, *[1] * (n - 1)], np.float32),
            "",
        )
        for n in lengths
    ]


def network_of(folder, **settings):
    settings = {"dtype": torch.float32, "experts_implementation": "eager"} | settings
    return transformers.AutoModelForCausalLM.from_pretrained(folder, **settings).eval()


def expected_scores(network, examples):
    """The model's own attention, one row at a time."""
    scores = []
    for example in examples:
        ids = torch.from_numpy(example.tokens).long()[None]
        with torch.no_grad():
            log = network(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
        following = log[:-1].gather(1, ids[0, 1:, None])[:, 0].numpy()
        scores += [[0.0], following]
    return np.concatenate(scores)


@pytest.fixture(scope="module")
def qwen2_folder(tmp_path_factory):
    """Linears with a bias and linears without."""
    folder = tmp_path_factory.mktemp("qwen2")
    torch.manual_seed(0)
    config = transformers.Qwen2Config(**SIZES)
    network = transformers.Qwen2ForCausalLM(config)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, 0.0, 0.3)
    network.save_pretrained(folder)
    return folder


PATTERNS = {
    "rank_pattern": {"q_proj": 7, r"1\..*": 2},
    "alpha_pattern": {r"(up|down)_proj": 3.0},
}
METHODS = {
    "lora": {},
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "patterns": PATTERNS,
    "all of them": {"rslora": True, "dora": True, **PATTERNS},
}


@pytest.mark.parametrize("written_out", [True, False], ids=["written out", "by autograd"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_peft_gives_the_same_logits_and_gradients(
    family, method, written_out, request, monkeypatch
):
    from peft import LoraConfig, get_peft_model

    if not written_out:
        monkeypatch.setattr(Decoder, "fits", lambda network: False)
    folder = request.getfixturevalue(f"{family}_folder")
    spec = AdapterSpec(rank=4, alpha=6.0, **METHODS[method])
    engine, examples = opened(folder), some(6)
    assert type(engine._forward) is (Decoder if written_out else Packed)
    random = np.random.default_rng(0)
    tensors = {
        name: (
            array * random.uniform(0.7, 1.4, array.shape)
            if array.ndim == 1
            else random.normal(0, 0.1, array.shape)
        ).astype(np.float32)
        for name, array in engine.adapter(engine.attach(spec)).items()
    }
    slot = engine.attach(spec, tensors, trainable=True)
    patterns = {"rank_pattern": spec.rank_pattern, "alpha_pattern": spec.alpha_pattern}
    settings = LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        use_rslora=spec.rslora,
        use_dora=spec.dora,
        **patterns,
    )
    tuned = get_peft_model(network_of(folder), settings)
    parameters = {
        name.replace(".default", "").replace("vector.weight", "vector"): p
        for name, p in tuned.named_parameters()
    }
    assert set(tensors) == {name for name in parameters if "lora" in name}
    for name, array in tensors.items():
        parameters[name].data.copy_(torch.from_numpy(array))
    seen = engine.score(pack(examples, slot))
    assert np.abs(seen - expected_scores(tuned, examples)).max() < 3e-5

    loss = 0.0
    for example in examples:
        ids = torch.from_numpy(example.tokens).long()[None]
        log = tuned(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
        loss = loss - log[:-1].gather(1, ids[0, 1:, None]).sum()
    loss.backward()
    summed = engine.accumulate(pack(examples, slot))
    assert summed.total == pytest.approx(loss.item(), rel=1e-5)
    for name, view in engine._adapters.attached[slot].split(engine._optimiser.gradient).items():
        expected = parameters[name].grad
        assert float((view - expected).norm() / expected.norm()) < 1e-4, name


FAMILIES = {
    "Llama": {},
    "Qwen2": {},
    "Phi3": {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    "Mistral": {"sliding_window": 6},
    "Gemma2": {"sliding_window": 6, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    "Gemma3": {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]},
    "SeedOss": {"residual_dropout": 0.1, "attention_dropout": 0.1},
    "Qwen3": {"tie_word_embeddings": True},
    "Qwen3Moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "Granite": {"logits_scaling": 3.0, "attention_multiplier": 0.5},
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    """A family's name, and a checkpoint of it."""
    folder, text = tmp_path_factory.mktemp(request.param), "Text" * (request.param == "Gemma3")
    make = getattr(transformers, f"{request.param}{text}Config")
    torch.manual_seed(0)
    network = getattr(transformers, f"{request.param}ForCausalLM")
    network(make(**SIZES, **FAMILIES[request.param])).save_pretrained(folder)
    return request.param, folder


def family_of(examples, slot):
    """Some examples continue others, two levels deep."""
    parent = np.array([-1, 0, 0, 2, 2, -1, -1], np.int32)
    return dataclasses.replace(pack(examples, slot), parent=parent)


def exact_scores(network, batch):
    """Every segment after its ancestors, one row at a time, in float64."""
    scores = torch.zeros(len(batch.tokens), dtype=torch.float64)
    for segment, tokens, weight in flatten(batch):
        ids, at = torch.from_numpy(tokens).long()[None], np.flatnonzero(weight)
        log = network(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
        offset = int(batch.starts[segment + 1]) - len(tokens)
        scores = scores.index_put(
            (torch.from_numpy(offset + at),), log[at - 1, tokens[at].astype(np.int64)]
        )
    return scores


def test_a_forest_has_the_scores_and_gradients_of_float64(family):
    """Of PEFT's adapter over Transformers' own eager attention."""
    from peft import LoraConfig, get_peft_model

    name, folder = family
    engine, spec = opened(folder), AdapterSpec(rank=4, alpha=6.0)
    assert isinstance(engine._forward, Packed)
    apart = engine._forward._head_weight is not None or isinstance(engine._forward, Decoder)
    assert apart == (name not in ("Gemma2", "Granite"))  # which do more to their logits
    random = np.random.default_rng(0)
    tensors = {
        key: random.normal(0, 0.2, array.shape).astype(np.float32)
        for key, array in engine.adapter(engine.attach(spec)).items()
    }
    slot = engine.attach(spec, tensors, trainable=True)
    own = network_of(folder, dtype=torch.float64, attn_implementation="eager")
    paths = {key.removeprefix("base_model.model.").rsplit(".", 2)[0] for key in tensors}
    settings = LoraConfig(r=4, lora_alpha=6, target_modules=list(paths), task_type="CAUSAL_LM")
    tuned = get_peft_model(own, settings, autocast_adapter_dtype=False)
    parameters = {key.replace(".default", ""): p for key, p in tuned.named_parameters()}
    assert set(tensors) == {key for key in parameters if "lora" in key}
    for key, array in tensors.items():
        parameters[key].data.copy_(torch.from_numpy(array))
        assert parameters[key].dtype == torch.float64

    batch = family_of(some(7), slot)
    expected = exact_scores(tuned, batch)
    assert np.abs(engine.score(batch) - expected.detach().numpy()).max() < 1e-4
    loss = -expected @ torch.from_numpy(batch.weight).double()
    loss.backward()
    assert engine.accumulate(batch).total == pytest.approx(loss.item())
    for key, view in engine._adapters.attached[slot].split(engine._optimiser.gradient).items():
        gradient = parameters[key].grad
        assert float((view - gradient).norm() / gradient.norm()) < 1e-4, key


@pytest.mark.parametrize("alike", [0, 18])
def test_generation_takes_the_likeliest_token_of_float64(family, alike):
    engine, own = opened(family[1]), network_of(family[1], dtype=torch.float64)
    prompts = [[*range(alike), *example.tokens[:9].tolist()] for example in some(7)]
    said = answers(engine, [Request(p, max_new_tokens=8) for p in prompts])
    for prompt, answer in zip(prompts, said, strict=True):
        text = list(prompt)
        for token in answer:
            with torch.no_grad():
                logits = own(torch.tensor([text]), use_cache=False).logits[0, -1]
            assert logits.max() - logits[token] < 1e-4
            text.append(token)


def test_a_model_that_cannot_be_packed_runs_row_by_row(tmp_path):
    config = transformers.BloomConfig(vocab_size=40, hidden_size=32, n_layer=2, n_head=4)
    torch.manual_seed(0)
    transformers.BloomForCausalLM(config).save_pretrained(tmp_path)
    engine = opened(tmp_path)
    assert isinstance(engine._forward, OneByOne)
    examples = some(4)
    expected = expected_scores(network_of(tmp_path), examples)
    assert np.abs(engine.score(pack(examples, BASE)) - expected).max() < 1e-4
    slot = engine.attach(AdapterSpec(rank=4), trainable=True)
    losses = []
    for _ in range(30):
        loss = engine.accumulate(pack(examples, slot))
        engine.update(2e-2)
        losses.append(loss.total)
    assert losses[-1] < 0.95 * losses[0]
    requests = many([BASE, slot, started(engine, 1)], 9)
    alone = [answers(engine, [request])[0] for request in requests]
    assert answers(engine, requests) == alone
    prompt, own = [3, 4, 5], network_of(tmp_path)
    said = answers(engine, [Request(prompt, max_new_tokens=5), Request([7])])[0]
    with torch.no_grad():
        expected = own.generate(torch.tensor([prompt]), max_new_tokens=5, do_sample=False)
    assert said == expected[0, 3:].tolist()


def test_a_window_that_stands_in_the_mask_alone_is_not_packed(tmp_path):
    """Packed rows have no mask, and the probe is shorter than most windows."""
    config = transformers.PhimoeConfig(
        **SIZES, sliding_window=12, num_local_experts=2, num_experts_per_tok=1
    )
    torch.manual_seed(0)
    transformers.PhimoeForCausalLM(config).save_pretrained(tmp_path)
    engine = opened(tmp_path)
    assert engine.way.startswith("row by row")


def test_conv1d_models_take_adapters(tmp_path):
    config = transformers.GPT2Config(vocab_size=40, n_embd=32, n_layer=2, n_head=4)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    engine = opened(tmp_path)
    tensors = engine.adapter(engine.attach(AdapterSpec(rank=2, targets=("c_attn",))))
    assert {array.shape for array in tensors.values()} == {(2, 32), (96, 2)}


def test_a_batch_larger_than_a_pass_gives_the_same(llama_folder, monkeypatch):
    engine = opened(llama_folder)
    slot = engine.attach(AdapterSpec(rank=2), trainable=True)
    batch = pack(some(9), slot)
    scores = engine.score(batch)
    loss = engine.accumulate(batch).total
    norm = engine.update(0.0).gradient_norm
    monkeypatch.setattr(passes, "TOKENS", 40)
    assert np.allclose(engine.score(batch), scores, atol=1e-5)
    assert engine.accumulate(batch).total == pytest.approx(loss, rel=1e-5)
    assert engine.update(0.0).gradient_norm == pytest.approx(norm, rel=1e-4)


def answers(engine, requests):
    said = [[] for _ in requests]
    for index, token in engine.generate(requests):
        said[index].append(token)
    return said


def many(slots, count=30):
    """Requests of many lengths, some of them samples of one prompt."""
    return [
        Request(
            list(range(1 + n % 5 * 2)),
            slots[n % 3],
            1 + n * n % 17,
            stop=frozenset({7}),
            temperature=float(n % 2),
            seed=n,
        )
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("module", "constant", "value"),
    [
        (generation, "ROWS", 3),
        (generation, "ADMITTED", 3),
        (generation, "TOKENS", 60),
        (generation, "LIKELY", 3),
        (continuation, "ROWS", 1),
        (cache, "TOGETHER", 2),
    ],
)
def test_places_chunks_and_cache_do_not_change_the_answers(
    llama_folder, monkeypatch, module, constant, value
):
    engine = opened(llama_folder)
    slots = [BASE, *(started(engine, seed) for seed in (1, 2))]
    requests = many(slots)
    expected = answers(engine, requests)
    monkeypatch.setattr(module, constant, value)
    assert answers(engine, requests) == expected


def test_no_more_requests_run_at_the_same_time_than_asked_for(llama_folder, monkeypatch):
    engine, begun = opened(llama_folder), []
    begin = engine._forward.begin
    monkeypatch.setattr(
        engine._forward, "begin", lambda rows, room: begun.append(rows) or begin(rows, room)
    )
    requests = many([BASE] * 3)
    said = [[] for _ in requests]
    for index, token in engine.generate(requests, at_once=2):
        said[index].append(token)
    assert said == answers(engine, requests)
    assert begun == [2, len(requests)]


def started(engine, seed):
    slot = engine.attach(AdapterSpec(rank=2), seed=seed)
    random = np.random.default_rng(seed)
    weights = {n: random.normal(0, 0.3, t.shape) for n, t in engine.adapter(slot).items()}
    engine.load_adapter(slot, weights)
    return slot


def test_a_place_is_given_to_the_next_as_soon_as_it_is_free(llama_folder, monkeypatch):
    engine, steps = opened(llama_folder), []
    append = PackedContinuation.append
    monkeypatch.setattr(generation, "ROWS", 4)
    monkeypatch.setattr(
        PackedContinuation,
        "append",
        lambda self, tokens: steps.append(len(tokens)) or append(self, tokens),
    )
    lengths = [31, 1, 1, 1] * 4
    list(engine.generate([Request([n], max_new_tokens=k) for n, k in enumerate(lengths)]))
    assert len(steps) == 30  # batches of four, each with a long answer, would take 120


def test_a_prompt_that_several_requests_share_is_computed_once(llama_folder, monkeypatch):
    engine, computed = opened(llama_folder), []
    logits = engine._forward.logits

    def counted(rows, *rest):
        computed.extend(len(row.tokens) for row in rows)
        return logits(rows, *rest)

    monkeypatch.setattr(engine._forward, "logits", counted)
    requests = [Request([1, 2, 3], seed=n, temperature=1.0, max_new_tokens=3) for n in range(5)]
    list(engine.generate([*requests, Request([4, 5], max_new_tokens=1)]))
    assert sorted(computed) == [2, 3]


def test_what_all_newcomers_begin_with_is_computed_once(llama_folder, monkeypatch):
    engine, computed = opened(llama_folder), []
    slot, logits = started(engine, 1), engine._forward.logits

    def counted(rows, *rest):
        computed.append([len(row.tokens) for row in rows])
        return logits(rows, *rest)

    alike = list(range(continuation.SHARED))
    endings = [[5], [6, 7], [], [5]]  # two are the same, and one has nothing of its own but the end
    requests = [
        Request([*alike, *ending, 9], adapter, 4, temperature=0.8, seed=n)
        for adapter in (BASE, slot)
        for n, ending in enumerate(endings)
    ]
    monkeypatch.setattr(engine._forward, "logits", counted)
    together = answers(engine, requests)
    assert computed == [[16, 3, 2, 1, 16, 3, 2, 1]]
    monkeypatch.setattr(continuation, "SHARED", 99)
    assert answers(engine, requests) == together


def test_weights_prepared_for_few_rows_give_the_same_products():
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("oneDNN does not compute in bf16 on this processor")
    x, weight, bias = (torch.randn(size).bfloat16() for size in ((5, 32), (48, 32), (48,)))
    expected = torch.addmm(bias.float(), x.float(), weight.float().t())
    seen = linears.product(x, linears.prepared(weight), bias).float()
    assert (seen - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize(
    "raised",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
    ],
    ids=["cpu", "cuda", "python"],
)
def test_what_the_allocators_raise_is_too_little_memory(llama_folder, monkeypatch, raised):
    engine = opened(llama_folder)
    slot = engine.attach(AdapterSpec(rank=2), trainable=True)

    def fails(*_):
        raise raised

    for name in ("score", "learn", "begin"):
        monkeypatch.setattr(engine._forward, name, fails)
    batch = pack(some(3), slot)
    for call in (
        lambda: engine.score(batch),
        lambda: engine.accumulate(batch),
        lambda: list(engine.generate([Request([1, 2])])),
    ):
        with pytest.raises(OutOfMemory, match="memory does not suffice for"):
            call()


def test_too_little_memory_for_one_example_says_which_settings_help(llama_folder, monkeypatch):
    engine = opened(llama_folder)

    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(engine._forward, "score", fails)
    with pytest.raises(OutOfMemory, match="for one example of 5 tokens") as found:
        engine.score(
            pack(
                [Example(np.arange(6, dtype=np.int32), np.array([0, *[1] * 5], np.float32), "r")],
                BASE,
            )
        )
    named = re.findall(r"([a-z]+)\.(\w+)(?:: (\w+))?", found.value.fix)
    assert len(named) == 5
    for section, key, value in named:
        default = getattr(Recipe.model_fields[section].default, key)
        given = {section: {key: value or default}}
        Recipe.model_validate({"name": "x", "stages": [{"kind": "sft"}], **given})


def test_other_errors_stay_what_they_are(llama_folder, monkeypatch):
    engine = opened(llama_folder)

    def fails(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(engine._forward, "score", fails)
    with pytest.raises(RuntimeError, match="mat1"):
        engine.score(pack(some(3), BASE))


def test_bfloat16_stays_near_float32(qwen3_folder):
    exact, quick = opened(qwen3_folder), opened(qwen3_folder, "bfloat16")
    batch = pack(some(6), BASE)
    assert np.abs(exact.score(batch) - quick.score(batch)).mean() < 0.1
    slot = quick.attach(AdapterSpec(rank=2), trainable=True)
    quick.accumulate(pack(some(6), slot))
    assert quick.update(1e-2).applied
    assert all(array.dtype == np.float32 for array in quick.adapter(slot).values())


def copy_of(folder, target):
    shutil.copytree(folder, target, dirs_exist_ok=True)
    return target


def test_refuses_a_checkpoint_that_would_leave_weights_random(llama_folder, tmp_path):
    folder = copy_of(llama_folder, tmp_path / "holed")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="up_proj"):
        opened(folder)


def test_refuses_what_is_not_a_whole_safetensors_checkpoint(llama_folder, tmp_path):
    cut = copy_of(llama_folder, tmp_path / "cut")
    content = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(content[: len(content) // 2])
    pickled = copy_of(llama_folder, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    unknown = copy_of(llama_folder, tmp_path / "unknown")
    (unknown / "config.json").write_text(json.dumps({"model_type": "nothing_known"}))
    resized = copy_of(llama_folder, tmp_path / "resized")
    config = json.loads((resized / "config.json").read_text())
    (resized / "config.json").write_text(json.dumps(config | {"intermediate_size": 20}))
    for folder in (cut, pickled, unknown, resized):
        with pytest.raises(ModelError, match=folder.name):
            opened(folder)


def test_an_unknown_dtype_is_refused(llama_folder):
    with pytest.raises(EngineError, match="float8"):
        opened(llama_folder, dtype="float8")


@pytest.mark.parametrize("quantization", ["none", "int8"])
def test_the_text_model_of_a_vision_model_is_the_one_on_disk(tmp_path, quantization):
    """Given a text configuration alone, Transformers would make its weights up and not say so."""
    vision = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = transformers.Gemma3Config(
        text_config=SIZES,
        vision_config=vision,
        mm_tokens_per_image=4,
        image_token_index=39,
        boi_token_index=37,
        eoi_token_index=38,
    )
    torch.manual_seed(0)
    whole = transformers.Gemma3ForConditionalGeneration(config).eval()
    whole.save_pretrained(tmp_path)
    engine, examples = opened(tmp_path, quantization=quantization), some(4)
    examples = [replace(e, tokens=e.tokens % 37) for e in examples]  # no tokens of images
    off = np.abs(engine.score(pack(examples, BASE)) - expected_scores(whole, examples))
    assert off.max() < (1e-4 if quantization == "none" else 0.5)
    slot = engine.attach(AdapterSpec(rank=2))
    assert all("language_model.layers" in name for name in engine.adapter(slot))


def test_dropout_of_the_frozen_model_is_off(tmp_path):
    config = transformers.SeedOssConfig(**SIZES, residual_dropout=0.1, attention_dropout=0.1)
    transformers.SeedOssForCausalLM(config).save_pretrained(tmp_path)
    seen = opened(tmp_path)._forward._network.config
    assert seen.attention_dropout == seen.residual_dropout == 0.0


GEMMA3 = {
    "text_config": SIZES,
    "vision_config": {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,  # as many as the decoder's
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    },
    "mm_tokens_per_image": 4,
}


@pytest.fixture(scope="module")
def seeing_folder(tmp_path_factory):
    """A model with an encoder for images beside its decoder, q_proj and v_proj in both."""
    folder = tmp_path_factory.mktemp("gemma3")
    torch.manual_seed(0)
    config = transformers.Gemma3Config(**GEMMA3)
    transformers.Gemma3ForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "v_proj"), r".*[qv]_proj"])
def test_no_target_is_found_in_the_encoder_of_a_model_that_sees(seeing_folder, targets, tmp_path):
    from peft import PeftModel

    engine, spec = opened(seeing_folder), AdapterSpec(rank=2, targets=targets)
    slot = engine.attach(spec)
    tensors = engine.adapter(slot)
    assert all(name.startswith("base_model.model.model.language_model.") for name in tensors)
    random = np.random.default_rng(0)
    tensors = {name: random.normal(0, 0.1, array.shape) for name, array in tensors.items()}
    engine.load_adapter(slot, tensors)
    peft_format.save(tmp_path / "adapter", spec, tensors, "gemma3")
    network = transformers.Gemma3ForConditionalGeneration.from_pretrained(seeing_folder)
    tuned = PeftModel.from_pretrained(network.eval(), tmp_path / "adapter")
    assert {n.replace(".default", "") for n, _ in tuned.named_parameters() if "lora" in n} == {
        *tensors
    }
    examples = some(3)
    seen = engine.score(pack(examples, slot))
    assert np.abs(seen - expected_scores(tuned, examples)).max() < 1e-4


def test_dora_with_dropout_is_what_peft_computes(qwen2_folder):
    """With the mask of ours, of which PEFT's layer knows nothing."""
    from peft import LoraConfig, get_peft_model

    engine = opened(qwen2_folder)
    path = "model.layers.1.self_attn.k_proj"
    spec = AdapterSpec(rank=3, alpha=6.0, dropout=0.5, dora=True, targets=(path,))
    slot = engine.attach(spec, trainable=True)
    random = np.random.default_rng(0)
    tensors = {n: a + random.normal(0, 0.2, a.shape) for n, a in engine.adapter(slot).items()}
    engine.load_adapter(slot, tensors)
    settings = LoraConfig(r=3, lora_alpha=6, lora_dropout=0.5, target_modules=[path], use_dora=True)
    tuned = get_peft_model(network_of(qwen2_folder), settings).train()
    parameters = {
        name.replace(".default", "").replace("vector.weight", "vector"): p
        for name, p in tuned.named_parameters()
    }
    for name, array in tensors.items():
        parameters[name].data.copy_(torch.from_numpy(array))
    (example,) = some(1)
    inputs = len(example.tokens) - 1
    ours = torch.Generator().manual_seed(0)  # the seed of `attach`
    sizes = forward.rounded([forward.Row(example.tokens[:-1], np.arange(inputs), slot)])
    mask = torch.empty(1, sum(len(row.tokens) for row in sizes), SIZES["hidden_size"])
    mask = mask.bernoulli_(0.5, generator=ours).div_(0.5)[:, :inputs]
    layer = tuned.get_submodule(f"base_model.model.{path}")
    layer.lora_dropout["default"] = Masked(mask)
    ids = torch.from_numpy(example.tokens).long()[None]
    log = tuned(input_ids=ids[:, :-1], use_cache=False).logits[0].log_softmax(-1)
    loss = -log.gather(1, ids[0, 1:, None]).sum()
    loss.backward()
    assert engine.accumulate(pack([example], slot)).total == pytest.approx(loss.item(), rel=1e-5)
    for name, view in engine._adapters.attached[slot].split(engine._optimiser.gradient).items():
        expected = parameters[name].grad
        assert float((view - expected).norm() / expected.norm()) < 1e-4, name


class Masked(torch.nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, x):
        return x * self.mask


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_dora_on_a_quantised_base_divides_by_the_lengths_of_what_it_multiplies(
    qwen2_folder, quantization
):
    pytest.importorskip("bitsandbytes")
    from peft.utils.integrations import dequantize_module_weight

    engine = opened(qwen2_folder, quantization=quantization)
    slot = engine.attach(AdapterSpec(rank=2, dora=True), trainable=True)
    batch = pack(some(3), slot)
    np.testing.assert_allclose(engine.score(batch), engine.score(pack(some(3), BASE)), atol=1e-3)
    path = "model.layers.1.mlp.up_proj"
    other = opened(qwen2_folder, quantization=quantization)._forward._network
    module = other.get_submodule(path)
    weight = (
        module.weight * module.scale[:, None]
        if quantization == "int8"
        else dequantize_module_weight(module).float()
    )
    magnitudes = engine.adapter(slot)[f"base_model.model.{path}.lora_magnitude_vector"]
    np.testing.assert_allclose(magnitudes, weight.norm(dim=1).numpy(), rtol=1e-4)
    losses = []
    for _ in range(5):
        losses.append(engine.accumulate(batch).total)
        engine.update(1e-2)
    assert losses[-1] < losses[0]


def test_magnitudes_are_not_rounded_to_the_weights_dtype(llama_folder):
    engine = opened(llama_folder, "bfloat16")
    slot = engine.attach(AdapterSpec(rank=2, dora=True))
    assert np.array_equal(engine.score(pack(some(6), slot)), engine.score(pack(some(6), BASE)))
