"""When a stage has learned what it can, by its validation error."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Stopping:
    """Watches the validation errors of a stage (or any measure that should fall).

    ``best`` is the lowest so far, whatever the margin: its adapter is the one that is kept.
    Patience counts the validations since the error last fell by at least ``min_delta``.
    """

    patience: int | None
    min_delta: float
    best: float | None = None
    best_step: int = 0
    mark: float | None = None
    waited: int = 0

    def observe(self, error: float, step: int) -> bool:
        """Take in a validation; true when it is the best so far, which only a finite error can
        be."""
        if not math.isfinite(error):
            self.waited += 1
            return False
        if self.mark is None or error < self.mark - self.min_delta:
            self.mark, self.waited = error, 0
        else:
            self.waited += 1
        if self.best is not None and error >= self.best:
            return False
        self.best, self.best_step = error, step
        return True

    @property
    def exhausted(self) -> bool:
        """Patience has run out."""
        return self.patience is not None and self.waited >= self.patience
