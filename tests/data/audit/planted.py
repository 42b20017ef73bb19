"""Records for the tests of the audit: some that have nothing in common, and what is found."""

from __future__ import annotations

import random
from typing import Any

from lorecraft.data.audit.audit import Audit

Row = dict[str, Any]
TEXT = (
    "stone river lantern harbour wheel copper meadow winter signal engine bridge letter garden "
    "market silver paper window kettle ladder orchard needle thunder pillow basket mirror"
)
WORDS = TEXT.split()


def chat(*turns: str, **columns: Any) -> Row:
    """Turns of user and assistant in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]
    return {"messages": messages, **columns}


def clean(count: int = 40, seed: int = 0) -> list[Row]:
    """Chats that have nothing in common."""
    draw = random.Random(seed)
    return [
        chat(
            f"{' '.join(draw.choices(WORDS, k=9))}, what of it?",
            f"{' '.join(draw.choices(WORDS, k=12))}.",
        )
        for _ in range(count)
    ]


def found(audit: Audit, check: str) -> list[tuple[str, list[str]]]:
    """Each finding of a check: its sentence, and all places of its first spot."""
    return [
        (
            finding.text,
            [audit.rows.place(i) for i in finding.spots[0].rows] if finding.spots else [],
        )
        for finding in audit.findings
        if finding.check == check
    ]
