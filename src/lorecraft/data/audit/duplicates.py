"""What is there more than once: records, questions, questions that get different answers."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorecraft.data.audit.check import Check, records
from lorecraft.data.audit.finding import Finding, Severity, Spot
from lorecraft.data.audit.rows import Entry, Rows, digest
from lorecraft.data.similar import Similar, Sketches, jaccard, shingles, sketch
from lorecraft.data.views import Mapped

Digests = NDArray[np.uint64]
Indices = NDArray[np.int64]


def groups(keys: Digests, places: Indices) -> Iterator[Indices]:
    """Places with the same key, in order, where there are several."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    edges = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1], True])
    starts, sizes = edges[:-1], np.diff(edges)
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        yield places[order[start : start + size]]


class _Keyed(Check):
    """Holds numbers of every row that has something to compare."""

    def __init__(self) -> None:
        self._places, self._keys, self._others = array("q"), array("Q"), array("Q")

    def take(self, looked: Sequence[tuple[int, int, int]]) -> None:
        for index, key, other in looked:
            self._places.append(index)
            self._keys.append(key)
            self._others.append(other)

    def _columns(self) -> tuple[Indices, Digests, Digests]:
        return (
            np.frombuffer(self._places, np.int64),
            np.frombuffer(self._keys, np.uint64),
            np.frombuffer(self._others, np.uint64),
        )


class Duplicates(_Keyed):
    """Records that are the same but for case and white space. General records, which a mixture
    repeats on purpose, are compared between splits alone."""

    name = "duplicates"

    def look(self, entries: Sequence[Entry]) -> list[tuple[int, int, int]]:
        return [
            (entry.index, entry.digest, entry.record.origin == "general")
            for entry in entries
            if entry.record
        ]

    def findings(self, rows: Rows) -> Iterator[Finding]:
        places, keys, general = self._columns()
        repeated = dict(zip(places.tolist(), general.tolist(), strict=True)) if any(general) else {}
        within, across = [], []
        for group in groups(keys, places):
            for some in _comparable(group.tolist(), rows):
                if len({rows.split(index) for index in some}) > 1:
                    across.append(some)
                elif not repeated.get(some[0]):
                    within.append(some)
        yield from _told(self.name, "error", "{} in several splits", across)
        yield from _told(self.name, "warning", "{} more than once in a split", within)


def _comparable(group: Sequence[int], rows: Rows) -> Iterator[Sequence[int]]:
    """A group by stages, those without a stage with each; a row alone is none."""
    stages = {rows.splits[rows.split(index)].stage for index in group}
    for stage in sorted(stages - {""}) or [""]:
        some = [i for i in group if rows.splits[rows.split(i)].stage in ("", stage)]
        if len(some) > 1:
            yield some


def _told(
    check: str, severity: Severity, text: str, found: Sequence[Sequence[int]]
) -> Iterator[Finding]:
    if found:
        spots = Mapped(lambda some: Spot(tuple(some)), found)
        yield Finding(check, severity, text.format(records(len(found))), len(found), spots)


class Answers(_Keyed):
    """The same question, after the same turns, with different answers; of preference pairs the
    chosen ones."""

    name = "different answers"

    def look(self, entries: Sequence[Entry]) -> list[tuple[int, int, int]]:
        return [
            (entry.index, digest(f"{_kind(entry) == _PAIR} {entry.context}"), digest(entry.answer))
            for entry in entries
            if entry.answer and entry.context
        ]

    def findings(self, rows: Rows) -> Iterator[Finding]:
        places, keys, answers = self._columns()
        found = []
        for group in groups(keys, np.arange(len(keys))):
            for some in _comparable(places[group].tolist(), rows):
                # one row of each answer
                known = dict(zip(places[group].tolist(), answers[group].tolist(), strict=True))
                told = {known[index]: index for index in reversed(some)}
                if len(told) > 1:
                    found.append(sorted(told.values()))
        if found:
            text = f"{len(found):,} question{'s' * (len(found) != 1)} with different answers"
            spots = Mapped(lambda some: Spot(tuple(some)), found)
            yield Finding(self.name, "warning", text, len(found), spots)


_Pair = tuple[int, int]
_TWINS = 1000


class NearDuplicates(Check):
    """Pairs that ask nearly the same (plain texts: that say it), within and between splits.

    MinHash finds candidates, the exact similarity decides; see ``similar``. Pairs that differ in
    numbers are told apart: where numbers are what is asked for, they are other questions. Several
    wordings of one question, as Lorecraft makes them and exams have them, are not compared within a
    split; preference pairs, which ask what chats have taught, not with chats.
    """

    name = "near duplicates"

    def __init__(self) -> None:
        self._places, self._digests, self._numbers = array("q"), array("Q"), array("Q")
        self._kinds = bytearray()
        self._sketches: list[Sketches] = []

    def look(self, entries: Sequence[Entry]) -> tuple[Any, ...]:
        some = [entry for entry in entries if entry.record]
        sketches = sketch([entry.question for entry in some])
        places, digests = [entry.index for entry in some], [entry.digest for entry in some]
        return places, digests, list(map(_numbers, some)), bytes(map(_kind, some)), sketches

    def take(self, looked: tuple[Any, ...]) -> None:
        places, digests, numbers, kinds, sketches = looked
        self._places.extend(places)
        self._digests.extend(digests)
        self._numbers.extend(numbers)
        self._kinds += kinds
        self._sketches.append(sketches)

    def findings(self, rows: Rows) -> Iterator[Finding]:
        if not self._places:
            return
        texts = Mapped(lambda index: rows.entry(index).question, self._places)
        sketches = tuple(np.concatenate(parts) for parts in zip(*self._sketches, strict=True))
        self._sketches.clear()
        similar = Similar(texts, sketches)  # type: ignore[arg-type]
        found: dict[str, list[_Pair]] = {"across": [], "within": [], "numbers": []}
        again: dict[int, list[int]] = {}
        for index, same in enumerate(similar.first):
            if index != same:
                again.setdefault(same, [same]).append(index)
        for i, j in self._same(again.values(), rows):
            found["across"].append((self._places[i], self._places[j]))
        for i, j in self._near(similar, again, rows):
            pair = self._places[i], self._places[j]
            within = rows.split(pair[0]) == rows.split(pair[1])
            if self._numbers[i] != self._numbers[j]:
                found["numbers"].append(pair)
            else:
                found["within" if within else "across"].append(pair)
        told: tuple[tuple[str, Severity, str], ...] = (
            (
                "across",
                "error",
                "in different splits with nearly the same question: leave one of each out, or ask "
                "it otherwise",
            ),
            ("within", "warning", "in one split with nearly the same question"),
            ("numbers", "note", "with the same question but for numbers"),
        )
        for kind, severity, what in told:
            if pairs := found[kind]:
                text = f"{len(pairs):,} pair{'s' * (len(pairs) != 1)} {what}"
                spots = Mapped(lambda pair: _compared(pair, rows), sorted(pairs))
                yield Finding(self.name, severity, text, len(pairs), spots)

    def _wanted(self, i: int, j: int, rows: Rows) -> bool:
        splits = [rows.splits[rows.split(self._places[one])] for one in (i, j)]
        kinds = {self._kinds[i], self._kinds[j]}
        if _PAIR in kinds and not kinds <= {_PAIR, _EXAM}:
            return False
        if splits[0] is splits[1]:
            return kinds != {_EXAM} and not kinds <= {_GENERAL, _MADE}
        return splits[0].stage == splits[1].stage or "" in (splits[0].stage, splits[1].stage)

    def _near(
        self, similar: Similar, again: Mapping[int, Sequence[int]], rows: Rows
    ) -> Iterator[_Pair]:
        """Pairs of similar questions; of a question that comes ``again``, each (of very many, the
        first)."""
        for i, j in similar.pairs():
            for one, other in islice(product(again.get(i, [i]), again.get(j, [j])), _TWINS):
                if self._wanted(one, other, rows):
                    yield min(one, other), max(one, other)

    def _same(self, groups: Iterable[Sequence[int]], rows: Rows) -> Iterator[_Pair]:
        """Of records with the same question, each with the first of another split that is not the
        same as a whole."""
        for group in groups:
            firsts: dict[tuple[int, int], int] = {}
            for j in group:
                own = rows.split(self._places[j])
                for (split, _), i in firsts.items():
                    apart = split != own and self._digests[i] != self._digests[j]
                    if apart and self._wanted(i, j, rows):
                        yield i, j
                        break
                firsts.setdefault((own, self._kinds[j]), j)


def _compared(pair: _Pair, rows: Rows) -> Spot:
    first, second = (shingles(rows.entry(index).question) for index in pair)
    return Spot(pair, f"similarity {jaccard(first, second):.2f}")


_OTHER, _GENERAL, _MADE, _PAIR, _EXAM = range(5)


def _kind(entry: Entry) -> int:
    """Whether it is a general record, one that Lorecraft made from a phrasing, a preference pair,
    or a question as an exam has it."""
    record = entry.record
    assert record is not None
    if entry.rejected:
        return _PAIR
    if not record.text and not entry.answer:
        return _EXAM
    return _GENERAL if record.origin == "general" else _MADE if record.phrasings else _OTHER


def _numbers(entry: Entry) -> int:
    """64 bits of the numbers in a question."""
    return digest(" ".join(re.findall(r"\d+", entry.question)))
