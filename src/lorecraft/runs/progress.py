"""How a run tells that it goes on; the command line draws it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Bar(Protocol):
    """One piece of long work."""

    def advance(self, amount: int, **figures: float | str) -> None:
        """``amount`` more units are done; ``figures`` are shown beside (loss, tokens/s)."""


class Progress(Protocol):
    """Where a run reports what it does."""

    def note(self, text: str) -> None:
        """A line that stays."""

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Bar]:
        """Work of ``total`` units begins; it ends with the context."""


class Silent:
    """Progress that nobody looks at."""

    def note(self, text: str) -> None:
        return

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Bar]:
        return nullcontext(self)

    def advance(self, amount: int, **figures: float | str) -> None:
        return
