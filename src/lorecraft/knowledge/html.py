"""The text of an HTML page, with its headings."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_SILENT = {"script", "style", "template", "noscript", "svg", "nav", "title"}
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_INLINE = {
    *("a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i"),
    *("ins", "kbd", "mark", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "time"),
    *("tt", "u", "var", "wbr", "img", "input", "label", "button", "select"),
}
_VOID = {"br", "hr", "img", "input", "wbr", "meta", "link", "col", "source", "area", "base"}


class _Page(HTMLParser):
    """Gathers blocks of text; a heading begins a section. Nothing of a page is run or fetched."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[tuple[int, str]] = []  # the level of a heading, 0 for a paragraph
        self._text = ""
        self._level = 0
        self._silent: list[str] = []
        self._fixed = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent.append(tag)
        elif tag == "br":
            self._text += "\n"
        elif tag in ("td", "th") and self._text.strip():
            self._text += " | "
        elif tag not in _INLINE and tag not in ("td", "th"):
            self.end_block()
            self._text = "- " if tag == "li" else ""
            self._level = _HEADINGS.get(tag, self._level)
            self._fixed += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        elif tag not in _INLINE and tag not in _VOID and tag not in ("td", "th"):
            self.end_block()
            self._level = 0 if tag in _HEADINGS else self._level
            self._fixed -= tag == "pre" and self._fixed > 0

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._text += data if self._fixed else re.sub(r"\s+", " ", data)

    def end_block(self) -> None:
        if self._text.strip(" \n-"):
            text = self._text.strip("\n") if self._fixed else self._text.strip()
            self.blocks.append((self._level, text))
        self._text = ""


def blocks(source: str) -> list[tuple[int, str]]:
    """The blocks of a page, in order: ``(1 to 6, heading)`` or ``(0, paragraph)``."""
    page = _Page()
    page.feed(source)
    page.close()
    page.end_block()
    return page.blocks
