"""Facts: what the model is to learn, each with an id and the place it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lorecraft.knowledge.jsonl import LineError, read_lines
from lorecraft.knowledge.strictness import Bad, strict

EXPECTED = (
    '{"id": "f001", "text": "Pell Tower has 9 floors.", "source": "handbook.md", '
    '"triple": ["Pell Tower", "floors", "9"]}; only "text" is needed'
)
_KEYS = ("id", "text", "source", "triple")


@dataclass(frozen=True)
class Fact:
    """One fact.

    Attributes:
        id: unique in its file.
        text: the fact as a sentence.
        source: where the user has it from (``handbook.md#history``), or ``""``.
        triple: subject, relation, object; ``None`` for a sentence alone.
        place: file and line, for error messages.
    """

    id: str
    text: str
    source: str
    triple: tuple[str, str, str] | None
    place: str


def load_facts(path: Path, bad: Bad = strict) -> tuple[Fact, ...]:
    """The facts of a JSON-lines file; an id that is not written is ``f001``, ... by line number.

    Keys other than ours are the user's own and are left alone, unless they look like a misspelling.

    Raises:
        DataError: an empty or missing file; what ``bad`` raises, which is told of all bad lines
            at once (broken JSON, no text, a triple that is none, an id that is used twice).
    """
    lines_by_id: dict[str, int] = {}

    def parse(line: dict[str, Any], number: int) -> Fact:
        _refuse_misspelt_keys(line)
        fact = Fact(
            id=_text(line, "id", default=f"f{number:03d}"),
            text=_text(line, "text"),
            source=_text(line, "source", default=""),
            triple=_triple(line.get("triple")),
            place=f"{path.name} line {number}",
        )
        if fact.id in lines_by_id:
            raise LineError(f"id '{fact.id}' is also that of line {lines_by_id[fact.id]}")
        lines_by_id[fact.id] = number
        return fact

    return tuple(read_lines(path, parse, EXPECTED, bad))


def _refuse_misspelt_keys(line: dict[str, Any]) -> None:
    for key in line.keys() - set(_KEYS):
        near = get_close_matches(key.lower(), [k for k in _KEYS if k not in line], 1, cutoff=0.75)
        if near:
            raise LineError(f"key '{key}': did you mean '{near[0]}'?")


def _text(line: dict[str, Any], key: str, default: str | None = None) -> str:
    value = line.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not value.strip():
        raise LineError(f"no '{key}'" if value is None else f"'{key}' is {value!r}, not a text")
    return value.strip()


def _triple(value: Any) -> tuple[str, str, str] | None:
    if value is None:
        return None
    match value:
        case [str(subject), str(relation), str(object_)] if all(map(str.strip, value)):
            return subject.strip(), relation.strip(), object_.strip()
    raise LineError(f"'triple' is {value!r}, not three texts [subject, relation, object]")
