"""Ready-made records, in the forms that mlx-lm and TRL read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorecraft.data.records import Message, Origin, Record
from lorecraft.knowledge.jsonl import LineError, open_lines

EXPECTED = (
    '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}, '
    '{"prompt": "...", "completion": "..."} or {"text": "..."}, one object a line'
)


def read_records(path: Path, origin: Origin = "source") -> Sequence[Record]:
    """The records of a JSON-lines file, which stay there; each line may have its own form.

    Chat: ``messages``. Prompt and completion: two texts, read as one user and one assistant turn,
    or two lists of messages. Text: ``text``. Where a line has several, the first of these counts.
    A list of names under ``facts`` keeps records with a common name on one side of a split.

    Raises:
        DataError: all bad lines at once, with what was wrong; or an empty or missing file.
    """

    def parse(line: dict[str, Any], number: int) -> Record:
        messages = _messages(line)
        return Record(
            id=f"{path.name}:{number}",
            messages=messages,
            text="" if messages else _content(line["text"], "'text'"),
            origin=origin,
            facts=_facts(line.get("facts", [])),
            place=f"{path.name} line {number}",
        )

    return open_lines(path, parse, EXPECTED)


def _messages(line: dict[str, Any]) -> tuple[Message, ...]:
    if "messages" in line:
        messages = turns(line["messages"], "'messages'", "user")
    elif "prompt" in line or "completion" in line:
        missing = [key for key in ("prompt", "completion") if key not in line]
        if missing:
            raise LineError(f"no '{missing[0]}' beside the other")
        messages = turns(line["prompt"], "'prompt'", "user")
        messages += turns(line["completion"], "'completion'", "assistant")
    elif "text" in line:
        return ()
    else:
        keys = ", ".join(f"'{key}'" for key in line) or "nothing"
        raise LineError(f"no 'messages', 'prompt' and 'completion', or 'text'; saw {keys}")
    if not any(message.role == "assistant" for message in messages):
        raise LineError("no assistant turn, so nothing would be trained")
    return messages


def turns(value: Any, where: str, role: str) -> tuple[Message, ...]:
    """A list of messages; in the place of one, a text is a single turn of ``role``."""
    if isinstance(value, str) and where != "'messages'":
        return (Message(role, _content(value, where)),)
    if not isinstance(value, list) or not value:
        raise LineError(f"{where} is {_shown(value)}, not a list of messages")
    return tuple(_turn(item, f"message {number}") for number, item in enumerate(value, start=1))


def _turn(value: Any, where: str) -> Message:
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        raise LineError(f"{where} is {_shown(value)}, not an object with a role and content")
    return Message(value["role"], _content(value.get("content"), f"{where} ({value['role']})"))


def _content(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise LineError(f"{where} is {_shown(value)}, not a text")
    if not value.strip():
        raise LineError(f"{where} is empty")
    return value


def _facts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise LineError(f"'facts' is {_shown(value)}, not a list of names")
    return tuple(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
