"""What a LoRA adapter is, apart from its numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AdapterSpec:
    """LoRA (Hu et al. 2021, arXiv:2106.09685): ``y = W x + alpha / rank * B A x``.

    Attributes:
        rank: columns of ``B`` and rows of ``A``; at least 1.
        alpha: numerator of the scale.
        dropout: probability of dropping an input feature of ``A`` while training.
        targets: names of linear modules (``("q_proj", "v_proj")``), or ``("all-linear",)``: every
            linear of the decoder blocks.
        layers: ``all``, or how many of the last blocks are adapted.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("all-linear",)
    layers: int | str = "all"

    @property
    def scale(self) -> float:
        return self.alpha / self.rank
