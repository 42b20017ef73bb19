"""Near-misses: a good text spoilt in one way, so that it breaks one rule of its format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from lorecraft.errors import FormatError
from lorecraft.style.check import check, sentences
from lorecraft.style.outline import Block, outline
from lorecraft.style.schema import Format

_OPENINGS = ("Sure, here it is:", "Here is what you asked for:", "Of course!", "Certainly:")
_CLOSINGS = (
    "I hope this helps!",
    "Let me know if you want more detail.",
    "In short, this is worth knowing.",
    "Feel free to ask about any of these points.",
)
_INDIRECT = ("It would be good to know: {}.", "One point is still open: {}.", "{}.")


@dataclass(frozen=True)
class NearMiss:
    """A text with one flaw.

    Attributes:
        flaw: what was done to it, a key of ``FLAWS``.
        rule: the one rule that it breaks; see ``check.RULES``.
        text: the text.
    """

    flaw: str
    rule: str
    text: str


def near_misses(format: Format, text: str, seed: str) -> list[NearMiss]:
    """One text for each flaw that the format allows; where there is a choice, ``seed`` makes it.

    Each breaks exactly one rule once: a flaw that cannot be had alone is left out.

    Raises:
        FormatError: ``text`` itself does not keep to the format.
    """
    if broken := check(format, text):
        seen = f"no near-miss can be made from a text that is none itself: {broken[0]}"
        raise FormatError(seen, "a text that keeps to the format")
    found = []
    for flaw, (rule, json_rule, spoil) in FLAWS.items():
        wanted = rule if format.json_schema is None else json_rule
        spoilt = list(spoil(format, text)) if wanted else []
        Random(f"{seed}/{flaw}").shuffle(spoilt)
        for candidate in spoilt:
            if [broken.rule for broken in check(format, candidate)] == [wanted]:
                found.append(NearMiss(flaw, wanted, candidate))
                break
    return found


def _text_before(format: Format, text: str) -> Iterator[str]:
    yield from (f"{opening}\n\n{text.strip()}" for opening in _OPENINGS)


def _text_after(format: Format, text: str) -> Iterator[str]:
    yield from (f"{text.strip()}\n\n{closing}" for closing in _CLOSINGS)


def _missing_section(format: Format, text: str) -> Iterator[str]:
    if format.json_schema is not None:
        value = json.loads(text)
        for key in value if isinstance(value, dict) else ():
            yield _dumped({other: value[other] for other in value if other != key})
        return
    parts, gap = _parts(format, text)
    for place in range(len(parts)):
        yield gap.join(parts[:place] + parts[place + 1 :])


def _swapped_sections(format: Format, text: str) -> Iterator[str]:
    parts, gap = _parts(format, text)
    for place in range(len(parts) - 1):
        swapped = [*parts[:place], parts[place + 1], parts[place], *parts[place + 2 :]]
        yield gap.join(swapped)


def _markdown_heading(format: Format, text: str) -> Iterator[str]:
    for lines, block in _blocks(format, text):
        said = block.heading.strip("#* ").rstrip(":")
        marked = f"**{said}**" if block.heading.startswith("#") else f"## {said}"
        yield _replaced(lines, block.line, marked)


def _extra_bullet(format: Format, text: str) -> Iterator[str]:
    """One more bullet than there may be: what another section says, or the last one again."""
    if format.json_schema is not None:
        yield from map(_dumped, _longer_lists(json.loads(text)))
        return
    found = list(_blocks(format, text))
    said = [
        sentence
        for _, block in found
        if block.rules.bullets is None
        for sentence in sentences("\n".join(line for _, line in block.body))
    ]
    for lines, block in found:
        if block.rules.bullets is None or block.rules.bullets[1] is None:
            continue
        bullets = [(number, line) for number, line in block.body if block.is_bullet(line)]
        number, last = bullets[-1]
        more = block.rules.bullets[1] + 1 - len(bullets)
        for line in (*(f"{block.rules.marker} {sentence}" for sentence in said), last):
            yield _replaced(lines, number, "\n".join([last, *[line] * more]))


def _statement(format: Format, text: str) -> Iterator[str]:
    for lines, block in _blocks(format, text):
        if block.rules.ends_with == "?" and block.rules.bullets is None:
            number, last = next(line for line in reversed(block.body) if line[1].strip())
            asked = last.rstrip("? ")
            for form in _INDIRECT:
                said = asked[:1].lower() + asked[1:] if form != "{}." else asked
                yield _replaced(lines, number, form.format(said))


Spoil = Callable[[Format, str], Iterator[str]]

FLAWS: dict[str, tuple[str, str, Spoil]] = {
    "extra_bullet": ("bullets", "json_schema", _extra_bullet),
    "missing_section": ("missing", "json_schema", _missing_section),
    "swapped_sections": ("order", "", _swapped_sections),
    "markdown_heading": ("heading", "", _markdown_heading),
    "text_before": ("before", "json", _text_before),
    "text_after": ("after", "json", _text_after),
    "statement": ("ends_with", "", _statement),
}
"""Flaw -> the rule that it breaks in a format of sections and in JSON (``""``: not there), and
texts that may have it."""


def _blocks(format: Format, text: str) -> Iterator[tuple[list[str], Block]]:
    lines = text.splitlines()
    for block in outline(text, format.sections)[1]:
        yield lines, block


def _parts(format: Format, text: str) -> tuple[list[str], str]:
    """The sections' texts, and what parts them."""
    lines = text.splitlines()
    starts = [block.line - 1 for block in outline(text, format.sections)[1]]
    ends = [*starts[1:], len(lines)]
    parts = ["\n".join(lines[i:j]).strip() for i, j in zip(starts, ends, strict=True)]
    return parts, "\n\n" if "\n\n".join(parts) in text else "\n"


def _replaced(lines: list[str], number: int, line: str) -> str:
    return "\n".join([*lines[: number - 1], line, *lines[number:]])


def _longer_lists(value: object) -> Iterator[object]:
    """``value`` with one of its lists longer by its last entry."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from ({**value, key: longer} for longer in _longer_lists(inner))
    elif isinstance(value, list) and value:
        yield [*value, value[-1]]


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
