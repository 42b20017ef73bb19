"""Continuous batching: a row that is finished gives its place to the next request.

``generate`` is the loop. Newcomers are computed whole, many in one pass; then every running row
gets a token a step, until so many have ended that newcomers are worth a pass again. What a step
does is in ``continuation``, where keys and values are kept in ``cache``.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from lorecraft.engines.base import Request
from lorecraft.engines.sampling import draw, draw_among, forbidden
from lorecraft.engines.torch.continuation import Continuation
from lorecraft.engines.torch.forward import Forward, Row

ROWS = 128
"""Rows of a batch: enough to keep a processor busy, few enough for a streaming first token."""
TOKENS = 2**16
"""Room in the cache of a batch, in tokens."""
ADMITTED = 2**11
"""Tokens of newcomers in one pass: about as many fill a processor, and the others wait for it."""
FREE = 8
"""Newcomers are admitted when one place of so many is free."""
LIKELY = 512
"""So many of the most probable tokens are looked at before all of them are sorted."""


class Answer:
    """A request on its way."""

    def __init__(self, index: int, request: Request) -> None:
        self.index, self.request = index, request
        self.text = list(request.tokens)
        self.random = np.random.default_rng(request.seed)

    def add(self, token: int) -> bool:
        """Whether it ends with this token."""
        self.text.append(token)
        made = len(self.text) - len(self.request.tokens)
        return token in self.request.stop or made >= self.request.max_new_tokens


def generate(
    forward: Forward,
    requests: Sequence[Request],
    cancelled: Container[int] = (),
    at_once: int | None = None,
) -> Iterator[tuple[int, int]]:
    """See ``Engine.generate``."""
    most = min(ROWS, at_once or ROWS)
    for batch in _batches([Answer(i, request) for i, request in enumerate(requests)], most):
        room = max(map(_room, batch))
        rows = min(len(batch), most, max(1, TOKENS // room))
        yield from _run(forward.begin(rows, room), rows, batch, cancelled)


def _run(
    running: Continuation, rows: int, waiting: list[Answer], cancelled: Container[int]
) -> Iterator[tuple[int, int]]:
    held: list[Answer] = []  # by place
    while True:
        newcomers: list[list[Answer]] = []
        free = rows - len(held)
        if waiting and free >= min(len(waiting), rows / FREE):
            waiting = [answer for answer in waiting if answer.index not in cancelled]
            newcomers, waiting = _next(waiting, free)
        if newcomers:
            first = len(held)
            held += [answer for same in newcomers for answer in same]
            logits = _admit(running, newcomers)
        elif held:
            first = 0
            with torch.no_grad():
                logits = running.append([answer.text[-1] for answer in held])
        else:
            return
        gone = []
        chosen = _choose(logits, held[first:])
        for place, token in enumerate(chosen, first):
            answer = held[place]
            ended = answer.add(token)
            if answer.index not in cancelled:
                yield answer.index, token
            if ended or answer.index in cancelled:
                gone.append(place)
        for place in reversed(gone):
            running.drop(place)
            held[place] = held[-1]
            del held[-1]


def _admit(running: Continuation, newcomers: list[list[Answer]]) -> Tensor:
    """Logits for each of them, in order."""
    copies = [len(same) for same in newcomers]
    rows = []
    for answer, *_ in newcomers:
        tokens = np.asarray(answer.text, np.int32)
        rows.append(Row(tokens, np.array([len(tokens) - 1]), answer.request.adapter))
    with torch.no_grad():
        logits = running.admit(rows, copies)
    return logits.repeat_interleave(torch.tensor(copies, device=logits.device), 0)


def _batches(answers: list[Answer], most: int) -> Iterator[list[Answer]]:
    """All at once, by adapter and prompt, long ones first; where the longest would cost the others
    their places, those much shorter come in a batch of their own."""
    answers = sorted(answers, key=_room, reverse=True)
    while answers:
        longest, count = _room(answers[0]), len(answers)
        if longest * min(most, count) > TOKENS:
            count = sum(2 * _room(answer) > longest for answer in answers)
        batch, answers = answers[:count], answers[count:]
        yield sorted(batch, key=_order)


def _order(answer: Answer) -> tuple[int, int, list[int]]:
    return answer.request.adapter, -len(answer.text), answer.text


def _room(answer: Answer) -> int:
    return len(answer.request.tokens) + answer.request.max_new_tokens


def _next(waiting: list[Answer], free: int) -> tuple[list[list[Answer]], list[Answer]]:
    """Those who come next, the same prompts under the same adapter together, and the others."""
    found: list[list[Answer]] = []
    tokens = count = 0
    for _, same in groupby(waiting, key=_order):
        group = list(same)[: free - count]
        if not group or (found and tokens + len(group[0].text) > ADMITTED):
            break
        found.append(group)
        tokens, count = tokens + len(group[0].text), count + len(group)
    return found, waiting[count:]


def _choose(logits: Tensor, answers: Sequence[Answer]) -> list[int]:
    banned = [(row, t) for row, a in enumerate(answers) for t in forbidden(a.request, a.text)]
    if banned:
        rows, tokens = torch.tensor(banned, device=logits.device).T
        logits[rows, tokens] = -torch.inf
    chosen: list[int] = logits.max(-1).indices.tolist()  # argmax is four times as slow in bf16
    drawn = [row for row, answer in enumerate(answers) if answer.request.temperature > 0]
    if drawn:
        tokens = _draw(logits[drawn], [answers[row] for row in drawn])
        for row, token in zip(drawn, tokens, strict=True):
            chosen[row] = token
    return chosen


def _draw(logits: Tensor, answers: Sequence[Answer]) -> list[int]:
    """From the most probable tokens, of which alone the probabilities leave the device; a row that
    they do not suffice for is sorted whole."""
    heat = torch.tensor([a.request.temperature for a in answers], device=logits.device)
    scaled = logits.float() / heat[:, None]
    highest, tokens = scaled.topk(min(LIKELY, scaled.shape[1]))
    probability = (highest - scaled.logsumexp(-1, keepdim=True)).exp()
    likely, ids = probability.cpu().double().numpy(), tokens.cpu().numpy()
    chosen = []
    for row, answer in enumerate(answers):
        uniform = answer.random.random()
        found = draw_among(likely[row], scaled.shape[1], answer.request, uniform)
        if found is None:
            chosen.append(draw(logits[row].float().cpu().numpy(), answer.request, uniform))
        else:
            chosen.append(int(ids[row, found]))
    return chosen
