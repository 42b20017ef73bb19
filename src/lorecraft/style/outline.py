"""A text cut at its headings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lorecraft.style.schema import SectionRules, name_of

Line = tuple[int, str]
"""A line's number, from 1, and the line without trailing spaces."""

_PROSE_BULLET = re.compile(r"[-*•]\s")


@dataclass
class Block:
    """A section as it was found.

    Attributes:
        rules: the section of the format that it is.
        line: the number of its heading's line.
        heading: that line as written; ``rules.heading`` if it is right.
        body: the lines under it, blank ones included.
    """

    rules: SectionRules
    line: int
    heading: str
    body: list[Line] = field(default_factory=list)

    def paragraphs(self) -> list[list[Line]]:
        """The body's lines, parted where lines are blank."""
        parts: list[list[Line]] = [[]]
        for number, line in self.body:
            if line.strip():
                parts[-1].append((number, line))
            elif parts[-1]:
                parts.append([])
        return [part for part in parts if part]

    def is_bullet(self, line: str) -> bool:
        if self.rules.bullets is None:
            return bool(_PROSE_BULLET.match(line.lstrip()))
        return line.startswith(self.rules.marker + " ")


def outline(text: str, sections: Sequence[SectionRules]) -> tuple[list[Line], list[Block]]:
    """``(lines before the first heading, sections in the order in which they stand)``.

    A heading that says the right words but is marked up otherwise (``## Summary`` for
    ``Summary:``), or is followed by its text on the same line, opens its section too.
    """
    before: list[Line] = []
    blocks: list[Block] = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.rstrip()
        found = next((rules for rules in sections if _opens(line, rules)), None)
        if found:
            blocks.append(Block(found, number, line))
            rest = line.removeprefix(found.heading)
            if rest and rest != line:
                blocks[-1].body.append((number, rest.strip()))
        else:
            (blocks[-1].body if blocks else before).append((number, line))
    return [(number, line) for number, line in before if line.strip()], blocks


def _opens(line: str, rules: SectionRules) -> bool:
    if name_of(line) == name_of(rules.heading):
        return True
    return rules.heading.endswith(":") and line.startswith(rules.heading + " ")
