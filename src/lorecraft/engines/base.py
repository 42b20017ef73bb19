"""The seam: what every engine can do. Token ids and arrays only; no text, files or recipes."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lorecraft.adapters.spec import AdapterSpec
from lorecraft.data.batches import TokenBatch

Arrays = Mapping[str, NDArray[np.generic]]
"""Named arrays, ready for a safetensors file."""

BASE = -1
"""The adapter slot that means: the base model alone."""


@dataclass(frozen=True)
class LossSum:
    """``total``: sum of weight x negative log-probability (nats); ``weight``: sum of weights.

    Of an objective on pairs: the sum of their losses, how many pairs, and ``sums`` [P, 2], the sum
    of weight x log-probability of each pair's segments.
    """

    total: float
    weight: float
    sums: NDArray[np.float64] | None = None


class PairObjective(Protocol):
    """A loss on pairs of segments, as a function of each one's sum of weight x log-probability."""

    @property
    def pairs(self) -> NDArray[np.integer]:
        """[P, 2], segments of the batch."""

    def __call__(
        self, which: NDArray[np.integer], sums: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The losses [N] of these pairs, by their index, and the slope [N, 2] by each sum, of
        their sums [N, 2]."""


@dataclass(frozen=True)
class Update:
    """What one optimiser step did.

    ``gradient_norm`` is that of the mean gradient before clipping. ``applied`` is False when the
    gradient was not finite: then nothing was changed but the gradients cleared.
    """

    gradient_norm: float
    applied: bool


@dataclass(frozen=True)
class Request:
    """One text to continue.

    Attributes:
        tokens: the prompt, at least one token.
        adapter: slot, or ``BASE``.
        max_new_tokens: at least 1.
        stop: token ids that end the answer; the stopping token itself is yielded too.
        temperature: 0 = greedy.
        top_k: only so many of the most probable tokens; 0 = off.
        top_p: nucleus (Holtzman et al. 2020, arXiv:1904.09751); 1 = off.
        min_p: only tokens at least this share as probable as the most probable one (Nguyen et al.
            2024, arXiv:2407.01082); 0 = off.
        seed: of this request's own random stream.
        banned: sequences that the text, prompt and answer, is never made to complete; one of a
            single token bans that token.
    """

    tokens: Sequence[int]
    adapter: int = BASE
    max_new_tokens: int = 64
    stop: frozenset[int] = frozenset()
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    banned: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Memory:
    """Bytes: in use now, and the highest so far."""

    used: int
    peak: int


@dataclass(frozen=True)
class Outline:
    """A model and an adapter as an engine would hold them, known without the weights.

    Attributes:
        parameters, trained: numbers in the model and in the adapter.
        blocks, adapted: decoder blocks, and how many of them the adapter is in.
        kinds: what the adapted linears are called inside their blocks.
        weights: bytes of the frozen weights.
        quantized: what they would be, by quantization, where the recipe asks for none.
        adapter: bytes of the attached adapter.
        training: bytes more while it is trained (gradient and moments).
        shared: whether the engine computes in the memory of the process, beside all else.
        available: bytes of memory that could be had, with all that the process holds already where
            it is shared; None where that is not known.
    """

    device: str
    dtype: str
    parameters: int
    trained: int
    blocks: int
    adapted: int
    kinds: tuple[str, ...]
    weights: int
    quantized: Mapping[str, int]
    adapter: int
    training: int
    shared: bool
    available: int | None


@dataclass
class Watch:
    """Bytes that some work held at most, beyond what was held before; known when it is over."""

    bytes: int = 0


class Engine(Protocol):
    """A frozen base model, adapters over it, and the arithmetic to train and ask them.

    One slot at most is trainable. A slot's tensors have PEFT's names, without a prefix for the
    adapter's own name: ``base_model.model.<module path>.lora_A.weight`` [rank, in] and
    ``...lora_B.weight`` [out, rank], with DoRA also ``...lora_magnitude_vector`` [out], float32.
    """

    name: str
    device: str
    recomputes: bool
    """Set after ``open``: ``accumulate`` computes again on its way back what it would have kept of
    each block, in less memory and more time (Chen et al. 2016, arXiv:1604.06174)."""

    @property
    def way(self) -> str:
        """How it computes the open model, in a few words."""

    def open(self, model: Path, dtype: str = "auto", quantization: str = "none") -> None:
        """Load the frozen weights of a Transformers folder. Raises ModelError, EngineError."""

    def outline(
        self, model: Path, spec: AdapterSpec, dtype: str = "auto", quantization: str = "none"
    ) -> Outline:
        """What ``open`` and ``attach`` would hold; reads the folder's configuration alone.

        Raises ModelError, EngineError, and AdapterError when the spec matches no module.
        """

    def sketch(self, model: Path, dtype: str, quantization: str, blocks: int) -> None:
        """Instead of ``open``: the model's first blocks with weights made up, to see what work on
        it takes."""

    def attach(
        self,
        spec: AdapterSpec,
        weights: Arrays | None = None,
        *,
        trainable: bool = False,
        seed: int = 0,
    ) -> int:
        """Add an adapter and return its slot.

        Without ``weights``: A ~ Kaiming-uniform from ``seed``, B = 0, DoRA's magnitudes the lengths
        of the frozen weight's rows, as in PEFT. Raises AdapterError when the spec matches no
        module, or the weights do not fit.
        """

    def detach(self, slot: int) -> None:
        """Free what the slot holds; its number is not given out again."""

    def adapter(self, slot: int) -> dict[str, NDArray[np.float32]]:
        """A copy of the slot's tensors, by PEFT name."""

    def load_adapter(self, slot: int, weights: Arrays) -> None:
        """Overwrite the slot's tensors (as when the best adapter is put back)."""

    def score(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Log-probability [T] of each token whose weight is not 0; 0 elsewhere. No gradient."""

    def accumulate(self, batch: TokenBatch, objective: PairObjective | None = None) -> LossSum:
        """Forward and backward of the loss under the trainable slot; adds to the gradients that are
        there.

        Without an objective the loss is cross-entropy, the weighted sum of -log p; segments under
        other slots add to it alone, not to the gradients. An objective is on segments that are all
        under the trainable slot; what is in no pair has no loss.

        Raises ValueError when none is under the trainable slot, or one of a pair is not.
        """

    def can_keep(self, slot: int, tokens: int) -> bool:
        """Whether ``keep`` would spare work, and has room for so many tokens."""

    def keep(self, batch: TokenBatch) -> None:
        """Compute what no update of the trainable slot changes, which is what enters the lowest
        block that it adapts, and keep it for later calls with the same segments."""

    def update(
        self, learning_rate: float, *, max_norm: float = 1.0, weight_decay: float = 0.0
    ) -> Update:
        """One AdamW step (betas 0.9 and 0.999, eps 1e-8) on (gradient sum / sum of trained
        weights, or pairs) since the last update, clipped to ``max_norm`` (0 = no clipping); then
        clears the gradients."""

    def generate(
        self,
        requests: Sequence[Request],
        cancelled: Container[int] = (),
        at_once: int | None = None,
    ) -> Iterator[tuple[int, int]]:
        """Stream ``(request index, token id)`` as tokens come.

        Requests run batched, ``at_once`` of them at the same time at most, or as many as the engine
        thinks well of. The caller may add indexes to ``cancelled`` meanwhile: nothing more comes of
        those requests.
        """

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Trainable adapter, optimiser moments and step, RNG: all that exact resume needs."""

    def restore(self, state: Arrays) -> None:
        """Put back what ``state`` gave."""

    def memory(self) -> Memory:
        """Bytes in use and at peak."""

    def watched(self) -> AbstractContextManager[Watch]:
        """Within: the memory that the engine's work takes is counted."""
