"""How a run tells that it goes on; the command line draws it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

TROUBLE = {
    "nan": "the loss of step {step} was {loss}; back to step {back_to}, at {rate_scale} times the "
    "learning rate; the records: {records}",
    "memory": "not enough memory at step {step}; from then on each batch in {pieces} pieces",
    "unlearning": "by step {step} the chosen answers have become less likely than they were before "
    "the stage, by {fallen} nats an answer (log-probability {chosen} now): it is unlearning them; "
    "preference.sft, a higher preference.beta or a lower learning_rate holds against that",
    "passed_over": "checkpoint {checkpoint} {why}; passed over",
}


def trouble(kind: str, event: Mapping[str, Any]) -> str | None:
    """An event that a person should know of, in words; None for every other kind."""
    if kind not in TROUBLE:
        return None
    return TROUBLE[kind].format(**{**event, "records": ", ".join(event.get("records", ()))})


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
