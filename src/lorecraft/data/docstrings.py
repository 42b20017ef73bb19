"""Docstrings as questions and answers about modules, classes, functions and their parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from inspect import cleandoc

from lorecraft.data.chunks import BYTES_PER_TOKEN, chunks
from lorecraft.data.records import Message, Record
from lorecraft.knowledge.python import Documented, documented

_SHORTEST = 3
"""Words; what says less is no answer."""
_TEMPLATE = 60
"""Bytes that are left for the chat template's own tokens."""
_LONGEST_SIGNATURE = 400
"""Letters; longer ones are mostly annotations."""
_ASKED = {
    "module": "What is the Python module `{name}` for?",
    "class": "What is the Python class `{name}`?",
    "function": "What does the Python function `{name}` do?",
}
_TITLES = {
    "parameters": "args, arguments, parameters, other parameters, keyword args, keyword arguments",
    "returns": "return, returns, yields",
    "raises": "raises",
    "other": "attributes, example, examples, inputs, methods, note, notes, outputs, references, "
    "see also, shape, todo, usage, warning, warnings, warns",
}
_SECTIONS = {title: section for section, titles in _TITLES.items() for title in titles.split(", ")}
_HEADING = re.compile(r"^(\w[\w ]{2,20}):?$")
_UNDERLINE = re.compile(r"^[-=~]{3,}$")
_FIXED = re.compile(r"^(\s|[-*+>|#.]|\d+[.)])|(?<=\n)\w[\w *,]*\s?:", re.MULTILINE)
"""A line that is not running text: indented, an item, code, a parameter."""
_ROLE = re.compile(r":(?:[a-z]+:)+(`[^`]*`)")
"""A role of Sphinx's, as in :exc:`Abort`."""
_VERSION = re.compile(r"\s*\.\. (versionadded|versionchanged|deprecated)::")
_FIELD = re.compile(
    r"^:(param|parameter|arg|argument|returns?|raises?|type|rtype|yields?|var|vartype)\b"
    r"[^:]*?(\*{0,2}[\w.]*)\s*:\s*(.*)$"
)
_GOOGLE = re.compile(r"^(\*{0,2}\w+)\s*(?:\(([^)]*)\))?\s*:\s*(.*)$")
_NUMPY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*)\s*(?::\s*(.*))?()$")


def docstring_records(packages: Sequence[str], max_length: int) -> list[Record]:
    """Chats about all that is documented in some packages, in the order of their files.

    Asked are what a thing is for, how it is called, and each parameter, what it returns and raises,
    where its docstring says so (Google's, NumPy's and Sphinx's ways). Answers are cut at
    a border between paragraphs or sentences where ``max_length`` tokens would be too few. Records
    about one thing, or with the same docstring, have a fact in common, so that no split parts them.

    Raises DataError as ``knowledge.python.documented``.
    """
    first_with: dict[str, str] = {}
    records = []
    for package in packages:
        for item in documented(package):
            first = first_with.setdefault(item.doc, item.name)
            about = (item.name,) if first == item.name else (item.name, first)
            records += [
                Record(
                    id=f"{item.name}/{part}",
                    messages=(Message("user", question), Message("assistant", answer)),
                    facts=about,
                    place=item.place,
                )
                for part, question, answer in _asked(item, BYTES_PER_TOKEN * max_length)
            ]
    return records


def _asked(item: Documented, limit: int) -> Iterator[tuple[str, str, str]]:
    """``(part, question, answer)``, of which an answer is cut to leave both within ``limit``."""
    name, sections = item.name, _sections(item.doc)
    questions = [
        ("about", _ASKED[item.kind].format(name=name), _text(sections["about"])),
        *(
            (f"parameter {parameter}", f"What is the parameter `{parameter}` of `{name}`?", text)
            for parameter, text in _parameters(sections).items()
        ),
        ("returns", f"What does `{name}` return?", _text(sections.get("returns", ()))),
        ("raises", f"What does `{name}` raise, and when?", _text(sections.get("raises", ()))),
    ]
    for part, question, text in questions:
        room = limit - len(question.encode()) - _TEMPLATE
        if len(text.split()) >= _SHORTEST and room > 0:
            yield part, question, chunks(text, room)[0]
    if item.signature and len(item.signature) <= min(_LONGEST_SIGNATURE, limit // 2):
        yield "signature", f"How is `{name}` called?", f"`{name}({item.signature})`"


def _sections(doc: str) -> dict[str, list[str]]:
    """The lines of a docstring by what they are about; those before the first section are
    ``about``, those of Sphinx's ``:param x:`` are ``parameter x``."""
    found: dict[str, list[str]] = {"about": []}
    here = found["about"]
    lines = doc.expandtabs().splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if field := _FIELD.match(line):
            kind, name, said = field.groups()
            if kind[0] in "pa":
                key = f"parameter {name.lstrip('*')}"
            else:
                key = _SECTIONS.get(kind.removesuffix("s") + "s", "other")
            here = found.setdefault(key, [])
            indent = " " * (len(below) - len(below.lstrip())) or "    "  # that of what goes on
            here.append(f"{indent}{name}: {said}" if key == "raises" else f"{indent}{said}")
        elif _VERSION.match(line):
            here = found.setdefault("other", [])
        elif section := _section(line, below.strip()):
            here = found.setdefault(section, [])
        elif not _UNDERLINE.match(line.strip()):
            here.append(line)
    return found


def _section(line: str, below: str) -> str | None:
    """The section that a line opens: ``Args:``, or ``Parameters`` with a line under it."""
    match = _HEADING.match(line)
    if not match or not (line.endswith(":") or _UNDERLINE.match(below)):
        return None
    section = _SECTIONS.get(match[1].lower())
    if line.endswith(":"):
        return section
    return "parameters underlined" if section == "parameters" else section or "other"


def _parameters(sections: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Each parameter, and what is said of it."""
    found = {
        key.removeprefix("parameter "): _text(lines)
        for key, lines in sections.items()
        if key.startswith("parameter ")
    }
    for style, pattern in (("parameters", _GOOGLE), ("parameters underlined", _NUMPY)):
        for names, text in _entries(sections.get(style, ()), pattern):
            for name in names.split(", "):
                found.setdefault(name.lstrip("*"), text)
    return found


def _entries(lines: Sequence[str], pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """The names of each entry of a section, and its text: a type, if there is one, first."""
    entries: list[tuple[str, str, list[str]]] = []
    for line in _dedented(lines):
        if not line[:1].isspace() and (match := pattern.match(line)):
            names, kind, said = match.groups(default="")
            entries.append((names, kind.strip(), [f"    {said}"] if said else []))
        elif entries:
            entries[-1][2].append(line)
    for names, kind, body in entries:
        text = _text(body)
        yield names, f"{kind}: {text}" if kind and text else text


def _dedented(lines: Sequence[str]) -> list[str]:
    return cleandoc("\n".join(["", *lines])).splitlines()


def _text(lines: Sequence[str]) -> str:
    """Lines as text: indentation and Sphinx's roles off; paragraphs on one line, code and lists as
    they are."""
    paragraphs = _ROLE.sub(r"\1", "\n".join(_dedented(lines))).strip().split("\n\n")
    return "\n\n".join(
        paragraph if _FIXED.search(paragraph) else paragraph.replace("\n", " ")
        for paragraph in paragraphs
    )
