"""Batched generation: requests sorted into like rows, finished rows dropped on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from lorecraft.engines.base import Request
from lorecraft.engines.sampling import draw
from lorecraft.engines.torch.forward import Forward, Row

ROWS = 128
"""Rows of a batch: enough to keep a processor busy, few enough for a streaming first token."""
TOKENS = 2**16
"""Room in the cache of a batch, in tokens."""


def generate(forward: Forward, requests: Sequence[Request]) -> Iterator[tuple[int, int]]:
    """See ``Engine.generate``. Batches hold neighbours in (adapter, prompt length)."""
    order = sorted(
        range(len(requests)), key=lambda i: (requests[i].adapter, len(requests[i].tokens))
    )
    while order:
        count = _fitting([requests[index] for index in order[:ROWS]])
        batch, order = order[:count], order[count:]
        for row, token in _continue(forward, [requests[index] for index in batch]):
            yield batch[row], token


def _fitting(requests: Sequence[Request]) -> int:
    longest = 0
    for count, request in enumerate(requests):
        longest = max(longest, len(request.tokens) + request.max_new_tokens)
        if count and longest * (count + 1) > TOKENS:
            return count
    return len(requests)


def _continue(forward: Forward, requests: Sequence[Request]) -> Iterator[tuple[int, int]]:
    rows = [
        Row(np.asarray(r.tokens, np.int32), np.array([len(r.tokens) - 1]), r.adapter)
        for r in requests
    ]
    randoms = [np.random.default_rng(request.seed) for request in requests]
    left = [request.max_new_tokens for request in requests]
    with torch.no_grad():
        running = forward.begin(rows, max(left))
    held = list(range(len(requests)))  # which request each row of the batch continues
    while True:
        logits = running.logits()
        chosen = _choose(logits, [requests[i] for i in held], [randoms[i] for i in held])
        for index, token in zip(held, chosen, strict=True):
            if left[index] > 0:
                yield index, token
                left[index] = 0 if token in requests[index].stop else left[index] - 1
        alive = [row for row, index in enumerate(held) if left[index] > 0]
        if not alive:
            return
        tokens = torch.tensor(chosen, device=logits.device)
        with torch.no_grad():
            if 2 * len(alive) <= len(held):
                kept = torch.tensor(alive, device=logits.device)
                running.keep(kept)
                held, tokens = [held[row] for row in alive], tokens[kept]
            running.append(tokens)


def _choose(
    logits: Tensor, requests: Sequence[Request], randoms: Sequence[np.random.Generator]
) -> list[int]:
    chosen: list[int] = logits.argmax(-1).tolist()
    for row, request in enumerate(requests):
        if request.temperature > 0:
            values = logits[row].float().cpu().numpy()
            chosen[row] = draw(values, request.temperature, request.top_p, randoms[row])
    return chosen
