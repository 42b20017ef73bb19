"""The choice of the next token where it is not the most probable one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw(
    logits: NDArray[np.floating], temperature: float, top_p: float, random: np.random.Generator
) -> int:
    """A token drawn from softmax(logits / temperature), within the smallest set of tokens whose
    probability reaches ``top_p`` (nucleus sampling, Holtzman et al. 2020).

    One uniform number is taken from ``random``, whatever the batch around this request is.
    """
    scaled = logits.astype(np.float64) / temperature
    probability = np.exp(scaled - scaled.max())
    order = np.argsort(-probability, kind="stable")
    cumulative = np.cumsum(probability[order])
    nucleus = int(np.searchsorted(cumulative, top_p * cumulative[-1])) + 1
    cumulative = cumulative[:nucleus]
    at = np.searchsorted(cumulative, random.random() * cumulative[-1], side="right")
    return int(order[min(int(at), len(cumulative) - 1)])
