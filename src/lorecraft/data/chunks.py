"""Long texts in pieces that a record has room for."""

from __future__ import annotations

import re
from collections.abc import Iterator

BYTES_PER_TOKEN = 3
"""Fewer than tokenizers take of most languages: no tokenizer is loaded when data are prepared."""

# Where a text may be cut, best first: between paragraphs, lines, sentences, words.
_BORDERS = (r"\n\s*\n", r"\n", r"(?<=[.!?。！？])\s+", r"\s+")


def chunks(text: str, limit: int) -> list[str]:
    """The text in pieces of at most ``limit`` bytes of UTF-8, each as long as its borders allow:
    paragraphs are kept whole where they fit, then lines, sentences, words."""
    return list(_packed(text.strip(), limit, 0))


def _packed(text: str, limit: int, level: int) -> Iterator[str]:
    if _size(text) <= limit:
        if text:
            yield text
        return
    if level == len(_BORDERS):
        yield from _hard(text, limit)
        return
    held = ""
    start = 0
    borders = [*re.finditer(_BORDERS[level], text), None]
    gap = ""
    for border in borders:
        part = text[start : border.start() if border else len(text)]
        if _size(held) + _size(gap) + _size(part) <= limit:
            held += gap + part
        else:
            if held:
                yield held
            *whole, held = _packed(part, limit, level + 1) if part else [""]
            yield from whole
        if border:
            start, gap = border.end(), border[0] if held else ""
    if held:
        yield held


def _hard(text: str, limit: int) -> Iterator[str]:
    """A word that is longer than a piece, cut between letters."""
    held, size = "", 0
    for letter in text:
        size += _size(letter)
        if size > limit and held:
            yield held
            held, size = "", _size(letter)
        held += letter
    yield held


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
