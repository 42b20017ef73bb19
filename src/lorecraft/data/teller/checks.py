"""An answer is used only if it has the asked form and says nothing that its source does not."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from lorecraft.data.similar import NEAR, jaccard, shingles
from lorecraft.knowledge.ontology import normal

SHARE = 0.5
"""Of the words of an answer, so many stand in its source (or its question)."""
LEAST = 0.3
"""Of the source's names and numbers, so many stand in a rewrite."""
_SHORT = 4
"""Letters; shorter words are mostly grammar."""
_STEM = 5
"""Letters by which a word's forms are taken for the same."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_ITEM = re.compile(r"^[ \t]*(?:\d+[.)]|[-*•])\s+", re.MULTILINE)
_STARTS = re.compile(r"(?:^|[.!?:;…]\s+|\n\s*|[\"“„«(\[*_>]|[-–—]\s)$")
_CAPITAL = r"[^\W\d_a-z][\w'’-]*"
_RUN = re.compile(rf"\b{_CAPITAL}(?: {_CAPITAL})*")
_HALF = re.compile(r"[\ud800-\udfff]")
"""Of a character that was cut in two; no file can hold it."""
_SPEAKS_OF_SOURCE = re.compile(
    r"\b(?:the|this|that|given|provided|above|according to the) "
    r"(?:source|passage|text|document|excerpt|context)s?\b",
    re.IGNORECASE,
)


class Unusable(ValueError):
    """Why an answer is not used, in few words; the same words for the same reason."""


def parse(answer: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object of an answer. Raises Unusable for what is not of the asked form."""
    thought, ended, said = answer.partition("</think>")
    text = said if ended else thought
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
        with suppress(ValueError, RecursionError):  # words or a fence around the object
            value, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
    if value is None:
        raise Unusable("no JSON")
    if not _meets(value, schema):
        raise Unusable("JSON of another form")
    return value


def _meets(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value is what a schema of ``requests`` says: objects, arrays and texts."""
    if schema["type"] == "object":
        inner = schema["properties"]
        return (
            isinstance(value, dict)
            and value.keys() == inner.keys()
            and all(_meets(value[name], inner[name]) for name in inner)
        )
    if schema["type"] == "array":
        return isinstance(value, list) and all(_meets(one, schema["items"]) for one in value)
    known = schema.get("enum")
    return (
        isinstance(value, str)
        and bool(value.strip())
        and (known is None or value in known)
        and not _HALF.search(value)
    )


def check_rewrite(text: str, sources: Sequence[str], allowed: Collection[str] = ()) -> None:
    """Raises Unusable for a rewrite that brings in names or numbers, keeps too few, or copies."""
    source = "\n".join(sources)
    _check_terms(text, source, allowed)
    wanted = terms(source)
    kept = sum(_stands(term, text) for term in wanted)
    if wanted and kept < LEAST * len(wanted):
        raise Unusable("too little of its source")
    if any(jaccard(shingles(text), shingles(one)) >= NEAR for one in sources):
        raise Unusable("a copy of its source")


def check_pair(question: str, answer: str, source: str) -> None:
    """Raises Unusable for an answer whose key terms do not stand in its source."""
    if _SPEAKS_OF_SOURCE.search(question) or _SPEAKS_OF_SOURCE.search(answer):
        raise Unusable("speaks of its source")
    _check_terms(question, source, ())
    _check_terms(answer, f"{source}\n{question}", ())
    known = _stems(f"{source}\n{question}")
    words = _stems(answer)
    if words and len(words & known) < SHARE * len(words):
        raise Unusable("words that are not in its source")
    if not terms(answer) and not words & _stems(source):
        raise Unusable("nothing of its source in it")


def _check_terms(text: str, source: str, allowed: Collection[str]) -> None:
    numbers, known = _numbers(_ITEM.sub("", text)), _numbers(source)
    if numbers - known:
        raise Unusable("a number that is not in its source")
    for line in _ITEM.sub("", text).splitlines():
        names = [[n for n in run if n not in allowed] for run in _runs(line)]
        # In a title all words have capitals, so one of a few suffices.
        enough = any if _is_title(line) else all
        if not all(enough(_stands(name, source) for name in run) for run in names if run):
            raise Unusable("a name that is not in its source")


def terms(text: str) -> set[str]:
    """Names and numbers."""
    return _numbers(text) | set(_names(text))


def _numbers(text: str) -> set[str]:
    return {re.sub(r"[.,](?=\d{3}\b)", "", number) for number in _NUMBER.findall(text)}


def _names(text: str) -> Iterator[str]:
    for line in _ITEM.sub("", text).splitlines():
        if not _is_title(line):
            yield from (name for run in _runs(line) for name in run)


def _is_title(line: str) -> bool:
    words = re.findall(r"[^\W\d_][\w'’-]*", line)
    return sum(word[0].isupper() for word in words) > len(words) / 2


def _runs(line: str) -> Iterator[list[str]]:
    """Neighbouring words with capitals, but for those at the beginning of a sentence."""
    for match in _RUN.finditer(line):
        words = [re.sub(r"['’]s?$", "", word) for word in match[0].split(" ")]
        if _STARTS.search(line, max(0, match.start() - 8), match.start()):
            words = words[1:]
        if run := [word for word in words if len(word) > 1 and word[0].isupper()]:
            yield run


def says(text: str, name: str) -> bool:
    """Whether a text has a name as whole words, whatever its case and punctuation."""
    return bool(normal(name)) and f" {normal(name)} " in f" {normal(text)} "


def _stands(term: str, text: str) -> bool:
    """Whether a name or number stands in a text, a name also in another form."""
    if term[0].isdigit():
        return term in _numbers(text)
    plain = normal(term)
    return says(text, term) or plain[:_STEM] in _stems(text)


def _stems(text: str) -> set[str]:
    return {word[:_STEM] for word in normal(text).split() if len(word) >= _SHORT}
