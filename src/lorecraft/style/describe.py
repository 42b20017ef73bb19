"""A format in plain words: the prompt that asks for it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from lorecraft.style.check import function_of, spell
from lorecraft.style.schema import Bounds, Format, Rules, SectionRules


def describe(format: Format) -> str:
    """What a text must be to pass ``check.check``, as an instruction to whoever writes it."""
    parts = []
    if format.json_schema is not None:
        schema = json.dumps(format.json_schema, ensure_ascii=False, indent=2)
        parts.append(f"Write one JSON value and nothing else, valid by this JSON Schema:\n{schema}")
    if format.sections:
        count = len(format.sections)
        parts.append(
            f"Write these {count} sections in this order, each under its heading on a line of its "
            "own, with nothing before, between or after them:"
            if count > 1
            else "Write this section under its heading, with nothing before or after it:"
        )
        parts += [f"{rules.heading}\n({_section(rules)})" for rules in format.sections]
    if whole := list(_rules(format)):
        parts.append(f"The whole: {'; '.join(whole)}.")
    if format.example is not None:
        parts.append(f"For example:\n\n{format.example.strip()}")
    return "\n\n".join(parts)


def _section(rules: SectionRules) -> str:
    said = list(_rules(rules))
    if rules.bullets is None:
        if rules.paragraphs != (1, 1):
            said.insert(0, _many(rules.paragraphs, "paragraph"))
        return "; ".join(said) or "a paragraph"
    bullets = f"{_many(rules.bullets, 'bullet')}, each on a line that begins with '{rules.marker} '"
    return f"{bullets}; in each: {'; '.join(said)}" if said else bullets


def _rules(rules: Rules) -> Iterator[str]:
    if rules.sentences:
        yield _many(rules.sentences, "sentence")
    if rules.words:
        yield _many(rules.words, "word")
    if rules.ends_with:
        yield f"ends with '{rules.ends_with}'"
    for pattern in rules.must_match:
        yield f"has something that matches the regular expression {pattern}"
    for pattern in rules.must_not_match:
        yield f"has nothing that matches the regular expression {pattern}"
    for name in rules.checks:
        about = (function_of(name).__doc__ or name.rpartition(":")[2].replace("_", " ")).strip()
        yield about.splitlines()[0].rstrip(".")


def _many(bounds: Bounds, thing: str) -> str:
    return f"{spell(bounds)} {thing}" + ("" if bounds == (1, 1) else "s")
