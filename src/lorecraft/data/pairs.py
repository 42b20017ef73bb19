"""Preference pairs: one prompt, a chosen and a rejected answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorecraft.data.forms import turns
from lorecraft.data.records import Message
from lorecraft.errors import DataError
from lorecraft.knowledge.jsonl import MISTAKES_SHOWN, LineError, read_lines
from lorecraft.style.check import check
from lorecraft.style.schema import Format

EXPECTED = (
    '{"prompt": "...", "chosen": "...", "rejected": "..."}, each a text or a list of messages, '
    "one object a line"
)


@dataclass(frozen=True)
class Pair:
    """Two answers to the same prompt.

    Attributes:
        id: unique in its file.
        prompt: the turns before the answers.
        chosen: the better answer.
        rejected: the worse one.
        flaw: what is wrong with it, if that is known.
        rule: the rule of the format that it breaks; ``""`` for a flaw that no checker sees.
        source: id of the record that the pair was made from.
    """

    id: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    flaw: str = ""
    rule: str = ""
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        """The form that TRL reads, plus our ledger."""
        return {
            "prompt": [{"role": m.role, "content": m.content} for m in self.prompt],
            "chosen": [{"role": "assistant", "content": self.chosen}],
            "rejected": [{"role": "assistant", "content": self.rejected}],
            "id": self.id,
            "flaw": self.flaw,
            "rule": self.rule,
            "source": self.source,
        }


def read_pairs(
    path: Path, format: Format | None = None, held_out: Container[str] = ()
) -> list[Pair]:
    """The pairs of a JSON-lines file.

    Without ``prompt``, ``chosen`` and ``rejected`` are whole chats that differ in the last turn.

    Args:
        path: the file.
        format: what every chosen answer keeps to, if given.
        held_out: ids of the test set, which no pair may come from.

    Raises:
        DataError: lines that cannot be read; or pairs whose answers are equal, whose prompts
            differ, whose chosen answer breaks the format, or that come from the test set: counted
            by what is wrong, the first 20 named.
    """

    def parse(line: dict[str, Any], number: int) -> tuple[Pair, tuple[Message, ...]]:
        return parse_pair(line, f"{path.name}:{number}")

    faults: list[tuple[str, str]] = []
    pairs = []
    for pair, other in read_lines(path, parse, EXPECTED):
        pairs.append(pair)
        if wrong := _fault(pair, other, format, held_out):
            faults.append((f"{path.name}: pair {pair.id}: {wrong[0]}{wrong[1]}", wrong[0]))
    if faults:
        counts = Counter(kind for _, kind in faults)
        told = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
        more = len(faults) - MISTAKES_SHOWN
        lines = [line for line, _ in faults[:MISTAKES_SHOWN]]
        lines += [f"and {more} more"] if more > 0 else []
        raise DataError(
            "\n".join([f"{len(faults)} of {len(pairs)} pairs cannot be used ({told}):", *lines]),
            "one prompt, two different answers, a chosen one that keeps to the format, "
            "and no test record",
        )
    return pairs


def _fault(
    pair: Pair, other: tuple[Message, ...], format: Format | None, held_out: Container[str]
) -> tuple[str, str] | None:
    """``(what is wrong, where)``."""
    if pair.prompt != other:
        return "prompts differ", ""
    if pair.chosen.strip() == pair.rejected.strip():
        return "answers are equal", ""
    if pair.source and pair.source in held_out:
        return "made from a test record", f" ({pair.source})"
    if format and (broken := check(format, pair.chosen)):
        return "chosen answer breaks the format", f" ({broken[0]})"
    return None


def parse_pair(line: dict[str, Any], name: str) -> tuple[Pair, tuple[Message, ...]]:
    """A pair, and the prompt of its rejected answer."""
    for key in ("chosen", "rejected"):
        if key not in line:
            raise LineError(f"no '{key}'")
    chosen, rejected = (turns(line[key], f"'{key}'", "assistant") for key in ("chosen", "rejected"))
    for key, messages in (("chosen", chosen), ("rejected", rejected)):
        if messages[-1].role != "assistant":
            raise LineError(f"'{key}' does not end with an assistant turn")
    prompt = turns(line["prompt"], "'prompt'", "user") if "prompt" in line else ()
    if not prompt and len(chosen) == 1:
        raise LineError("no 'prompt'")
    pair = Pair(
        id=str(line.get("id", name)),
        prompt=prompt + chosen[:-1],
        chosen=chosen[-1].content,
        rejected=rejected[-1].content,
        flaw=str(line.get("flaw", "")),
        rule=str(line.get("rule", "")),
        source=str(line.get("source", "")),
    )
    return pair, prompt + rejected[:-1]
