"""Preference pairs: one prompt, a chosen and a rejected answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from lorecraft.data import forms
from lorecraft.data.forms import Row
from lorecraft.data.records import Message, Record
from lorecraft.data.sources import files_of, reaching, read_records
from lorecraft.data.split import question
from lorecraft.errors import DataError
from lorecraft.knowledge.jsonl import MISTAKES_SHOWN, LineError
from lorecraft.knowledge.ontology import normal
from lorecraft.knowledge.rows import open_rows
from lorecraft.knowledge.strictness import Bad, strict
from lorecraft.recipe import DatasetSection, RecordsSection
from lorecraft.style.check import check
from lorecraft.style.schema import Format

EXPECTED = (
    '{"prompt": "...", "chosen": "...", "rejected": "..."}, each a text or a list of messages, or '
    'OpenAI\'s "input", "preferred_output" and "non_preferred_output"'
)
COLUMNS = frozenset(
    {"prompt", "chosen", "rejected", "input", "preferred_output", "non_preferred_output"}
    | {"system", "id", "flaw", "rule", "source"}
)


Prompt = tuple[Message, ...]


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
    prompt: Prompt
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

    def to_record(self) -> Record:
        """What a stage trains on."""
        return Record(
            id=self.id,
            messages=(*self.prompt, Message("assistant", self.chosen)),
            rejected=self.rejected,
            place=f"pair {self.id}",
        )


def read_pairs(
    section: DatasetSection,
    format: Format | None = None,
    held_out: Container[str] = (),
    bad: Bad = strict,
) -> list[Pair]:
    """The pairs of JSON lines, JSON arrays, CSV and Parquet, in TRL's form or OpenAI's.

    Without ``prompt``, ``chosen`` and ``rejected`` are whole chats that differ in the last turn;
    with it they may be whole chats too.

    Args:
        section: where they are.
        format: what every chosen answer keeps to, if given.
        held_out: the test set, which no pair may come from; see ``held_out_by``.
        bad: is told of what cannot be used; when it returns, the rest is.

    Raises:
        DataError: lines that cannot be read; or pairs whose answers are equal, whose prompts
            differ, whose chosen answer breaks the format, or that come from the test set: counted
            by what is wrong, the first 20 named.
    """
    with reaching(section):
        return _read(section, format, held_out, bad)


def _read(
    section: DatasetSection, format: Format | None, held_out: Container[str], bad: Bad
) -> list[Pair]:
    faults: list[tuple[str, str]] = []
    pairs: list[Pair] = []
    for name, file in files_of(section):

        def parse(row: Row, number: int, name: str = name) -> tuple[Pair, Prompt]:
            return parse_pair(row, f"{name}:{number}")

        left = None if section.rows is None else section.rows - len(pairs) - len(faults)
        if left == 0:
            break
        for pair, other in open_rows(file, parse, EXPECTED, COLUMNS, bad, left):
            if wrong := _fault(pair, other, format, held_out):
                faults.append((f"{name}: pair {pair.id}: {wrong[0]}{wrong[1]}", wrong[0]))
            else:
                pairs.append(pair)
    if faults:
        counts = Counter(kind for _, kind in faults)
        told = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
        more = len(faults) - MISTAKES_SHOWN
        lines = [line for line, _ in faults[:MISTAKES_SHOWN]]
        lines += [f"and {more} more"] if more > 0 else []
        count = f"{len(faults)} of {len(pairs) + len(faults)}"
        error = DataError(
            "\n".join([f"{count} pairs cannot be used ({told}):", *lines]),
            "one prompt, two different answers, a chosen one that keeps to the format, "
            "and no test record",
        )
        bad(error, "pair", len(faults))
    return pairs


def held_out_by(section: RecordsSection) -> frozenset[str]:
    """What test records are known by: their ids, and what they ask, less case and punctuation."""
    asked = {normal(question(record)) for record in read_records(section)}
    with reaching(section):
        ids = {
            known
            for _, file in files_of(section)
            for known in open_rows(file, _id, EXPECTED, {"id"})
            if known
        }
    return frozenset(asked | ids)


def _id(row: Row, number: int) -> str:
    return str(row.get("id") or "")


def _fault(
    pair: Pair, other: Prompt, format: Format | None, held_out: Container[str]
) -> tuple[str, str] | None:
    """``(what is wrong, where)``."""
    if pair.prompt != other:
        return "prompts differ", ""
    if pair.chosen.strip() == pair.rejected.strip():
        return "answers are equal", ""
    asked = normal(" ".join(turn.content for turn in pair.prompt if turn.role == "user"))
    known = [name for name in (pair.source, asked) if name and name in held_out]
    if known:
        where = f" ({known[0]})" if known[0] != asked else ", by its prompt"
        return "made from a test record", where
    if format and (broken := check(format, pair.chosen)):
        return "chosen answer breaks the format", f" ({broken[0]})"
    return None


def parse_pair(row: Row, name: str) -> tuple[Pair, Prompt]:
    """A pair, and the prompt of its rejected answer."""
    line = {key: value for key, value in row.items() if value is not None}
    if "preferred_output" in line:
        given = line.get("input")
        line["prompt"] = given.get("messages") if isinstance(given, dict) else given
        line["chosen"] = line["preferred_output"]
        if "non_preferred_output" in line:
            line["rejected"] = line["non_preferred_output"]
    for key in ("chosen", "rejected"):
        if key not in line:
            raise LineError(f"no '{key}'")
    chosen, rejected = (
        forms.turns(line[key], f"'{key}'", "assistant") for key in ("chosen", "rejected")
    )
    for key, messages in (("chosen", chosen), ("rejected", rejected)):
        if messages[-1].role != "assistant":
            raise LineError(f"'{key}' does not end with an assistant turn")
    prompt = forms.turns(line["prompt"], "'prompt'", "user") if "prompt" in line else ()
    if not prompt and len(chosen) == 1:
        raise LineError("no 'prompt'")
    if line.get("system"):
        prompt = (Message("system", forms.filled(line["system"], "'system'")), *prompt)
    pair = Pair(
        id=str(line.get("id", name)),
        prompt=_joined(prompt, chosen[:-1]),
        chosen=chosen[-1].content,
        rejected=rejected[-1].content,
        flaw=str(line.get("flaw", "")),
        rule=str(line.get("rule", "")),
        source=str(line.get("source", "")),
    )
    return pair, _joined(prompt, rejected[:-1])


def _joined(prompt: Prompt, turns: Prompt) -> Prompt:
    """The turns after the prompt, unless they begin with it."""
    return turns if prompt and turns[: len(prompt)] == prompt else prompt + turns
