"""Whether a text keeps to a format: every rule that it breaks, with the section and the line."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from lorecraft.errors import FormatError
from lorecraft.style.outline import Block, Line, outline
from lorecraft.style.schema import Bounds, Format, Rules

RULES = (
    *("empty", "before", "after", "missing", "repeated", "order", "heading", "bullets"),
    *("paragraphs", "words", "sentences", "ends_with", "must_match", "must_not_match", "checks"),
    *("json", "json_schema"),
)
"""What can be broken; most are named after the key of the format."""

_END = re.compile(r"[.!?…。！？]+[\"'”’)\]*]*(?=\s|$)|[。！？]")
_ABBREVIATION = re.compile(
    r"(?:^|\W)(?:e\.g|i\.e|cf|vs|al|etc|Dr|Mr|Mrs|Ms|Prof|Fig|Eq|No|[A-Z])\.$"
)


@dataclass(frozen=True)
class Broken:
    """A rule that a text breaks.

    Attributes:
        rule: one of ``RULES``.
        section: the heading of the section, ``""`` for the text as a whole.
        line: where, from 1.
        message: what was seen and what was expected.
    """

    rule: str
    section: str
    line: int
    message: str

    def __str__(self) -> str:
        where = f"{self.section.rstrip(':')}: " if self.section else ""
        return f"line {self.line}: {where}{self.message} [{self.rule}]"


def check(format: Format, text: str) -> list[Broken]:
    """All rules that ``text`` breaks, in the order of their lines; none when it keeps to them."""
    if not text.strip():
        return [Broken("empty", "", 1, "nothing is there")]
    broken = [*_json(format, text)] if format.json_schema is not None else []
    if format.sections:
        broken += _sections(format, text)
    broken += _rules(format, list(enumerate(text.splitlines(), start=1)), "", "the text")
    return sorted(broken, key=lambda found: found.line)


def _sections(format: Format, text: str) -> Iterator[Broken]:
    before, blocks = outline(text, format.sections)
    seen: dict[str, Block] = {}
    order = [rules.heading for rules in format.sections]
    for block in blocks:
        heading = block.rules.heading
        if heading in seen:
            message = f"stands here again, first in line {seen[heading].line}"
            yield Broken("repeated", heading, block.line, message)
        seen.setdefault(heading, block)
        if block.heading != heading:
            message = f"expected '{heading}' on a line of its own, saw '{block.heading}'"
            yield Broken("heading", heading, block.line, message)
    if before and blocks:
        yield Broken("before", "", before[0][0], f"text before '{order[0]}': '{before[0][1]}'")
    places = [order.index(heading) for heading in seen]
    for (heading, block), place, last in zip(
        list(seen.items())[1:], places[1:], places, strict=False
    ):
        if place < last:
            message = f"stands after {order[last]} and should stand before it"
            yield Broken("order", heading, block.line, message)
            break
    for place, heading in enumerate(order):
        if heading not in seen:
            following = (seen[later].line for later in order[place:] if later in seen)
            line = next(following, len(text.splitlines()))
            yield Broken("missing", heading, line, f"no line '{heading}'")
    for block in blocks:
        yield from _body(block, last=block is blocks[-1])


def _body(block: Block, last: bool) -> Iterator[Broken]:
    rules, heading = block.rules, block.rules.heading
    paragraphs = block.paragraphs()
    if not paragraphs:
        yield Broken("empty", heading, block.line, "nothing stands under the heading")
    elif rules.bullets is not None:
        yield from _bullets(block, last)
    else:
        most = rules.paragraphs[1]
        extra = paragraphs[most:] if most is not None else []
        if extra:
            number, line = extra[0][0]
            if last:
                yield Broken("after", "", number, f"text after the last section: '{line}'")
            else:
                yield Broken("paragraphs", heading, number, _count(rules.paragraphs, paragraphs))
        elif len(paragraphs) < rules.paragraphs[0]:
            yield Broken("paragraphs", heading, block.line, _count(rules.paragraphs, paragraphs))
        kept = [line for paragraph in paragraphs[:most] for line in paragraph]
        for number, line in kept:
            if block.is_bullet(line):
                yield Broken("bullets", heading, number, f"a bullet, expected prose: '{line}'")
                break
        yield from _rules(rules, kept, heading, "it")


def _bullets(block: Block, last: bool) -> Iterator[Broken]:
    rules, heading = block.rules, block.rules.heading
    assert rules.bullets is not None
    lines = [line for paragraph in block.paragraphs() for line in paragraph]
    bullets = [line for line in lines if block.is_bullet(line[1])]
    others = [line for line in lines if not block.is_bullet(line[1])]
    if others:
        number, line = others[0]
        if last and bullets and number > bullets[-1][0]:
            yield Broken("after", "", number, f"text after the last section: '{line}'")
        else:
            message = f"expected a line that begins with '{rules.marker} ', saw '{line}'"
            yield Broken("bullets", heading, number, message)
    least, most = rules.bullets
    if len(bullets) < least or (most is not None and len(bullets) > most):
        at = bullets[most] if most is not None and len(bullets) > most else (block.line, "")
        message = f"{_many(len(bullets), 'bullet')}, expected {spell(rules.bullets)}"
        yield Broken("bullets", heading, at[0], message)
    for place, (number, line) in enumerate(bullets, start=1):
        said = line.removeprefix(rules.marker).strip()
        yield from _rules(rules, [(number, said)], heading, f"bullet {place}")


def _rules(rules: Rules, lines: list[Line], section: str, what: str) -> Iterator[Broken]:
    """``what`` names the text in messages: ``it``, ``bullet 2``, ``the text``."""
    text = "\n".join(line for _, line in lines).strip()
    start = next((number for number, line in lines if line.strip()), 1)
    if rules.words and not _within(count := count_words(text), rules.words):
        message = f"{what} has {_many(count, 'word')}, expected {spell(rules.words)}"
        yield Broken("words", section, start, message)
    if rules.sentences and not _within(count := len(sentences(text)), rules.sentences):
        message = f"{what} has {_many(count, 'sentence')}, expected {spell(rules.sentences)}"
        yield Broken("sentences", section, start, message)
    if rules.ends_with and not text.endswith(rules.ends_with):
        message = f"{what} ends with '{text[-20:]}', expected '{rules.ends_with}'"
        end = start + text.count("\n")
        yield Broken("ends_with", section, end, message)
    for pattern in rules.must_match:
        if not re.search(pattern, text, re.MULTILINE):
            message = f"{what} does not match {pattern}"
            yield Broken("must_match", section, start, message)
    for pattern in rules.must_not_match:
        if found := re.search(pattern, text, re.MULTILINE):
            line = start + text.count("\n", 0, found.start())
            message = f"{what} has '{found[0][:60]}', which no text may have ({pattern})"
            yield Broken("must_not_match", section, line, message)
    for name in rules.checks:
        if wrong := _call(name, text):
            yield Broken("checks", section, start, f"{what}: {wrong} ({name.split('/')[-1]})")


def _json(format: Format, text: str) -> Iterator[Broken]:
    try:
        from jsonschema.validators import validator_for
    except ImportError as error:
        raise FormatError(
            "jsonschema is not installed",
            "it, for formats in JSON",
            "pip install 'lorecraft[json]'",
        ) from error
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        yield Broken("json", "", error.lineno, f"no JSON: {error.msg} at column {error.colno}")
        return
    schema = format.json_schema or {}
    for wrong in validator_for(schema)(schema).iter_errors(value):
        yield Broken("json_schema", wrong.json_path, 1, wrong.message)


def _call(name: str, text: str) -> str:
    function = function_of(name)
    try:
        wrong = function(text)
    except Exception as error:
        seen = f"{name} failed: {type(error).__name__}: {error}"
        raise FormatError(seen, "what is wrong with the text, or nothing") from error
    if wrong is not None and not isinstance(wrong, str):
        raise FormatError(
            f"{name} returned {wrong!r}", "a text that says what is wrong, or nothing"
        )
    return wrong or ""


@cache
def function_of(name: str) -> Callable[[str], str | None]:
    """What ``module:function`` names; the module may be the path of a file."""
    place, _, function = name.rpartition(":")
    try:
        module = _module(place)
    except Exception as error:
        seen = f"{name} cannot be imported: {type(error).__name__}: {error}"
        raise FormatError(seen, "a module beside the format file, or an installed one") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise FormatError(f"no function {function} in {place}", "a function of that name")
    return found


def _module(place: str) -> ModuleType:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    spec = importlib.util.spec_from_file_location(place, place)
    assert spec and spec.loader
    module = sys.modules[place] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def count_words(text: str) -> int:
    """Pieces between spaces that have a letter or digit."""
    return sum(any(letter.isalnum() for letter in piece) for piece in text.split())


def sentences(text: str) -> list[str]:
    """The sentences of a text; what ends without a full stop is one too."""
    found, start = [], 0
    for end in _END.finditer(text):
        rest = text[end.end() :].lstrip()
        if end[0] == "." and rest and _ABBREVIATION.search(text[start : end.end()]):
            continue
        if rest and rest[0].islower() and end[0] not in ("!", "?"):
            continue
        found.append(text[start : end.end()].strip())
        start = end.end()
    return [sentence for sentence in (*found, text[start:].strip()) if count_words(sentence)]


def spell(bounds: Bounds) -> str:
    """``3``, ``3 to 5``, ``at least 3`` or ``at most 5``."""
    least, most = bounds
    if most is None:
        return f"at least {least}"
    if least == most:
        return str(least)
    return f"{least} to {most}" if least else f"at most {most}"


def _within(count: int, bounds: Bounds) -> bool:
    least, most = bounds
    return count >= least and (most is None or count <= most)


def _count(bounds: Bounds, paragraphs: list[list[Line]]) -> str:
    return f"{_many(len(paragraphs), 'paragraph')}, expected {spell(bounds)}"


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")
