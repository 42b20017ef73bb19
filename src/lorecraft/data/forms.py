"""The forms of ready-made records, told by their columns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from lorecraft.data.records import Message
from lorecraft.knowledge.jsonl import LineError
from lorecraft.recipe import RecordsSection
from lorecraft.recipe.values import COLUMN, fields_of

Row = Mapping[str, Any]
Content = tuple[tuple[Message, ...], str]
"""The turns of a chat, or a plain text."""

EXPECTED = (
    'the columns "messages", "conversations", "prompt" and "completion", "instruction" and '
    '"output", or "text"'
)
UNKNOWN = "none of the columns that tell a form"
FIX = 'name your columns in the recipe: {path: ..., prompt: "{question}", completion: "{answer}"}'
COLUMNS = frozenset(
    {"messages", "conversations", "conversation", "system", "tools", "prompt", "completion"}
    | {"label", "chosen", "rejected", "input", "preferred_output", "non_preferred_output"}
    | {"instruction", "output", "history", "text", "facts"}
)
"""All columns that any form has, and that of our ledger."""

_HALF = re.compile("[\ud800-\udfff]")
_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "developer": "system",
}
_TOOL_ROLES = ("tool", "function", "function_call", "observation", "tool_call", "tool_response")
_NO_PREFERENCES = "a preference record, which is for a dpo stage: name its file in data.pairs"
_NO_LABELS = "an answer labelled good or bad, which no stage trains on (KTO); pairs are"
_NO_TOOLS = "tool calls, which no stage trains on yet"


def content(row: Row) -> Content:
    """What a row says. Where it has the columns of several forms, the first of these counts:

    - chat (mlx-lm, TRL, OpenAI): ``messages``, each ``role`` and ``content``
    - ShareGPT: ``conversations``, each ``from`` and ``value``; a ``system`` before them
    - preference (TRL ``chosen`` and ``rejected``; OpenAI ``preferred_output``; ``label``): refused,
      see ``pairs``
    - prompt and completion: texts, or lists of messages
    - Alpaca: ``instruction``, ``input``, ``output``; ``system``, ``history``
    - text

    A column without a value is none. Raises LineError, also for tool calls, and where no turn would
    be trained.
    """
    messages, text = said(row)
    return (_answered(messages) if messages else messages), text


def said(row: Row) -> Content:
    """As ``content``, whether any turn would be trained or not."""
    row = {name: value for name, value in row.items() if value is not None}
    for column, read in _FORMS.items():
        if column in row:
            messages = read(row)
            break
    else:
        if "text" in row:
            return (), filled(row["text"], "'text'")
        raise LineError(f"{UNKNOWN}; saw {_listed(row)}")
    if row.get("tools"):
        raise LineError(_NO_TOOLS)
    return messages, ""


def mapped(row: Row, section: RecordsSection) -> Content:
    """What a row says under the templates of a recipe. Raises LineError."""
    if section.text:
        return (), filled(render(section.text, row), "'text'")
    if section.messages:
        return _answered(_turns(render(section.messages, row), f"'{section.messages}'")), ""
    parts = (
        ("system", section.system),
        ("user", section.prompt),
        ("assistant", section.completion),
    )
    return tuple(
        Message(role, filled(render(template, row), f"the {role}'s turn"))
        for role, template in parts
        if template
    ), ""


def render(template: str, row: Row) -> Any:
    """A template with the row's values; that of a column alone as it is. Raises LineError."""
    columns = fields_of(template)
    for name in columns:
        if name not in row:
            near = get_close_matches(name, list(row), 1)
            hint = f"did you mean '{near[0]}'?" if near else f"saw {_listed(row)}"
            raise LineError(f"no column '{name}'; {hint}")
        if row[name] is None:
            raise LineError(f"column '{name}' is empty")
    if isinstance(row.get(template[1:-1]), list):
        return row[template[1:-1]]
    for name in columns:
        if not isinstance(row[name], str | int | float):
            raise LineError(f"column '{name}' is {_shown(row[name])}, not a text")
    return re.sub(COLUMN, lambda column: str(row[column[1]]), template)


def _chat(row: Row) -> tuple[Message, ...]:
    return _turns(row["messages"], "'messages'")


def _sharegpt(row: Row) -> tuple[Message, ...]:
    system = (Message("system", filled(row["system"], "'system'")),) if row.get("system") else ()
    name = "conversations" if "conversations" in row else "conversation"
    return system + _turns(row[name], f"'{name}'")


def _preference(row: Row) -> tuple[Message, ...]:
    raise LineError(_NO_PREFERENCES)


def _prompt_completion(row: Row) -> tuple[Message, ...]:
    missing = [key for key in ("prompt", "completion") if key not in row]
    if missing:
        raise LineError(f"no '{missing[0]}' beside the other")
    if isinstance(row.get("label"), bool):
        raise LineError(_NO_LABELS)
    prompt = turns(row["prompt"], "'prompt'", "user")
    return prompt + turns(row["completion"], "'completion'", "assistant")


def turns(value: Any, where: str, role: str) -> tuple[Message, ...]:
    """A list of messages; in the place of one, a text is a single turn of ``role``."""
    if isinstance(value, str):
        return (Message(role, filled(value, where)),)
    return _turns(value, where)


def _alpaca(row: Row) -> tuple[Message, ...]:
    messages = [Message("system", filled(row["system"], "'system'"))] if row.get("system") else []
    for pair in row.get("history") or ():
        if not isinstance(pair, list) or len(pair) != 2:
            raise LineError(f"'history' holds {_shown(pair)}, not a question and its answer")
        for role, text in zip(("user", "assistant"), pair, strict=True):
            messages.append(Message(role, filled(text, "a turn of 'history'")))
    if "output" not in row:
        raise LineError("no 'output' beside 'instruction'")
    asked = filled(row["instruction"], "'instruction'")
    if row.get("input"):
        asked += "\n\n" + filled(row["input"], "'input'")
    answer = filled(row["output"], "'output'")
    return (*messages, Message("user", asked), Message("assistant", answer))


_FORMS: dict[str, Callable[[Row], tuple[Message, ...]]] = {
    "messages": _chat,
    "conversations": _sharegpt,
    "conversation": _sharegpt,
    "chosen": _preference,
    "rejected": _preference,
    "preferred_output": _preference,
    "prompt": _prompt_completion,
    "completion": _prompt_completion,
    "instruction": _alpaca,
}


def _answered(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    if not any(message.role == "assistant" for message in messages):
        raise LineError("no assistant turn, so nothing would be trained")
    return messages


def _turns(value: Any, where: str) -> tuple[Message, ...]:
    """A list of messages; a table may hold it as JSON."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = json.loads(value)
    if not isinstance(value, list) or not value:
        raise LineError(f"{where} is {_shown(value)}, not a list of messages")
    return tuple(_turn(item, f"message {number}") for number, item in enumerate(value, start=1))


def _turn(value: Any, where: str) -> Message:
    keys = ("from", "value") if isinstance(value, dict) and "from" in value else ("role", "content")
    if not isinstance(value, dict) or not isinstance(value.get(keys[0]), str):
        raise LineError(f"{where} is {_shown(value)}, not an object with a role and content")
    role: str = value[keys[0]]
    said = value.get(keys[1])
    if value.get("tool_calls") or value.get("function_call") or role in _TOOL_ROLES:
        raise LineError(f"{where} ({role}): {_NO_TOOLS}")
    if value.get("weight") == 0 or value.get("train") is False:
        raise LineError(f"{where} ({role}) is not to be trained, but every answer is")
    return Message(_ROLES.get(role, role), filled(_joined(said), f"{where} ({role})"))


def _joined(said: Any) -> Any:
    """OpenAI's list of parts, when all of them are texts, as one."""
    parts = said if isinstance(said, list) and said else [None]
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    whole = [text for text in texts if isinstance(text, str)]
    return "".join(whole) if len(whole) == len(texts) else said


def filled(value: Any, where: str) -> str:
    """A text that says something. Raises LineError."""
    if not isinstance(value, str):
        raise LineError(f"{where} is {_shown(value)}, not a text")
    if not value.strip():
        raise LineError(f"{where} is empty")
    if not value.isascii() and _HALF.search(value):
        raise LineError(f"{where} holds half of a character (a lone surrogate, as \\ud83d)")
    return value


def _listed(row: Row) -> str:
    return ", ".join(f"'{name}'" for name in row) or "nothing"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
