"""The learning rate at each step."""

from __future__ import annotations

import math

from lorecraft.recipe.schema import StageSection


def learning_rate(step: int, total: int, settings: StageSection, time_share: float = 0.0) -> float:
    """The rate of step ``step`` (from 0) of ``total``.

    It rises linearly over the warm-up, reaching the full rate at its last step, and then falls
    along half a cosine or a line to 0, or stays.

    Args:
        time_share: how much of the time that the stage has is spent, 0 to 1. Where that is more
            than the share of the steps, it is what the rate falls by: a stage that its deadline
            will end shall end with a low rate too.
    """
    warm = round(settings.warmup * total)
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    share = max((step - warm) / max(1, total - warm), min(1.0, time_share))
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 + math.cos(math.pi * share)) / 2
    if settings.schedule == "linear":
        return settings.learning_rate * (1 - share)
    return settings.learning_rate
