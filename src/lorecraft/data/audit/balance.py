"""What a data set is made of: languages, and the values of its columns of metadata."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from lorecraft.data.audit.check import Check, records, share
from lorecraft.data.audit.finding import Finding, Severity
from lorecraft.data.audit.rows import Entry, Rows
from lorecraft.data.forms import COLUMNS

_LETTERS = 600
"""So much of a text tells its language."""
_SCRIPTS = (
    ("Korean", "\uac00-\ud7af\u1100-\u11ff"),
    ("Japanese", "\u3040-\u30ff"),
    ("Chinese", "\u4e00-\u9fff"),
    ("Russian or another in Cyrillic", "\u0400-\u04ff"),
    ("Greek", "\u0370-\u03ff"),
    ("Arabic or another in its script", "\u0600-\u06ff"),
    ("Hebrew", "\u0590-\u05ff"),
    ("Hindi or another in Devanagari", "\u0900-\u097f"),
    ("Thai", "\u0e00-\u0e7f"),
)
_OTHER = re.compile("[" + "".join(letters for _, letters in _SCRIPTS) + "]")
_SCRIPT = [(name, re.compile(f"[{letters}]")) for name, letters in _SCRIPTS]
_FUNCTION_WORDS = {
    "English": "the of and to is in that it for was with are do i no as who what how you on be an",
    "German": "der die das und ist nicht ein eine zu den mit von auf für wie wird auch dem sich im",
    "French": "le les des est et une dans que pour qui pas sur avec vous au du ce sont il elle",
    "Spanish": "el los las es y una que por para con del se como más cuál son al su está en",
    "Italian": "il di che è una per con sono non della del gli nel alla come più dei questo",
    "Portuguese": "os é uma que para com não da em como mais dos são ao um pelo foi sua qual ou",
    "Dutch": "de het een van en is dat niet op te zijn met voor die aan wat hoe er wordt",
    "Polish": "nie jest się na że jak w z przez dla są od tego po jego które oraz jako był także",
    "Turkish": "bir ve bu için ile ne da de olarak daha nasıl çok gibi en olan mı",
    "Swedish": "och att det som en är på av för med inte till den har ett om var hur",
}
_KNOWN: dict[str, list[str]] = {}
for _language, _words in _FUNCTION_WORDS.items():
    for _word in _words.split():
        _KNOWN.setdefault(_word, []).append(_language)
_UNKNOWN = "not told"


def language(text: str) -> str:
    """By its script, or by its function words: enough for a mix, not for one text."""
    text = text[:_LETTERS]
    if not text.isascii():
        foreign = len(_OTHER.findall(text))
        if foreign > 0.2 * len(text):
            counts = {name: len(letters.findall(text)) for name, letters in _SCRIPT}
            if counts["Japanese"] > 0.1 * foreign:  # written with Chinese letters too
                return "Japanese"
            return max(counts, key=lambda name: counts[name])
    words = _KNOWN.keys() & set(text.lower().split())
    ranked = Counter(name for word in words for name in _KNOWN[word]).most_common(2)
    if not ranked or ranked[0][1] < 2 or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return _UNKNOWN
    return ranked[0][0]


class Languages(Check):
    """Which languages records are in."""

    name = "languages"

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def look(self, entries: Sequence[Entry]) -> Counter[str]:
        return Counter(language(entry.words) for entry in entries if entry.record)

    def take(self, looked: Counter[str]) -> None:
        self._counts += looked

    def figures(self, rows: Rows) -> dict[str, Any]:
        return {"languages": dict(self._counts.most_common())}

    def findings(self, rows: Rows) -> Iterator[Finding]:
        told = [(name, count) for name, count in self._counts.most_common() if name != _UNKNOWN]
        whole = sum(count for _, count in told)
        if len(told) > 1 and told[0][1] < (1 - _STRAY) * whole:
            parts = ", ".join(f"{name} {share(count, whole)}" for name, count in told)
            yield Finding(self.name, "note", f"several languages: {parts}", len(told))


_STRAY = 0.01
"""So small a share in another language may be a name, a quotation or a slip of this check."""
_MOST_COLUMNS = 200
_MOST_VALUES = 50
_LONGEST_VALUE = 60
_EVEN = 20
"""A value with so many times the records of another outweighs it."""

Values = dict[str, dict[int, Counter[str]] | None]
"""Column -> split -> how often each value; None for a column of too many values."""


class Tags(Check):
    """Columns of metadata with few values: which there are, and in which split how often."""

    name = "tags"

    def __init__(self) -> None:
        self._values: Values = {}

    def look(self, entries: Sequence[Entry]) -> Values:
        found: Values = {}
        for entry in entries:
            for column, value in entry.row.items() if entry.record else ():
                if column not in COLUMNS and isinstance(value, str | int):
                    _count(found, column, entry.split, Counter({str(value): 1}))
        return found

    def take(self, looked: Values) -> None:
        for column, splits in looked.items():
            if column not in self._values and len(self._values) >= _MOST_COLUMNS:
                continue
            if splits is None:
                self._values[column] = None
            for split, counts in (splits or {}).items():
                _count(self._values, column, split, counts)

    def _tags(self) -> dict[str, dict[int, Counter[str]]]:
        return {
            column: splits
            for column, splits in self._values.items()
            if splits and any(count > 1 for counts in splits.values() for count in counts.values())
        }

    def figures(self, rows: Rows) -> dict[str, Any]:
        tags: dict[str, dict[str, dict[str, int]]] = {}
        for column, splits in self._tags().items():
            order = [value for value, _ in sum(splits.values(), Counter()).most_common()]
            tags[column] = {
                rows.splits[split].name: {value: counts[value] for value in order}
                for split, counts in sorted(splits.items())
            }
        return {"tags": tags}

    def findings(self, rows: Rows) -> Iterator[Finding]:
        for column, splits in self._tags().items():
            first = splits.get(0, Counter())
            for split, counts in sorted(splits.items()):
                alone = sorted(counts.keys() - first.keys())
                if split and first and alone and rows.splits[split].stage == rows.splits[0].stage:
                    names = rows.splits[split].name, rows.splits[0].name
                    text = f"{column}: {', '.join(alone[:5])} in {names[0]}, never in {names[1]}"
                    # With nothing in common it is what the splits were parted by.
                    severity: Severity = "warning" if counts.keys() & first.keys() else "note"
                    yield Finding(self.name, severity, text, len(alone))
            whole = sum(splits.values(), Counter())
            (most, highest), (least, lowest) = whole.most_common()[0], whole.most_common()[-1]
            if highest > _EVEN * lowest:
                text = f"{column}: {records(highest)} of '{most}', {records(lowest)} of '{least}'"
                yield Finding(self.name, "note", text, len(whole))


def _count(values: Values, column: str, split: int, counts: Counter[str]) -> None:
    splits = values.setdefault(column, {})
    if splits is None:
        return
    known = splits.setdefault(split, Counter())
    known.update(counts)
    if len(known) > _MOST_VALUES or any(len(value) > _LONGEST_VALUE for value in counts):
        values[column] = None
