"""Cross-entropy with its gradient written directly, in fp32, a few rows at a time."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 2**24
"""Elements of the logits that are held in fp32 at once (64 MiB)."""


def _chunks(logits: Tensor) -> range:
    return range(0, len(logits), max(1, CHUNK // logits.shape[1]))


def cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> tuple[float, Tensor]:
    """Weighted sum of -log p(target) in nats, and its gradient [N, V] in the logits' dtype.

    Takes logits [N, V], targets int64 [N], weights float32 [N].
    """
    total = torch.zeros((), dtype=torch.float64, device="cpu")
    gradient = torch.empty_like(logits)
    chunks = _chunks(logits)
    for first in chunks:
        part = slice(first, first + chunks.step)
        log = logits[part].float().log_softmax(-1)
        target, weight = targets[part, None], weights[part, None]
        total -= (log.gather(1, target) * weight).sum().double().cpu()
        slope = log.exp_()
        slope.scatter_add_(1, target, torch.full_like(weight, -1.0))
        gradient[part] = slope.mul_(weight)
    return float(total), gradient


def log_probability(logits: Tensor, targets: Tensor) -> Tensor:
    """log p(target), float32 [N]."""
    result = torch.empty(len(logits), device=logits.device)
    chunks = _chunks(logits)
    for first in chunks:
        part = slice(first, first + chunks.step)
        log = logits[part].float().log_softmax(-1)
        result[part] = log.gather(1, targets[part, None])[:, 0]
    return result
