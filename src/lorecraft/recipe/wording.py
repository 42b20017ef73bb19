"""The schema in plain words: what a key expects, and what is wrong with a value."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from lorecraft.recipe.schema import Recipe, Section
from lorecraft.recipe.source import Key, Mistake, Source, spell

_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def expectation(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """What a value of this type looks like: ``a whole number of at least 1``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return expectation(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in arguments if kind is not types.NoneType]
        return " or ".join(expectation(kind, metadata) for kind in kinds)
    metadata = list(metadata)
    if named := next((hint for hint in metadata if isinstance(hint, str)), None):
        return named
    if origin is Literal:
        return " or ".join(arguments) if len(arguments) < 3 else f"one of {', '.join(arguments)}"
    metadata = list(metadata)
    named = next((hint for hint in metadata if isinstance(hint, str)), None)
    if named:
        return named
    section = section_of(annotation)
    if origin is tuple:
        if words := _words(annotation):
            return f"a list, some of {', '.join(words)}"
        return "a list of " + ("sections" if section else "names")
    if section:
        return f"keys such as {' and '.join(list(section.model_fields)[:2])}"
    return _PLAIN[annotation] + _bounds(metadata)


def _bounds(metadata: list[Any]) -> str:
    low = next((bound.ge for bound in metadata if isinstance(bound, Ge)), None)
    above = next((bound.gt for bound in metadata if isinstance(bound, Gt)), None)
    high = next((bound.le for bound in metadata if isinstance(bound, Le)), None)
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if above is not None:
        return f" above {above}"
    return f" of at least {low}" if low is not None else ""


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a field holds, alone, optional or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    found = (section_of(argument) for argument in get_args(annotation))
    return next((section for section in found if section), None)


def explain(
    details: list[ErrorDetails], source: Source, root: type[Section] = Recipe
) -> list[Mistake]:
    """One mistake for each key path that validation refused, however many ways it tried."""
    grouped: dict[Key, list[ErrorDetails]] = {}
    for detail in details:
        grouped.setdefault(_path(detail, root), []).append(detail)
    return [
        Mistake(source.line(key), f"{spell(key)}: {_problem(key, found, root)}")
        for key, found in grouped.items()
        if not (found[0]["type"] == "too_short" and any(_inside(other, key) for other in grouped))
    ]


def _inside(key: Key, outer: Key) -> bool:
    return len(key) > len(outer) and key[: len(outer)] == outer


def _path(detail: ErrorDetails, root: type[Section]) -> Key:
    """The part of an error's place that a user wrote; the rest names branches of a union."""
    path: list[str | int] = []
    for field, part in zip(_walk(detail["loc"], root), detail["loc"], strict=False):
        path.append(part)
        if field is None:
            break
    return tuple(path)


def _walk(key: Key, root: type[Section]) -> Iterator[FieldInfo | None]:
    """The field at each part of a key path; None, as the last, where the schema has none."""
    section: type[Section] | None = root
    field: FieldInfo | None = None
    for part in key:
        if isinstance(part, str):
            if section is None:
                return
            field = section.model_fields.get(part)
            section = section_of(field.annotation) if field else None
        yield field


def _problem(key: Key, details: list[ErrorDetails], root: type[Section]) -> str:
    kinds = {detail["type"] for detail in details}
    field = list(_walk(key, root))[-1]
    if field is None:
        return "no such key" + _right_key(key, root)
    kind = field.annotation
    if isinstance(key[-1], int) and not _words(kind):
        kind = section_of(kind) or next(iter(get_args(kind)), kind)
    wanted = expectation(kind, field.metadata)
    if "missing" in kinds:
        return f"missing; expected {wanted}"
    seen = next(detail["input"] for detail in details)
    told = next((detail["msg"] for detail in details if detail["type"] in ("path", "text")), None)
    near = _near(str(seen), _words(field.annotation))
    if told:
        return told + near
    return f"expected {wanted}, saw {_shown(seen)}{near}"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "keys"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _words(annotation: Any) -> list[str]:
    """The words that a field accepts as such."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [word for argument in get_args(annotation) for word in _words(argument)]


def _right_key(key: Key, root: type[Section]) -> str:
    """The same key where it belongs, or the nearest of the same section."""
    wrong = str(key[-1])
    homes = [
        f"{name}.{wrong}"
        for name, field in root.model_fields.items()
        if (home := section_of(field.annotation)) and wrong in home.model_fields
    ]
    if wrong in root.model_fields:
        homes.append(f"{wrong} at the top level")
    if homes:
        return f"; did you mean {' or '.join(homes)}?"
    around = list(_walk(key[:-1], root))
    section = section_of(around[-1].annotation) if around and around[-1] else root
    if near := _near(wrong, section.model_fields if section else ()):
        return near
    return f"; there are {', '.join(section.model_fields)}" if section else ""


def _near(word: str, words: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {found[0]}?" if found else ""
