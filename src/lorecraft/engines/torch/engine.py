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
from lorecraft.engines.base import BASE, Arrays, LossSum, Memory, Outline, Request, Update, Watch
from lorecraft.engines.lora import check_slots
from lorecraft.engines.torch import allocation, loading, sketch
from lorecraft.engines.torch.adapters import Adapter, Adapters, linears_of
from lorecraft.engines.torch.forward import choose
from lorecraft.engines.torch.generation import generate
from lorecraft.engines.torch.loss import log_probability
from lorecraft.engines.torch.optimiser import AdamW
from lorecraft.engines.torch.passes import Scored, passes
from lorecraft.errors import EngineError, OutOfMemory


class TorchEngine:
    """See ``Engine``. Parents are flattened; segments are grouped by adapter, so that each
    adapter is applied to one run of tokens."""

    name = "torch"

    def __init__(self) -> None:
        self.device = loading.choose_device()
        self._optimiser: AdamW | None = None
        self._trainable = BASE

    def open(self, model: Path, dtype: str = "auto", quantization: str = "none") -> None:
        chosen = loading.choose_dtype(dtype, self.device)
        self._take(loading.load(model, self.device, chosen, quantization), chosen)

    def outline(
        self, model: Path, spec: AdapterSpec, dtype: str = "auto", quantization: str = "none"
    ) -> Outline:
        chosen = loading.choose_dtype(dtype, self.device)
        if quantization != "none":
            loading.quantized(quantization, chosen)
        network = sketch.skeleton(model, chosen)
        blocks, linears = linears_of(network)
        adapted = lora.choose(spec, linears, blocks)
        shapes = lora.shapes(spec.rank, adapted).values()
        trained = sum(math.prod(shape) for shape in shapes)
        working = 0 if chosen == torch.float32 else chosen.itemsize * trained
        return Outline(
            device=self.device,
            dtype=str(chosen).removeprefix("torch."),
            parameters=sum(p.numel() for p in network.parameters()),
            trained=trained,
            blocks=blocks,
            adapted=len({linear.block for linear in adapted}),
            weights=sketch.weight_bytes(network, linears, quantization),
            quantized={
                name: sketch.weight_bytes(network, linears, name)
                for name in sketch.QUANTIZED
                if quantization == "none"
            },
            adapter=4 * trained + working,
            training=3 * 4 * trained,
            shared=self.device == "cpu",
            available=self._available(),
        )

    def sketch(self, model: Path, dtype: str, blocks: int) -> None:
        chosen = loading.choose_dtype(dtype, self.device)
        self._take(sketch.sketch(model, self.device, chosen, blocks), chosen)

    def _take(self, network: PreTrainedModel, dtype: torch.dtype) -> None:
        self._weight_bytes = network.get_memory_footprint()
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
        for rows in passes(batch, self._vocabulary):
            with _memory_errors(_described(rows)), torch.no_grad():
                logits = self._forward.logits([row.inputs for row in rows])
                log = log_probability(logits, self._tensor([row.targets for row in rows]))
            scores[np.concatenate([row.places for row in rows])] = log.cpu().numpy()
        return scores

    def accumulate(self, batch: TokenBatch, objective: str = "cross_entropy") -> LossSum:
        if objective != "cross_entropy":
            raise EngineError(f"objective {objective!r}", expected="cross_entropy")
        optimiser, total = self._training(), 0.0
        for rows in passes(batch, self._vocabulary):
            if any(row.inputs.slot != self._trainable for row in rows):
                raise ValueError("a weighted segment is not under the trainable slot")
            targets = self._tensor([row.targets for row in rows])
            weights = self._tensor([row.weight for row in rows])
            with _memory_errors(_described(rows)):
                total += self._forward.learn([row.inputs for row in rows], targets, weights)
        weight = float(batch.weight.sum(dtype=np.float64))
        optimiser.weight += weight
        return LossSum(total, weight)

    def update(
        self, learning_rate: float, *, max_norm: float = 1.0, weight_decay: float = 0.0
    ) -> Update:
        with _memory_errors("the optimiser's step"):
            return self._training().update(learning_rate, max_norm, weight_decay)

    def generate(
        self, requests: Sequence[Request], cancelled: Container[int] = ()
    ) -> Iterator[tuple[int, int]]:
        check_slots([request.adapter for request in requests], self._adapters.attached)
        with _memory_errors(f"{len(requests)} answers at once"):
            yield from generate(self._forward, requests, cancelled)

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
            a.master.nbytes + a.working.nbytes for a in self._adapters.attached.values()
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
