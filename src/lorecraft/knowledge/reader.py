"""Values of parsed YAML, taken as what they should be; what they are not is gathered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lorecraft.knowledge.mistakes import nearest
from lorecraft.recipe.source import Key, Source


class Reader:
    """Reads a document and goes on after a mistake; ``mistakes`` are ``(line, text)``."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.mistakes = [(mistake.line, mistake.text) for mistake in source.mistakes]

    def wrong(self, key: Key, what: str) -> None:
        where = ".".join(map(str, key)) or "the file"
        self.mistakes.append((self.source.line(key), f"{where}: {what}"))

    def mapping(self, value: Any, key: Key, known: Sequence[str] = ()) -> dict[Any, Any]:
        if not isinstance(value, dict):
            saw = "nothing" if value is None else type(value).__name__
            self.wrong(key, f"expected a mapping, saw {saw}")
            return {}
        for name in value:
            if known and name not in known:
                self.wrong((*key, name), f"unknown key{nearest(str(name), known)}")
        return value

    def text(self, value: Any, key: Key) -> str:
        if isinstance(value, str) and value.strip():
            return value.strip()
        saw = "nothing" if value is None else f"{value!r} (put it in quotes)"
        self.wrong(key, f"expected a text, saw {saw}")
        return ""

    def texts(self, value: Any, key: Key) -> tuple[str, ...]:
        if not isinstance(value, list):
            self.wrong(key, f"expected a list of texts, saw {value!r}")
            return ()
        return tuple(self.text(item, (*key, index)) for index, item in enumerate(value))

    def flag(self, fields: dict[str, Any], name: str, key: Key) -> bool:
        value = fields.get(name, False)
        if not isinstance(value, bool):
            self.wrong((*key, name), f"expected true or false, saw {value!r}")
        return value is True

    def optional(self, fields: dict[str, Any], name: str, key: Key) -> str:
        return self.text(fields[name], (*key, name)) if name in fields else ""
