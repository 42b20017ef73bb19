"""Tiny models with a float64 NumPy reference each, written apart from the engines."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.engines import create
from lorecraft.engines.base import Engine

VOCABULARY = 40
LLAMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.4,
    "rms_norm_eps": 1e-5,
}


class Linears:
    """Linear maps by module path, under a LoRA adapter or none."""

    def __init__(self, weights: dict, tensors: dict, scale: float) -> None:
        self.weights, self.tensors, self.scale = weights, tensors, scale

    def __call__(self, path: str, x: np.ndarray) -> np.ndarray:
        y = x @ self.weights[f"{path}.weight"].T
        at = f"base_model.model.{path}"
        if f"{at}.lora_A.weight" in self.tensors:
            inner = x @ self.tensors[f"{at}.lora_A.weight"].T
            y = y + self.scale * inner @ self.tensors[f"{at}.lora_B.weight"].T
        return y


def llama_logits(weights: dict, apply: Linears, tokens: np.ndarray) -> np.ndarray:
    """Llama, or Qwen3 where the weights have query and key norms; [L, V]."""
    heads, kv, size = LLAMA["num_attention_heads"], LLAMA["num_key_value_heads"], LLAMA["head_dim"]

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        scale = np.sqrt((x * x).mean(-1, keepdims=True) + LLAMA["rms_norm_eps"])
        return x / scale * weights[f"{name}.weight"]

    angle = np.arange(len(tokens))[:, None] * 10_000.0 ** (-np.arange(0, size, 2) / size)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]

    def rotate(x: np.ndarray) -> np.ndarray:
        first, second = np.split(x, 2, axis=-1)
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)

    x = weights["model.embed_tokens.weight"][tokens]
    future = np.triu(np.ones((len(tokens), len(tokens)), bool), 1)
    for layer in range(LLAMA["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        h = norm(f"{at}.input_layernorm", x)
        q = apply(f"{at}.self_attn.q_proj", h).reshape(-1, heads, size)
        k = apply(f"{at}.self_attn.k_proj", h).reshape(-1, kv, size)
        v = apply(f"{at}.self_attn.v_proj", h).reshape(-1, kv, size)
        if f"{at}.self_attn.q_norm.weight" in weights:
            q, k = norm(f"{at}.self_attn.q_norm", q), norm(f"{at}.self_attn.k_norm", k)
        q, k = rotate(q), rotate(k)
        k, v = np.repeat(k, heads // kv, 1), np.repeat(v, heads // kv, 1)
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(size)
        scores = np.exp(np.where(future, -np.inf, scores))
        mixed = np.einsum("hqk,khd->qhd", scores / scores.sum(-1, keepdims=True), v)
        x = x + apply(f"{at}.self_attn.o_proj", mixed.reshape(len(tokens), -1))
        h = norm(f"{at}.post_attention_layernorm", x)
        gate = apply(f"{at}.mlp.gate_proj", h)
        up = apply(f"{at}.mlp.up_proj", h)
        x = x + apply(f"{at}.mlp.down_proj", gate / (1 + np.exp(-gate)) * up)
    return norm("model.norm", x) @ weights["lm_head.weight"].T


def fake_logits(weights: dict, apply: Linears, tokens: np.ndarray) -> np.ndarray:
    """The fake engine's model with its mixing as the recurrence it stands for; [L, V]."""
    x = weights["embedding"][tokens]
    for block in range(2):
        inner = apply(f"model.layers.{block}.mixer.mix_proj", x)
        seen, mixed = np.zeros(inner.shape[1]), np.empty_like(inner)
        for place, value in enumerate(inner):
            seen = 0.6 * seen + 0.4 * value
            mixed[place] = seen
        z = x + mixed
        u = np.tanh(apply(f"model.layers.{block}.mlp.up_proj", z))
        x = z + apply(f"model.layers.{block}.mlp.down_proj", u)
    return x @ weights["lm_head"].T


@dataclass(frozen=True)
class Case:
    """One engine on one model: ``open()`` gives it fresh, ``logits`` is what it should compute."""

    name: str
    folder: Path
    targets: tuple[str, ...]
    weights: dict
    compute: Callable[[dict, Linears, np.ndarray], np.ndarray]

    def open(self) -> Engine:
        engine = create(self.name)
        engine.open(self.folder, dtype="float32")
        return engine

    def logits(self, tokens: np.ndarray, tensors: dict, scale: float) -> np.ndarray:
        return self.compute(self.weights, Linears(self.weights, tensors, scale), tokens)

    def log_probabilities(self, tokens: np.ndarray, tensors: dict, scale: float) -> np.ndarray:
        """[L, V], in float64."""
        logits = self.logits(np.asarray(tokens), tensors, scale)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    def attach(self, engine: Engine, seed: int, **settings) -> tuple[int, dict, float]:
        """A slot with random A and B, its tensors and its scale."""
        spec = AdapterSpec(rank=1 + seed % 2, alpha=3.0, targets=self.targets)
        slot = engine.attach(spec, seed=seed)
        random = np.random.default_rng(seed)
        tensors = {
            name: random.normal(0, 0.3, array.shape).astype(np.float32)
            for name, array in engine.adapter(slot).items()
        }
        if settings:
            slot = engine.attach(spec, tensors, **settings)
        else:
            engine.load_adapter(slot, tensors)
        return slot, tensors, spec.scale


def save_model(folder: Path, model_class: type, config: object) -> Path:
    """A random checkpoint; rotated by nothing but its own initialisation."""
    import torch

    torch.manual_seed(0)
    model_class(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    return save_model(tmp_path_factory.mktemp("llama"), LlamaForCausalLM, LlamaConfig(**LLAMA))


@pytest.fixture(scope="session")
def qwen3_folder(tmp_path_factory) -> Path:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(**LLAMA, tie_word_embeddings=True)
    return save_model(tmp_path_factory.mktemp("qwen3"), Qwen3ForCausalLM, config)


@pytest.fixture(scope="session")
def fake_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fake")
    (folder / "config.json").write_text(json.dumps({"vocab_size": VOCABULARY}))
    return folder


@pytest.fixture(params=["fake", "llama", "qwen3"])
def case(request) -> Case:
    folder = request.getfixturevalue(f"{request.param}_folder")
    if request.param == "fake":
        engine = create("fake")
        engine.open(folder)
        weights = dict(engine._weights)
        weights |= {f"{name}.weight": weights[name] for name in engine._weights}
        return Case("fake", folder, ("mix_proj", "down_proj"), weights, fake_logits)
    from safetensors.numpy import load_file

    weights = {k: v.astype(float) for k, v in load_file(folder / "model.safetensors").items()}
    weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
    return Case("torch", folder, ("q_proj", "mlp.down_proj"), weights, llama_logits)
