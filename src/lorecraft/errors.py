"""Errors that a user can act on: what was seen, what was expected, what to do next.

LorecraftError        exit code 2, printed without a traceback
├── RecipeError       a recipe that cannot be run; all its mistakes at once
├── FormatError       a format that cannot be read, or that no text is known to meet
├── DataError         a record, a fact or an ontology that cannot be used: file and line
├── ModelError        a checkpoint or tokenizer that is missing, broken or unsuitable
├── AdapterError      an adapter that does not fit its model, or cannot be read
├── EngineError       an engine that is not installed or cannot run this model
│   └── OutOfMemory   memory does not suffice
└── RunError          a run directory that is missing, busy or belongs to another recipe
"""

from __future__ import annotations


class LorecraftError(Exception):
    """Something the user can mend.

    Args:
        seen: what was found, with its place (``"facts.jsonl line 7: broken JSON"``).
        expected: what would have been right.
        fix: what to do next, if that is not plain from ``expected``.
    """

    exit_code = 2

    def __init__(self, seen: str, expected: str = "", fix: str = "") -> None:
        self.seen, self.expected, self.fix = seen, expected, fix
        lines = [seen]
        if expected:
            lines.append(f"  expected: {expected}")
        if fix:
            lines.append(f"  try: {fix}")
        super().__init__("\n".join(lines))


class RecipeError(LorecraftError):
    """A recipe that cannot be run."""


class FormatError(LorecraftError):
    """A format that cannot be read, or that no text is known to meet."""


class DataError(LorecraftError):
    """A record, fact or ontology that cannot be used."""


class ModelError(LorecraftError):
    """A checkpoint or tokenizer that is missing, broken or unsuitable."""


class AdapterError(LorecraftError):
    """An adapter that does not fit its model, or cannot be read."""


class EngineError(LorecraftError):
    """An engine that is not installed, or cannot run this model."""


class OutOfMemory(EngineError):
    """Memory does not suffice for what was asked at once."""


class RunError(LorecraftError):
    """A run directory that is missing, busy or belongs to another recipe."""
