"""How long records are, in words or in tokens, and what of them is trained."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from lorecraft.data.audit.check import KEPT, Check, Kept, records, share
from lorecraft.data.audit.finding import Finding, Severity, Spot
from lorecraft.data.audit.rows import Entry, Rows
from lorecraft.data.encode import encode_stream
from lorecraft.data.records import Record
from lorecraft.data.turns import Tokenizer
from lorecraft.errors import DataError

_BARS = 30
_UNLIMITED = 1 << 30


class Lengths(Check):
    """The lengths of records in words."""

    name = "length"
    unit = "words"

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._lengths = array("l")

    def look(self, entries: Sequence[Entry]) -> Any:
        return [len(entry.words.split()) for entry in entries]

    def take(self, looked: Any) -> None:
        self._lengths.extend(looked)

    def findings(self, rows: Rows) -> Iterator[Finding]:
        if self._limit is None:
            return
        long = np.flatnonzero(np.array(self._lengths) > self._limit).tolist()
        if long:
            text = (
                f"longer than {self._limit:,} {self.unit}: {records(len(long))} "
                f"({share(len(long), len(rows))})"
            )
            spots = [Spot((i,), f"{self._lengths[i]:,} {self.unit}") for i in long[:KEPT]]
            yield Finding(self.name, "warning", text, len(long), spots)

    def figures(self, rows: Rows) -> dict[str, Any]:
        lengths = np.array(self._lengths)
        most = np.percentile(lengths, 99.5) if len(rows) else 0  # a few are far longer
        top = max(most, 1.1 * (self._limit or 0), 1)
        edges = np.unique(np.linspace(0, top, _BARS + 1).round().astype(int))
        splits = {}
        for split, (start, end) in zip(rows.splits, rows.bounds, strict=True):
            known = lengths[start:end]
            known = known[known > 0]
            counts, _ = np.histogram(np.minimum(known, edges[-1]), edges)
            splits[split.name] = {
                "shortest": int(known.min()) if len(known) else 0,
                "median": float(np.median(known)) if len(known) else 0.0,
                "longest": int(known.max(initial=0)),
                "total": int(known.sum()),
                "histogram": counts.tolist(),
            }
        return {
            "lengths": {
                "unit": self.unit,
                "limit": self._limit,
                "edges": edges.tolist(),
                "splits": splits,
            }
        }


class Tokens(Lengths):
    """The lengths of records in tokens; records of which nothing is trained within the limit, or
    all, or whose answer does not end; records that the chat template refuses."""

    name = "tokens"
    unit = "tokens"

    def __init__(self, load: Callable[[], Tokenizer], limit: int) -> None:
        super().__init__(limit)
        self._load = load
        self._trained = 0
        self._kept = Kept()

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return self._load()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_tokenizer"}

    def look(self, entries: Sequence[Entry]) -> tuple[list[int], int, list[tuple[str, Spot]]]:
        lengths, trained = [0] * len(entries), 0
        marks: list[tuple[str, Spot]] = []
        known = [(nth, e) for nth, e in enumerate(entries) if e.record and _answered(e)]
        examples = self._encoded([entry for _, entry in known], marks)
        for nth, entry in known:
            if entry.index not in examples:
                continue
            both = examples[entry.index]
            lengths[nth] = max(len(tokens) for tokens, _ in both)
            trained += sum(int(np.count_nonzero(weight[: self._limit])) for _, weight in both)
            kinds = (kind for tokens, weight in both for kind in self._kinds(entry, tokens, weight))
            for kind in dict.fromkeys(kinds):
                why = f"{lengths[nth]:,} tokens" if kind == _CUT else ""
                marks.append((kind, Spot((entry.index,), why)))
        return lengths, trained, marks

    def _encoded(self, entries: list[Entry], marks: list[tuple[str, Spot]]) -> dict[int, Any]:
        """Tokens and weights by row, of a preference pair of both conversations; what cannot be
        encoded is marked."""
        named = [_named(entry) for entry in entries]
        try:
            stream = list(encode_stream(named, self._tokenizer, _UNLIMITED))
        except DataError:
            stream = []
            for record in named:
                try:
                    stream += encode_stream([record], self._tokenizer, _UNLIMITED)
                except DataError as error:
                    why = error.seen.removeprefix(f"{record.place}: ")
                    marks.append((_REFUSED, Spot((int(record.id),), why)))
        examples = (encoded.example for encoded in stream)
        return {int(example.record): example.conversations() for example in examples}

    def _kinds(self, entry: Entry, tokens: Any, weight: Any) -> Iterator[str]:
        assert self._limit is not None
        if entry.record and entry.record.messages:  # a longer text goes on in further examples
            if len(tokens) > self._limit:
                yield _CUT
            if not weight[: self._limit].any():
                yield _NOTHING
            elif weight[1:].all():
                yield _EVERYTHING
        last = np.flatnonzero(weight)
        if len(last) and int(tokens[last[-1]]) not in self._tokenizer.stop_ids:
            yield _ENDLESS

    def take(self, looked: tuple[list[int], int, list[tuple[str, Spot]]]) -> None:
        lengths, trained, marks = looked
        super().take(lengths)
        self._trained += trained
        for kind, spot in marks:
            self._kept.add(kind, spot)

    def findings(self, rows: Rows) -> Iterator[Finding]:
        for kind, count in self._kept.counts.items():
            severity: Severity = "warning" if kind in (_CUT, _EVERYTHING) else "error"
            text = f"{kind}: {records(count)}"
            yield Finding(self.name, severity, text, count, self._kept.spots[kind])

    def figures(self, rows: Rows) -> dict[str, Any]:
        return super().figures(rows) | {"trained_tokens": self._trained}


_CUT = "longer than the limit, and cut there"
_NOTHING = "nothing is trained within the limit"
_EVERYTHING = "all of a chat is trained"
_ENDLESS = "the answer has no end of turn, so that the model would not learn to stop"
_REFUSED = "cannot be made into tokens"


def _answered(entry: Entry) -> bool:
    record = entry.record
    return bool(record and (record.text or any(m.role == "assistant" for m in record.messages)))


def _named(entry: Entry) -> Record:
    assert entry.record is not None
    return replace(entry.record, id=str(entry.index), place=str(entry.index))
