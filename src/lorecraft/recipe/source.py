"""YAML that remembers its lines: values, and the line in which each key was written.

Scalars are read by the core schema of YAML 1.2, since 1.1 takes ``1e-5`` for text, ``no`` for false
and ``1:30`` for ninety. A key written twice is a mistake, where PyYAML silently takes the last.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

Key = tuple[str | int, ...]

_SCALARS = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", ["", *"~nN"]),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    "tag:yaml.org,2002:int": (r"[-+]?[0-9]+", [*"-+0123456789"]),
    "tag:yaml.org,2002:float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        [*"-+.0123456789"],
    ),
}


class _Loader(yaml.SafeLoader):
    pass


class Dumper(yaml.SafeDumper):
    """Writes what `read` reads back as the same values."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Loader.yaml_implicit_resolvers = {}
Dumper.yaml_implicit_resolvers = {}
for _tag, (_pattern, _first) in _SCALARS.items():
    for _class in (_Loader, Dumper):
        _class.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), _first)

_CONVERT: dict[str, Callable[[str], Any]] = {
    "tag:yaml.org,2002:null": lambda text: None,
    "tag:yaml.org,2002:bool": lambda text: text.lower() == "true",
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": lambda text: float(
        text.replace(".inf", "inf").replace(".nan", "nan")
    ),
}


@dataclass(frozen=True, order=True)
class Mistake:
    """Something wrong in a recipe: its line (from 1) and a sentence about it."""

    line: int
    text: str


@dataclass
class Source:
    """A YAML document: its value, the line of every key path, and the mistakes in its writing."""

    value: Any = None
    lines: dict[Key, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def line(self, key: Key) -> int:
        """The line of a key path, or of the nearest thing around it that was written."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)


def read(text: str) -> Source:
    """Parse one YAML document; what is wrong with it stands in ``mistakes``, nothing is raised."""
    source = Source()
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is not None:
            source.value = _value(node, (), source, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        source.mistakes.append(Mistake(line, f"broken YAML: {error.problem or error.context}"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        source.mistakes.append(Mistake(line, f"broken YAML: {str(error).splitlines()[0]}"))
    return source


def _value(node: yaml.Node, key: Key, source: Source, around: tuple[yaml.Node, ...]) -> Any:
    source.lines.setdefault(key, node.start_mark.line + 1)
    if any(node is outer for outer in around):
        source.mistakes.append(Mistake(node.start_mark.line + 1, "an alias that contains itself"))
        return None
    around = (*around, node)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, key, source, around)
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(item, (*key, index), source, around) for index, item in enumerate(node.value)
        ]
    try:
        return _CONVERT.get(node.tag, str)(node.value)
    except ValueError as error:
        source.mistakes.append(Mistake(node.start_mark.line + 1, f"{spell(key)}: {error}"))
        return None


def _mapping(
    node: yaml.MappingNode, key: Key, source: Source, around: tuple[yaml.Node, ...]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name_node, value_node in node.value:
        line = name_node.start_mark.line + 1
        if not isinstance(name_node, yaml.ScalarNode):
            source.mistakes.append(Mistake(line, "a key must be a single word"))
            continue
        name = name_node.value
        path = (*key, name)
        if name in values:
            text = f"{spell(path)}: written twice, first in line {source.lines[path]}"
            source.mistakes.append(Mistake(line, text))
            continue
        source.lines[path] = line
        values[name] = _value(value_node, path, source, around)
    return values


def spell(key: Key) -> str:
    """A key path in words: ``stages[2].epochs`` (list positions count from 1)."""
    text = ""
    for part in key:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text
