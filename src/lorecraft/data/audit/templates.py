"""Slot-filled templates that only look diverse: openings, frames and sentences that come again.

A frame is a short text with a slot for each name (a word with a capital that does not open a
sentence) and each number. What stands in one record of a hundred, and in ten at least, counts.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lorecraft.data.audit.check import Check, records, share
from lorecraft.data.audit.finding import Finding, Spot
from lorecraft.data.audit.rows import Entry, Rows

_OPENING = 5
_CLAUSE = 5
_OFTEN = 0.01
_LEAST = 10
_TOO_MANY = 0.5
"""Share of records from which on it is a finding."""
_SHOWN = 8
_SHORT = 300
"""Longer texts are not told in one frame."""

_ENDS = re.compile(r"[.!?;:\n]+")
_SLOT = re.compile(r"(?<=[\w,;)] )(?:[A-Z][\w'’-]*)(?: [A-Z][\w'’-]*)*|\d[\d.,]*")
_WORD = re.compile(r"\w+")
_EMPTY = "\0"

Looked = tuple["array[int]", "array[int]"]
"""Rows, and the hashes of their pieces."""
Pieces = Callable[[str], Sequence[str]]


def opening(text: str) -> Sequence[str]:
    """The first words of a text."""
    words = _WORD.findall(text[:80].lower())
    return (" ".join(words[:_OPENING]),) if len(words) > _OPENING else ()


def frame(text: str) -> Sequence[str]:
    """A short text with its slots empty; nothing when it has no slot, or little else."""
    slotted, slots = _SLOT.subn(_EMPTY, text) if len(text) <= _SHORT else ("", 0)
    words = [word for word in slotted.lower().split() if _EMPTY not in word]
    return (" ".join(slotted.lower().split()),) if slots and len(words) >= 4 else ()


def clauses(text: str) -> Sequence[str]:
    """The sentences and parts of sentences of a text, each once, those of a few words left out."""
    found = (" ".join(part.split()) for part in _ENDS.split(text.lower()))
    return list(dict.fromkeys(part for part in found if part.count(" ") >= _CLAUSE - 1))


def _asked(entry: Entry) -> str:
    return entry.question if entry.record and entry.record.messages else ""


def _said(entry: Entry) -> str:
    return entry.answer or (entry.record.text if entry.record else "")


_LOOKED: dict[str, tuple[Callable[[Entry], str], Pieces]] = {
    "openings of questions": (_asked, opening),
    "openings of answers": (_said, opening),
    "frames of questions": (_asked, frame),
    "frames of answers": (_said, frame),
    "sentences of answers": (_said, clauses),
}


class Templates(Check):
    """Records most of which are told in the same few openings, frames or sentences."""

    name = "templates"

    def __init__(self) -> None:
        self._seen = {name: _Seen() for name in _LOOKED}

    def look(self, entries: Sequence[Entry]) -> dict[str, Looked]:
        # A general record that a mixture repeats would seem a template.
        some = [e for e in entries if e.record and e.record.origin != "general"]
        return {name: _looked(some, *way) for name, way in _LOOKED.items()}

    def take(self, looked: dict[str, Looked]) -> None:
        for name, some in looked.items():
            self._seen[name].add(some)

    def findings(self, rows: Rows) -> Iterator[Finding]:
        for name, seen in self._seen.items():
            if seen.looked >= 2 * _LEAST and seen.covered > _TOO_MANY * seen.looked:
                text = (
                    f"{len(seen.often):,} {name} make up most of {records(seen.covered)} "
                    f"({share(seen.covered, seen.looked)})"
                )
                top = self._top(name, rows)
                spots = [Spot((row,), f"{count:,} times: {said}") for row, count, said in top]
                yield Finding(self.name, "warning", text, seen.covered, spots)

    def figures(self, rows: Rows) -> dict[str, Any]:
        return {
            "templates": {
                name: {
                    "records": seen.looked,
                    "covered": seen.covered,
                    "often": [[said, count] for _, count, said in self._top(name, rows)],
                }
                for name, seen in self._seen.items()
                if seen.looked
            }
        }

    def _top(self, name: str, rows: Rows) -> Iterator[tuple[int, int, str]]:
        """``(row, how often, what)`` of those that come most often."""
        text_of, pieces = _LOOKED[name]
        seen = self._seen[name]
        for hash_, count in islice(seen.often.items(), _SHOWN):
            row = seen.first(hash_)
            for piece in pieces(text_of(rows.entry(row))):
                if crc32(piece.encode()) == hash_:
                    yield row, count, piece.replace(_EMPTY, "___")


def _looked(entries: Sequence[Entry], text_of: Callable[[Entry], str], pieces: Pieces) -> Looked:
    rows, hashes = array("I"), array("I")
    for entry in entries:
        for piece in pieces(text_of(entry)) or ("",):
            rows.append(entry.index)
            hashes.append(crc32(piece.encode()))
    return rows, hashes


class _Seen:
    """The pieces of all rows, as numbers; 0 for a row without any."""

    def __init__(self) -> None:
        self._rows, self._hashes = array("I"), array("I")

    def add(self, looked: Looked) -> None:
        self._rows.extend(looked[0])
        self._hashes.extend(looked[1])

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Where the pieces of another row begin."""
        rows = np.frombuffer(self._rows, np.uint32)
        return np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]]) if len(rows) else _NONE

    @property
    def looked(self) -> int:
        """How many rows were looked at."""
        return len(self._starts)

    @cached_property
    def often(self) -> dict[int, int]:
        """The pieces that count as templates, and in how many rows each stands."""
        hashes, counts = np.unique(np.frombuffer(self._hashes, np.uint32), return_counts=True)
        kept = (counts >= max(_LEAST, _OFTEN * self.looked)) & (hashes > 0)
        found = zip(hashes[kept].tolist(), counts[kept].tolist(), strict=True)
        return dict(sorted(found, key=lambda one: -one[1]))

    @cached_property
    def covered(self) -> int:
        """Of how many rows they are at least half of the pieces."""
        if not self.often:
            return 0
        hashes = np.frombuffer(self._hashes, np.uint32)
        known = np.sort(np.array(list(self.often), np.uint32))
        found = known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)] == hashes
        sizes = np.diff(self._starts, append=len(hashes))
        return int((2 * np.add.reduceat(found, self._starts, dtype=np.int64) >= sizes).sum())

    def first(self, hash_: int) -> int:
        """The first row that has a piece."""
        return self._rows[int(np.argmax(np.frombuffer(self._hashes, np.uint32) == hash_))]


_NONE = np.zeros(0, np.int64)
