"""The head: logits only where there is loss, a few rows at a time, and their gradient directly."""

from __future__ import annotations

import torch
from torch import Tensor

PRODUCT = 2**24
"""Elements of the logits that are held at once (32 MiB in bf16)."""
EXACT = 2**22
"""Of these, so many are in fp32 at once on a CPU: few enough for its cache."""


def learn(h: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """log p(target), float32 [N], and the gradient [N, H] of the weighted sum of -log p.

    Takes h [N, H] and the head [V, H], both in one dtype, targets int64 [N], weights float32 [N].
    """
    logs, dh = [], torch.empty_like(h)
    step = max(1, PRODUCT // len(head))
    room = h.new_empty(min(step, len(h)), len(head))
    for first in range(0, len(h), step):
        part = slice(first, first + step)
        logits = torch.mm(h[part], head.t(), out=room[: len(h[part])])
        log, gradient = cross_entropy(logits, targets[part], weights[part], out=logits)
        logs.append(log)
        torch.mm(gradient, head, out=dh[part])
    return torch.cat(logs), dh


def score(h: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """log p(target), float32 [N]; of the same arguments."""
    step = max(1, PRODUCT // len(head))
    parts = zip(h.split(step), targets.split(step), strict=True)
    return torch.cat([log_probability(some @ head.t(), target) for some, target in parts])


def cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """log p(target), float32 [N], and the gradient [N, V] of the weighted sum of -log p, in the
    logits' dtype.

    Takes logits [N, V], targets int64 [N], weights float32 [N]; ``out`` may be the logits.
    """
    logs = torch.empty(len(logits), device=logits.device)
    gradient = torch.empty_like(logits) if out is None else out
    step = max(1, (EXACT if logits.device.type == "cpu" else PRODUCT) // logits.shape[1])
    room = torch.empty(min(step, len(logits)), logits.shape[1], device=logits.device)
    for first in range(0, len(logits), step):
        part = slice(first, first + step)
        exact = room[: len(logits[part])].copy_(logits[part])
        target, weight = targets[part, None], weights[part, None]
        wanted, highest = exact.gather(1, target), exact.amax(1, keepdim=True)
        torch.softmax(exact, 1, out=exact)
        # Of the likeliest token alone it is sure that its probability is not rounded to 0.
        logs[part] = (wanted - highest + exact.amax(1, keepdim=True).log_())[:, 0]
        exact.scatter_add_(1, target, torch.full_like(weight, -1.0))
        gradient[part] = exact.mul_(weight)
    return logs, gradient


def log_probability(logits: Tensor, targets: Tensor) -> Tensor:
    """log p(target), float32 [N]."""
    step = max(1, EXACT // logits.shape[1])
    parts = zip(logits.split(step), targets.split(step), strict=True)
    return torch.cat(
        [some.float().log_softmax(1).gather(1, target[:, None])[:, 0] for some, target in parts]
    )
