"""The engine itself: token batches in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import TokenBatch
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
from lorecraft.engines.lora import check_slots
from lorecraft.engines.pairs import Pairwise, check_pairs
from lorecraft.engines.torch import allocation, kept, loading, quantized, sketch
from lorecraft.engines.torch.adapters import Adapter, Adapters
from lorecraft.engines.torch.choose import choose
from lorecraft.engines.torch.frozen import linears_of
from lorecraft.engines.torch.generation import generate
from lorecraft.engines.torch.optimiser import AdamW
from lorecraft.engines.torch.passes import Scored, Tree, passes, shared, together, whole
from lorecraft.errors import OutOfMemory


class TorchEngine:
    """See ``Engine``. What several segments continue is computed once for each adapter; segments
    are grouped by adapter, so that each adapter is applied to one run of tokens."""

    name = "torch"

    def __init__(self) -> None:
        self.device = loading.choose_device()
        self._optimiser: AdamW | None = None
        self._trainable = BASE

    def open(self, model: Path, dtype: str = "auto", quantization: str = "none") -> None:
        chosen = loading.choose_dtype(dtype, self.device)
        self._take(loading.load(model, self.device, chosen, quantization), chosen)

    @property
    def way(self) -> str:
        return self._forward.way

    @property
    def recomputes(self) -> bool:
        return self._forward.recomputes

    @recomputes.setter
    def recomputes(self, value: bool) -> None:
        self._forward.recomputes = value

    def outline(
        self, model: Path, spec: AdapterSpec, dtype: str = "auto", quantization: str = "none"
    ) -> Outline:
        chosen = loading.choose_dtype(dtype, self.device)
        if quantization != "none":
            quantized.Quantization(quantization, self.device)
        network = sketch.skeleton(model, chosen)
        blocks, linears = linears_of(network)
        adapted = lora.choose(spec, linears, blocks)
        trained = sum(math.prod(shape) for shape in lora.shapes(spec, adapted).values())
        working = 0 if chosen == torch.float32 else chosen.itemsize * trained
        return Outline(
            device=self.device,
            dtype=str(chosen).removeprefix("torch."),
            parameters=sum(p.numel() for p in network.parameters()),
            trained=trained,
            blocks=blocks,
            adapted=len({linear.block for linear in adapted}),
            kinds=lora.kinds(adapted),
            weights=sketch.weight_bytes(network, quantization),
            quantized={
                name: sketch.weight_bytes(network, name)
                for name in quantized.QUANTIZATIONS
                if quantization == "none"
            },
            adapter=4 * trained + working,
            training=3 * 4 * trained,
            shared=self.device == "cpu",
            available=self._available(),
        )

    def sketch(self, model: Path, dtype: str, quantization: str, blocks: int) -> None:
        chosen = loading.choose_dtype(dtype, self.device)
        network = sketch.sketch(model, self.device, chosen, quantization, blocks)
        self._take(network, chosen)

    def _take(self, network: PreTrainedModel, dtype: torch.dtype) -> None:
        self._weight_bytes = quantized.held(network)
        self._vocabulary = network.config.get_text_config().vocab_size
        self._adapters = Adapters(network, dtype, self.device)
        self._forward = choose(network, self._adapters, self.device)

    def attach(
        self,
        spec: AdapterSpec,
        weights: Arrays | None = None,
        *,
        trainable: bool = False,
        seed: int = 0,
    ) -> int:
        slot = self._adapters.attach(spec, weights, seed)
        if trainable:
            self._trainable = slot
            self._optimiser = AdamW(self._adapters.attached[slot])
            self._adapters.random.manual_seed(seed)
        return slot

    def detach(self, slot: int) -> None:
        self._attached(slot)
        del self._adapters.attached[slot]
        if slot == self._trainable:
            self._optimiser, self._trainable = None, BASE

    def adapter(self, slot: int) -> dict[str, NDArray[np.float32]]:
        return self._attached(slot).read()

    def load_adapter(self, slot: int, weights: Arrays) -> None:
        self._attached(slot).write(weights)

    def score(self, batch: TokenBatch) -> NDArray[np.float32]:
        check_slots(batch.adapter.tolist(), self._adapters.attached)
        scores = np.zeros(len(batch.tokens), np.float32)
        for rows in passes(self._trees(batch), self._width):
            log = self._score(rows)
            scores[np.concatenate([row.places for row in rows])] = log.cpu().numpy()
        return scores

    def accumulate(self, batch: TokenBatch, objective: PairObjective | None = None) -> LossSum:
        check_slots(batch.adapter.tolist(), self._adapters.attached)
        check_pairs(batch, objective, self._trainable)
        optimiser, trees = self._training(), self._trees(batch)
        own = [tree for tree in trees if tree[0].inputs.slot == self._trainable]
        if not own:
            raise ValueError("no weighted segment is under the trainable slot")
        if objective is not None:
            pairwise = Pairwise(batch, objective)
            for rows in passes(together(own, batch, objective.pairs), self._width):
                self._learn(rows, self._weights(rows), pairwise)
            loss = pairwise.loss()
            optimiser.weight += loss.weight
            return loss
        losses, learned = [], 0.0
        for rows in passes(own, self._width):
            weights = self._weights(rows)
            losses.append(self._weighted(self._learn(rows, weights), weights))
            learned += sum(float(row.weight.sum(dtype=np.float64)) for row in rows)
        frozen = [tree for tree in trees if tree[0].inputs.slot != self._trainable]
        for rows in passes(frozen, self._width):
            losses.append(self._weighted(self._score(rows), self._weights(rows)))
        optimiser.weight += learned
        return LossSum(sum(map(float, losses)), float(batch.weight.sum(dtype=np.float64)))

    def can_keep(self, slot: int, tokens: int) -> bool:
        self._attached(slot)
        needed = tokens * self._forward.kept_bytes(slot)
        return 0 < needed <= kept.room()

    def keep(self, batch: TokenBatch) -> None:
        for rows in passes(self._trees(batch), self._width):
            with _memory_errors(_described(rows)):
                self._forward.keep([row.inputs for row in rows])

    def update(
        self, learning_rate: float, *, max_norm: float = 1.0, weight_decay: float = 0.0
    ) -> Update:
        with _memory_errors("the optimiser's step"):
            return self._training().update(learning_rate, max_norm, weight_decay)

    def generate(
        self,
        requests: Sequence[Request],
        cancelled: Container[int] = (),
        at_once: int | None = None,
    ) -> Iterator[tuple[int, int]]:
        check_slots([request.adapter for request in requests], self._adapters.attached)
        with _memory_errors(f"{min(len(requests), at_once or len(requests))} answers at once"):
            yield from generate(self._forward, requests, cancelled, at_once)

    def state(self) -> dict[str, NDArray[np.generic]]:
        optimiser = self._training()
        tensors = {
            "adapter": optimiser.adapter.master,
            "first": optimiser.first,
            "second": optimiser.second,
            "random": self._adapters.random.get_state(),
        }
        state = {name: tensor.cpu().numpy().copy() for name, tensor in tensors.items()}
        return state | {"step": np.array([optimiser.step], np.int64)}

    def restore(self, state: Arrays) -> None:
        optimiser = self._training()
        optimiser.clear()
        for name, tensor in (
            ("adapter", optimiser.adapter.master),
            ("first", optimiser.first),
            ("second", optimiser.second),
        ):
            tensor.copy_(torch.from_numpy(np.array(state[name])))
        optimiser.adapter.publish()
        self._adapters.random.set_state(torch.from_numpy(np.array(state["random"])))
        optimiser.step = int(state["step"][0])

    def memory(self) -> Memory:
        if self.device == "cuda":
            return Memory(torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated())
        if self.device == "mps":
            return Memory(torch.mps.current_allocated_memory(), torch.mps.driver_allocated_memory())
        held = self._weight_bytes + sum(
            a.master.nbytes + (a.working.nbytes if a.working is not a.master else 0)
            for a in self._adapters.attached.values()
        )
        return Memory(held, max(held, host.peak_resident()))

    def watched(self) -> AbstractContextManager[Watch]:
        return allocation.watched(self.device)

    def _available(self) -> int | None:
        if self.device == "cuda":
            return torch.cuda.mem_get_info()[0]
        if self.device == "mps":
            return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return host.available()

    def _attached(self, slot: int) -> Adapter:
        if slot == BASE:
            raise ValueError("the base has no adapter")
        check_slots([slot], self._adapters.attached)
        return self._adapters.attached[slot]

    def _training(self) -> AdamW:
        if self._optimiser is None:
            raise ValueError("no adapter is trainable: attach one with trainable=True")
        return self._optimiser

    @property
    def _width(self) -> int:
        """Elements of a token's logits, where a pass holds them."""
        return self._vocabulary if self._forward.whole_logits else 0

    def _trees(self, batch: TokenBatch) -> list[Tree]:
        return shared(batch) if self._forward.shares else whole(batch)

    def _learn(
        self, rows: Sequence[Scored], weights: torch.Tensor, pairwise: Pairwise | None = None
    ) -> torch.Tensor:
        """log p of the rows' targets; adds their gradient."""
        targets = self._tensor([row.targets for row in rows])

        def factors(log: torch.Tensor) -> torch.Tensor:
            assert pairwise is not None
            places = np.concatenate([row.places for row in rows])
            found = pairwise.factors(places, log.cpu().numpy())
            return self._tensor([found.astype(np.float32)])

        with _memory_errors(_described(rows)):
            inputs = [row.inputs for row in rows]
            return self._forward.learn(inputs, targets, weights, factors if pairwise else None)

    def _weights(self, rows: Sequence[Scored]) -> torch.Tensor:
        return self._tensor([row.weight for row in rows])

    def _weighted(self, log: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """The weighted sum of -log p, on the device."""
        wide = torch.float64 if self.device == "cpu" else torch.float32
        return -(log * weights).sum(dtype=wide)

    def _score(self, rows: Sequence[Scored]) -> torch.Tensor:
        targets = self._tensor([row.targets for row in rows])
        with _memory_errors(_described(rows)):
            return self._forward.score([row.inputs for row in rows], targets)

    def _tensor(self, parts: list[NDArray[np.generic]]) -> torch.Tensor:
        return torch.from_numpy(np.concatenate(parts)).to(self.device)


def _described(rows: Sequence[Scored]) -> str:
    longest = max(len(row.inputs.tokens) for row in rows)
    if len(rows) == 1:
        return f"one example of {longest} tokens"
    return f"{len(rows)} examples, the longest of {longest} tokens"


@contextmanager
def _memory_errors(what: str) -> Iterator[None]:
    """Within: what the allocators raise becomes OutOfMemory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"memory does not suffice for {what}",
            "room for one at a time",
            "shorter records (data.max_length) or answers (exam.max_new_tokens), a quantised base "
            "(model.quantization: nf4), only the last blocks adapted (adapter.layers: 8), or a "
            "smaller adapter.rank",
        ) from error


def _is_out_of_memory(error: Exception) -> bool:
    """CUDA has its own exception; the CPU's and MPS's allocators raise plain RuntimeErrors."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        word in str(error).lower() for word in words
    )
