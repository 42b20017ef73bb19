"""Tiny models with a float64 NumPy reference each, written apart from the engines."""

from __future__ import annotations

import json
import re
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


PATTERNS = {"rank_pattern": {"down_proj": 3}, "alpha_pattern": {r"0\..*_proj": 5.0}}
METHODS = {
    "lora": {},
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "patterns": PATTERNS,
    "all of them": {"rslora": True, "dora": True, **PATTERNS},
}
"""What an adapter may be beside its rank and alpha."""


class Linears:
    """Linear maps by module path, under an adapter or none; DoRA divides by the lengths that the
    rows have with the tensors ``at_rest``."""

    def __init__(
        self, weights: dict, tensors: dict, spec: AdapterSpec | None, at_rest: dict | None = None
    ) -> None:
        self.weights, self.tensors, self.spec = weights, tensors, spec
        self.at_rest = at_rest or tensors

    def __call__(self, path: str, x: np.ndarray) -> np.ndarray:
        weight = self.weights[f"{path}.weight"]
        if f"base_model.model.{path}.lora_A.weight" not in self.tensors:
            return x @ weight.T
        whole = weight + self.update(path, self.tensors)
        if self.spec.dora:
            lengths = np.linalg.norm(weight + self.update(path, self.at_rest), axis=1)
            m = self.tensors[f"base_model.model.{path}.lora_magnitude_vector"]
            whole = (m / lengths)[:, None] * whole
        return x @ whole.T

    def update(self, path: str, tensors: dict) -> np.ndarray:
        a, b = (tensors[f"base_model.model.{path}.lora_{x}.weight"].astype(float) for x in "AB")
        rank, alpha = len(a), self.spec.alpha
        for pattern, other in self.spec.alpha_pattern.items():
            alpha = other if re.search(f"{pattern}$", path) else alpha
        return alpha / (rank**0.5 if self.spec.rslora else rank) * b @ a


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

    def logits(self, tokens: np.ndarray, *adapter) -> np.ndarray:
        """Under an adapter as ``Linears`` takes it."""
        return self.compute(self.weights, Linears(self.weights, *adapter), tokens)

    def log_probabilities(self, tokens: np.ndarray, *adapter) -> np.ndarray:
        """[L, V], in float64."""
        logits = self.logits(np.asarray(tokens), *adapter)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    def attach(
        self, engine: Engine, seed: int, method: str = "lora", **settings
    ) -> tuple[int, dict, AdapterSpec]:
        """A slot with random tensors, these, and its spec."""
        spec = AdapterSpec(1 + seed % 2, alpha=3.0, targets=self.targets, **METHODS[method])
        slot = engine.attach(spec, seed=seed)
        random = np.random.default_rng(seed)
        tensors = {
            name: (
                array * random.uniform(0.7, 1.4, array.shape)
                if "magnitude" in name
                else random.normal(0, 0.3, array.shape)
            ).astype(np.float32)
            for name, array in engine.adapter(slot).items()
        }
        if settings:
            slot = engine.attach(spec, tensors, **settings)
        else:
            engine.load_adapter(slot, tensors)
        return slot, tensors, spec


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
