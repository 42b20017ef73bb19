"""What a LoRA adapter is, apart from its numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

ALL = "all-linear"


@dataclass(frozen=True)
class AdapterSpec:
    """LoRA (Hu et al. 2021, arXiv:2106.09685): ``y = (W + s B A) x + bias``, with the names and the
    meaning that PEFT gives.

    Attributes:
        rank: columns of ``B`` and rows of ``A``; at least 1.
        alpha: the scale ``s`` is alpha / rank.
        dropout: probability of dropping an input feature of ``A`` while training.
        targets: names of linear modules (``("q_proj", "v_proj")``), a regular expression for their
            whole paths, or ``ALL``: every linear of the decoder blocks.
        layers: ``all``, or how many of the last blocks are adapted.
        rslora: the scale is alpha / sqrt(rank) (Kalajdzievski 2023, arXiv:2312.03732).
        dora: every row of ``W + s B A`` is brought to a length ``m`` that is learned too (Liu et
            al. 2024, arXiv:2402.09353); its length before is taken for a constant in the gradient.
        rank_pattern, alpha_pattern: other ranks and alphas for some modules, by a name or a regular
            expression for the end of the path; the first that matches counts.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] | str = ALL
    layers: int | str = "all"
    rslora: bool = False
    dora: bool = False
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)

    def rank_of(self, path: str) -> int:
        """The rank at a module's path."""
        return next((r for p, r in self.rank_pattern.items() if ends(path, p)), self.rank)

    def scale_of(self, path: str) -> float:
        """What ``B A`` is multiplied by at a module's path."""
        alpha = next((a for p, a in self.alpha_pattern.items() if ends(path, p)), self.alpha)
        rank = self.rank_of(path)
        return alpha / (math.sqrt(rank) if self.rslora else rank)

    def adapts(self, path: str) -> bool:
        """Whether ``targets`` name the linear module at ``path``."""
        if isinstance(self.targets, str):
            return self.targets == ALL or re.fullmatch(self.targets, path) is not None
        return any(is_called(path, target) for target in self.targets)


def is_called(path: str, name: str) -> bool:
    """Whether a module's path is, or ends with, a name."""
    return path == name or path.endswith("." + name)


def ends(path: str, pattern: str) -> bool:
    """Whether a pattern of PEFT's is for a module: a name, or a regular expression, at its end."""
    return re.match(rf"(.*\.)?({pattern})$", path) is not None


def unmatched(patterns: Collection[str], paths: Collection[str]) -> list[str]:
    """The patterns that are for none of the paths."""
    return [pattern for pattern in patterns if not any(ends(path, pattern) for path in paths)]
