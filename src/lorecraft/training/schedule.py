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
            than the share of the steps, the rate follows it: a stage that its deadline will end
            shall rise and end with a low rate too.
    """
    warm = round(settings.warmup * total)
    if step < warm and time_share < settings.warmup:
        rise = max((step + 1) / warm, time_share / settings.warmup)
        return settings.learning_rate * min(1.0, rise)
    by_steps = (step - warm) / max(1, total - warm)
    by_time = (time_share - settings.warmup) / max(1e-9, 1 - settings.warmup)
    share = min(1.0, max(by_steps, by_time))
    if settings.schedule == "cosine":
        return settings.learning_rate * (1 + math.cos(math.pi * share)) / 2
    if settings.schedule == "linear":
        return settings.learning_rate * (1 - share)
    return settings.learning_rate
