"""How long a stage may last: its steps, its tokens, its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lorecraft.recipe.schema import StageLimits

Curve = list[dict[str, float]]

GRACE = 10.0
"""Seconds that a validation may last beyond the end; then it is given up."""


@dataclass
class StageProgress:
    """How far a stage is: what a checkpoint holds besides arrays."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    rate_scale: float = 1.0
    bad_steps: int = 0
    since_bad: int = 0
    good_step: int = 0
    pieces: int = 1
    keeps: bool = False
    validation_seconds: float = 0.0
    saving_seconds: float = 0.0
    validated: int = -1
    unlearning: bool = False
    stopped_by: str = ""
    stopping: dict[str, Any] = field(default_factory=dict)
    curves: Curve = field(default_factory=list)


class Limits:
    """When to stop, by the tokens and the time that a stage has spent.

    Attributes:
        end: when this process has to be done with the stage, by the clock.
    """

    def __init__(self, limits: StageLimits, seconds: float, clock: Callable[[], float]) -> None:
        self._limits, self._clock = limits, clock
        self._began = self._ticked = clock()
        self._slowest = 0.0
        self.end = self._began + seconds
        self.begin(StageProgress())

    def begin(self, progress: StageProgress) -> None:
        """Count on what is done already."""
        self._progress, self._spent = progress, progress.seconds
        if self._limits.minutes is not None:
            self.end = min(self.end, self._began + 60 * self._limits.minutes - self._spent)

    def tick(self) -> None:
        """Add the time since the last tick to the stage's."""
        now = self._clock()
        self._progress.seconds += now - self._ticked
        self._ticked = now

    def stepped(self, seconds: float) -> None:
        """A step has taken so long."""
        self._slowest = max(self._slowest, seconds)

    def over(self) -> str:
        """``tokens`` when they are spent; ``deadline`` when a further step would leave too little
        time for the last validation and for saving; else ``""``."""
        tokens = self._limits.tokens
        if tokens is not None and self._progress.tokens >= tokens:
            return "tokens"
        return "deadline" if self._clock() + self._slowest + self._reserve() > self.end else ""

    def passed(self) -> bool:
        """Whether even the grace after the end is over."""
        return self._clock() > self.end + GRACE

    def left(self) -> float:
        """Seconds from the last tick to the end."""
        return self.end - self._ticked

    def share(self) -> float:
        """How much of its tokens or of its time the stage has spent, whichever is more."""
        by_tokens = self._progress.tokens / self._limits.tokens if self._limits.tokens else 0.0
        room = self.end - self._reserve() - self._began + self._spent
        return max(by_tokens, self._progress.seconds / room if room > 0 else 1.0)

    def _reserve(self) -> float:
        """Seconds that the end of the stage will take: one validation, and saving twice."""
        return 1.2 * (self._progress.validation_seconds + 2 * self._progress.saving_seconds)
