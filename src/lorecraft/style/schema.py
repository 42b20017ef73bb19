"""What a format is: sections in order and what holds in each, or a JSON Schema.

`load.load_format` reads one from YAML; every key is described in docs/format.md.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from lorecraft.recipe.schema import Section


def _both(given: Any) -> Any:
    """``3`` is ``[3, 3]``."""
    if isinstance(given, int) and not isinstance(given, bool):
        return given, given
    return tuple(given) if isinstance(given, list) else given


def _possible(bounds: tuple[int, int | None]) -> tuple[int, int | None]:
    least, most = bounds
    if most is not None and most < least:
        raise PydanticCustomError(
            "text",
            "no number is at least {least} and at most {most}",
            {"least": least, "most": most},
        )
    return bounds


def _pattern(written: str) -> str:
    try:
        re.compile(written)
    except re.error as error:
        raise PydanticCustomError(
            "text", "no regular expression: {why}", {"why": str(error)}
        ) from None
    return written


def _heading(written: str) -> str:
    if not name_of(written) or written != written.strip() or "\n" in written:
        raise PydanticCustomError("text", "expected a line with a word in it, without outer spaces")
    return written


def name_of(heading: str) -> str:
    """What a heading says, however it is marked up: ``## **Key points**`` -> ``key points``."""
    return re.sub(r"[\W_]+", " ", heading).strip().casefold()


Least = Annotated[int, Field(ge=0)]
Bounds = Annotated[
    tuple[Least, Least | None],
    BeforeValidator(_both),
    AfterValidator(_possible),
    "a number, or a list of the least and the most (null: no limit)",
]
Pattern = Annotated[str, AfterValidator(_pattern), "a regular expression"]
Heading = Annotated[str, AfterValidator(_heading), "a line"]
Function = Annotated[str, Field(pattern=r"^[\w.]+:\w+$"), "module:function"]
Schema = Annotated[dict[str, Any], "a JSON Schema"]


class Rules(Section):
    """What holds for a text: a section's, each of its bullets, or the whole."""

    words: Bounds | None = Field(None, description="How many words.")
    sentences: Bounds | None = Field(None, description="How many sentences.")
    ends_with: str | None = Field(None, min_length=1, description="Its last characters, as `?`.")
    must_match: tuple[Pattern, ...] = Field(
        (), description="Each is found somewhere (Python's `re`, `^` and `$` at every line)."
    )
    must_not_match: tuple[Pattern, ...] = Field((), description="None of these is found anywhere.")
    checks: tuple[Function, ...] = Field(
        (),
        description="Python functions for what remains: they take the text and return what is "
        "wrong with it, or nothing. A module beside the format file, or an installed one; it is "
        "imported when the format is read, so read a stranger's format before you use it.",
    )


class SectionRules(Rules):
    """A heading on a line of its own, and what stands under it. Where there are bullets, `words`,
    `sentences` and the other rules hold for each bullet."""

    heading: Heading = Field(description="The line that opens the section, as it is written.")
    bullets: Bounds | None = Field(
        None, description="How many bullets, and nothing else; prose without bullets if not given."
    )
    marker: str = Field("-", min_length=1, description="What a bullet begins with, before a space.")
    paragraphs: Bounds = Field(
        (1, 1), description="Paragraphs of prose, parted by blank lines; more count as text after."
    )


class Format(Rules):
    """A format, complete. The rules at its top level hold for the whole text."""

    sections: tuple[SectionRules, ...] = Field(
        (), description="The sections in their order, with nothing before, between or after them."
    )
    json_schema: Schema | None = Field(
        None,
        description="The text is one JSON value that is valid by this schema, in the place of "
        "sections (needs `pip install 'lorecraft[json]'`).",
    )
    example: str | None = Field(
        None,
        description="A text that meets the format. Needed where Lorecraft cannot write one itself: "
        "for patterns that must match, functions and JSON.",
    )
