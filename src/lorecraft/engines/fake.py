"""A real, tiny language model in NumPy: tests of everything above the engines need no torch.

Two blocks of decaying token mixing and a tanh layer, between a random embedding and a random
head. The weights are seeded by the folder's config.json, so the same folder is the same model.
All products are float64; adapters are kept in float32, as the seam asks.
"""

from __future__ import annotations

import hashlib
import json
import math
import tracemalloc
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import TokenBatch, flatten
from lorecraft.engines import host, lora
from lorecraft.engines.base import (
    BASE,
    Arrays,
    LossSum,
    Memory,
    Outline,
    PairObjective,
    Request,
    Update,
    Watch,
)
from lorecraft.engines.pairs import Pairwise, check_pairs
from lorecraft.engines.sampling import draw, forbidden
from lorecraft.errors import EngineError, ModelError

HIDDEN, INNER, BLOCKS = 48, 96, 2
DECAY = 0.6

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass
class _Slot:
    spec: AdapterSpec
    tensors: dict[str, Float32]

    def at(self, path: str) -> tuple[Float32, Float32, Float32 | None] | None:
        """A, B and DoRA's magnitudes."""
        a, b, m = lora.names(path)
        return (
            (self.tensors[a], self.tensors[b], self.tensors.get(m)) if a in self.tensors else None
        )


_Directed = tuple[Float64, Float64]
"""What DoRA's magnitudes multiply, and the lengths that it was divided by."""


@lru_cache(maxsize=256)
def _mixing(length: int) -> Float64:
    """[length, length]; row t holds the weights with which token t sees tokens 0..t."""
    distance = np.arange(length)[:, None] - np.arange(length)[None, :]
    return np.where(distance >= 0, (1 - DECAY) * DECAY ** np.maximum(distance, 0), 0.0)


def _log_softmax(logits: Float64) -> Float64:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


class _Pass:
    """One row through the model under one adapter; keeps what the backward pass needs."""

    def __init__(
        self,
        weights: dict[str, Float64],
        slot: _Slot | None,
        dropout: np.random.Generator | None = None,
    ) -> None:
        self.weights, self.slot, self.dropout = weights, slot, dropout
        self.saved: dict[str, tuple[Float64, Float64 | None, _Directed | None]] = {}
        self.activations: list[Float64] = []

    def forward(self, tokens: NDArray[np.int32]) -> Float64:
        """Tokens [L] -> what the head sees, [L, HIDDEN]."""
        x = self.weights["embedding"][tokens]
        for block in range(BLOCKS):
            at = f"model.layers.{block}"
            z = x + _mixing(len(tokens)) @ self._linear(f"{at}.mixer.mix_proj", x)
            u = np.tanh(self._linear(f"{at}.mlp.up_proj", z))
            self.activations.append(u)
            x = z + self._linear(f"{at}.mlp.down_proj", u)
        return x

    def backward(self, dx: Float64) -> dict[str, Float64]:
        """Gradient at ``forward``'s result -> gradients of the adapter's tensors."""
        gradients: dict[str, Float64] = {}
        for block in reversed(range(BLOCKS)):
            at = f"model.layers.{block}"
            u = self.activations[block]
            du = self._linear_backward(f"{at}.mlp.down_proj", dx, gradients)
            dz = dx + self._linear_backward(f"{at}.mlp.up_proj", du * (1 - u * u), gradients)
            mixed = _mixing(len(dx)).T @ dz
            dx = dz + self._linear_backward(f"{at}.mixer.mix_proj", mixed, gradients)
        return gradients

    def _linear(self, path: str, x: Float64) -> Float64:
        w = self.weights[path]
        y = x @ w.T
        adapted = self.slot.at(path) if self.slot else None
        if self.slot is None or adapted is None:
            return y
        a, b, m = adapted
        mask, p = None, self.slot.spec.dropout
        if self.dropout is not None and p > 0:
            mask = (self.dropout.random(x.shape) >= p) / (1 - p)
        dropped = x if mask is None else x * mask
        scale = self.slot.spec.scale_of(path)
        low = scale * (dropped @ a.T) @ b.T
        if m is None:
            self.saved[path] = dropped, mask, None
            return y + low
        base = dropped @ w.T
        length = np.linalg.norm(w + scale * b @ a, axis=1)
        self.saved[path] = dropped, mask, ((base + low) / length, length)
        return y - base + m / length * (base + low)

    def _linear_backward(self, path: str, dy: Float64, gradients: dict[str, Float64]) -> Float64:
        w = self.weights[path]
        adapted = self.slot.at(path) if self.slot else None
        if self.slot is None or adapted is None:
            return dy @ w
        (a, b, m), (x, mask, directed) = adapted, self.saved[path]
        name_a, name_b, name_m = lora.names(path)
        dx, through = dy @ w, np.zeros(x.shape)
        if m is not None and directed is not None:
            direction, length = directed
            gradients[name_m] = (dy * direction).sum(0)
            through += (dy * (m / length - 1)) @ w
            dy = dy * (m / length)
        dy = self.slot.spec.scale_of(path) * dy
        inner = dy @ b
        gradients[name_a] = inner.T @ x
        gradients[name_b] = dy.T @ (x @ a.T)
        through += inner @ a
        return dx + (through if mask is None else through * mask)


@dataclass
class _Learning:
    """A row on its way back: what it wants predicted, where that stands in the batch, and the
    log-probabilities there, of every token and of the right one."""

    row: _Pass
    hidden: Float64
    wanted: NDArray[np.intp]
    places: NDArray[np.intp]
    log: Float64
    own: Float64


class FakeEngine:
    """See ``Engine``. ``open`` takes any folder with a config.json that states ``vocab_size``."""

    name = "fake"
    device = "cpu"
    way = "in NumPy"
    recomputes = False

    def __init__(self) -> None:
        self._weights: dict[str, Float64] = {}
        self._linears: list[lora.Linear] = []
        self._slots: dict[int, _Slot] = {}
        self._attached = 0
        self._trainable = BASE
        self._random = np.random.default_rng(0)
        self._gradients: dict[str, Float64] = {}
        self._weight = 0.0
        self._moments: tuple[dict[str, Float64], dict[str, Float64]] = ({}, {})
        self._step = 0

    def open(self, model: Path, dtype: str = "auto", quantization: str = "none") -> None:
        if quantization != "none":
            raise EngineError(f"quantization {quantization!r} on the fake engine", "'none'")
        file = model / "config.json"
        if not file.is_file():
            raise ModelError(f"no config.json in {model}", expected="a checkpoint's folder")
        content = file.read_bytes()
        vocabulary = json.loads(content).get("vocab_size")
        if not isinstance(vocabulary, int) or vocabulary < 1:
            raise ModelError(f"vocab_size {vocabulary!r} in {file}", expected="a positive number")
        seed = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
        random = np.random.default_rng(seed)
        for block in range(BLOCKS):
            at = f"model.layers.{block}"
            for path, inputs, outputs in (
                (f"{at}.mixer.mix_proj", HIDDEN, HIDDEN),
                (f"{at}.mlp.up_proj", HIDDEN, INNER),
                (f"{at}.mlp.down_proj", INNER, HIDDEN),
            ):
                self._linears.append(lora.Linear(path, block, inputs, outputs))
                self._weights[path] = random.normal(0, inputs**-0.5, (outputs, inputs))
        self._weights["embedding"] = random.normal(0, 1, (vocabulary, HIDDEN))
        self._weights["lm_head"] = random.normal(0, HIDDEN**-0.5, (vocabulary, HIDDEN))

    def outline(
        self, model: Path, spec: AdapterSpec, dtype: str = "auto", quantization: str = "none"
    ) -> Outline:
        tried = FakeEngine()
        tried.open(model, dtype, quantization)
        chosen = lora.choose(spec, tried._linears, BLOCKS)
        trained = sum(math.prod(shape) for shape in lora.shapes(spec, chosen).values())
        parameters = sum(array.size for array in tried._weights.values())
        return Outline(
            device=self.device,
            dtype="float64",
            parameters=parameters,
            trained=trained,
            blocks=BLOCKS,
            adapted=len({linear.block for linear in chosen}),
            kinds=lora.kinds(chosen),
            weights=8 * parameters,
            quantized={},
            adapter=4 * trained,
            training=3 * 8 * trained,
            shared=True,
            available=host.available(),
        )

    def sketch(self, model: Path, dtype: str, quantization: str, blocks: int) -> None:
        self.open(model, dtype, quantization)

    def attach(
        self,
        spec: AdapterSpec,
        weights: Arrays | None = None,
        *,
        trainable: bool = False,
        seed: int = 0,
    ) -> int:
        chosen = lora.choose(spec, self._linears, BLOCKS)
        expected = lora.shapes(spec, chosen)
        if weights is None:
            tensors = lora.initial(expected, seed, self._lengths)
        else:
            tensors = lora.fitted(expected, weights)
        slot, self._attached = self._attached, self._attached + 1
        self._slots[slot] = _Slot(spec, {name: array.copy() for name, array in tensors.items()})
        if trainable:
            self._trainable, self._step = slot, 0
            self._moments = tuple(  # type: ignore[assignment]
                {name: np.zeros(shape) for name, shape in expected.items()} for _ in range(2)
            )
            self._random = np.random.default_rng(seed)
            self._clear()
        return slot

    def detach(self, slot: int) -> None:
        self._slot(slot)
        del self._slots[slot]
        if slot == self._trainable:
            self._trainable = BASE

    def adapter(self, slot: int) -> dict[str, Float32]:
        return {name: array.copy() for name, array in self._slot(slot).tensors.items()}

    def load_adapter(self, slot: int, weights: Arrays) -> None:
        tensors = self._slot(slot).tensors
        expected = {name: array.shape for name, array in tensors.items()}
        for name, array in lora.fitted(expected, weights).items():
            tensors[name][...] = array

    def score(self, batch: TokenBatch) -> Float32:
        lora.check_slots(batch.adapter.tolist(), self._slots)
        scores = np.zeros(len(batch.tokens), np.float32)
        for segment, tokens, weight in flatten(batch):
            wanted = np.flatnonzero(weight)
            hidden = self._pass(int(batch.adapter[segment])).forward(tokens)
            log = _log_softmax(hidden[wanted - 1] @ self._weights["lm_head"].T)
            offset = int(batch.starts[segment + 1]) - len(tokens)
            scores[offset + wanted] = log[np.arange(len(wanted)), tokens[wanted]]
        return scores

    def accumulate(self, batch: TokenBatch, objective: PairObjective | None = None) -> LossSum:
        lora.check_slots(batch.adapter.tolist(), self._slots)
        check_pairs(batch, objective, self._trainable)
        slot, head, total = self._slot(self._trainable), self._weights["lm_head"], 0.0
        learning: list[_Learning] = []
        for segment, tokens, weight in flatten(batch):
            wanted, under = np.flatnonzero(weight), int(batch.adapter[segment])
            learns = under == self._trainable
            row = _Pass(self._weights, slot, self._random) if learns else self._pass(under)
            hidden = row.forward(tokens)
            log = _log_softmax(hidden[wanted - 1] @ head.T)
            own = log[np.arange(len(wanted)), tokens[wanted]]
            total -= float(weight[wanted] @ own)
            if learns:
                places = int(batch.starts[segment + 1]) - len(tokens) + wanted
                learning.append(_Learning(row, hidden, wanted, places, log, own))
        if not learning:
            raise ValueError("no weighted segment is under the trainable slot")
        places = np.concatenate([one.places for one in learning])
        factor = batch.weight[places].astype(np.float64)
        loss = LossSum(total, float(batch.weight.sum(dtype=np.float64)))
        learned = float(factor.sum())
        if objective is not None:
            pairwise = Pairwise(batch, objective)
            factor *= pairwise.factors(places, np.concatenate([one.own for one in learning]))
            loss = pairwise.loss()
            learned = loss.weight
        for one in learning:
            some, factor = factor[: len(one.wanted)], factor[len(one.wanted) :]
            dlogits = np.exp(one.log)
            dlogits[np.arange(len(some)), batch.tokens[one.places]] -= 1
            dhidden = np.zeros_like(one.hidden)
            dhidden[one.wanted - 1] = (dlogits * some[:, None]) @ head
            for name, gradient in one.row.backward(dhidden).items():
                self._gradients[name] = self._gradients.get(name, 0.0) + gradient
        self._weight += learned
        return loss

    def can_keep(self, slot: int, tokens: int) -> bool:
        return False

    def keep(self, batch: TokenBatch) -> None:
        """Every row is computed whole."""

    def update(
        self, learning_rate: float, *, max_norm: float = 1.0, weight_decay: float = 0.0
    ) -> Update:
        if self._weight <= 0:
            raise ValueError("update without anything accumulated")
        slot = self._slot(self._trainable)
        gradients = {name: g / self._weight for name, g in self._gradients.items()}
        self._clear()
        norm = float(np.sqrt(sum(float((g * g).sum()) for g in gradients.values())))
        if not np.isfinite(norm):
            return Update(norm, False)
        factor = max_norm / norm if 0 < max_norm < norm else 1.0
        self._step += 1
        for name, gradient in gradients.items():
            first, second, g = self._moments[0][name], self._moments[1][name], gradient * factor
            first += 0.1 * (g - first)
            second += 0.001 * (g * g - second)
            step = (first / (1 - 0.9**self._step)) / (
                np.sqrt(second / (1 - 0.999**self._step)) + 1e-8
            )
            tensor = slot.tensors[name]
            tensor -= learning_rate * (step + weight_decay * tensor)
        return Update(norm, True)

    def generate(
        self,
        requests: Sequence[Request],
        cancelled: Container[int] = (),
        at_once: int | None = None,
    ) -> Iterator[tuple[int, int]]:
        lora.check_slots([request.adapter for request in requests], self._slots)
        texts = [list(request.tokens) for request in requests]
        randoms = [np.random.default_rng(request.seed) for request in requests]
        running = list(range(len(requests)))
        while running:
            for index in tuple(running[:at_once]):
                if index in cancelled:
                    running.remove(index)
                    continue
                request, text = requests[index], texts[index]
                hidden = self._pass(request.adapter).forward(np.asarray(text, np.int32))
                logits = hidden[-1] @ self._weights["lm_head"].T
                logits[[*forbidden(request, text)]] = -np.inf
                if request.temperature == 0:
                    token = int(logits.argmax())
                else:
                    token = draw(logits, request, randoms[index].random())
                text.append(token)
                new = len(text) - len(request.tokens)
                if token in request.stop or new >= request.max_new_tokens:
                    running.remove(index)
                yield index, token

    def state(self) -> dict[str, NDArray[np.generic]]:
        state: dict[str, NDArray[np.generic]] = {
            "step": np.asarray([self._step], np.int64),
            "random": np.frombuffer(
                json.dumps(self._random.bit_generator.state).encode(), np.uint8
            ).copy(),
        }
        for name, tensor in self._slot(self._trainable).tensors.items():
            state[f"adapter.{name}"] = tensor.copy()
            state[f"first.{name}"] = self._moments[0][name].copy()
            state[f"second.{name}"] = self._moments[1][name].copy()
        return state

    def restore(self, state: Arrays) -> None:
        for name, tensor in self._slot(self._trainable).tensors.items():
            tensor[...] = state[f"adapter.{name}"]
            self._moments[0][name][...] = state[f"first.{name}"]
            self._moments[1][name][...] = state[f"second.{name}"]
        self._step = int(state["step"][0])
        self._random.bit_generator.state = json.loads(state["random"].tobytes())
        self._clear()

    def memory(self) -> Memory:
        held = sum(array.nbytes for array in self._weights.values())
        held += sum(
            array.nbytes for slot in self._slots.values() for array in slot.tensors.values()
        )
        return Memory(held, held)

    @contextmanager
    def watched(self) -> Iterator[Watch]:
        watch, before = Watch(), tracemalloc.is_tracing()
        tracemalloc.start()
        tracemalloc.reset_peak()
        held = tracemalloc.get_traced_memory()[0]
        yield watch
        watch.bytes = tracemalloc.get_traced_memory()[1] - held
        if not before:
            tracemalloc.stop()

    def _lengths(self, path: str) -> Float32:
        return np.linalg.norm(self._weights[path], axis=1).astype(np.float32)

    def _slot(self, slot: int) -> _Slot:
        if slot == BASE:
            raise ValueError("the base has no adapter: attach one first, trainable to train it")
        lora.check_slots([slot], self._slots)
        return self._slots[slot]

    def _pass(self, slot: int) -> _Pass:
        return _Pass(self._weights, None if slot == BASE else self._slots[slot])

    def _clear(self) -> None:
        self._gradients, self._weight = {}, 0.0
