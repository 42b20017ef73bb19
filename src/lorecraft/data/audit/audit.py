"""The audit of any data set: every check over every row, on all cores."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from lorecraft.data.audit.balance import Languages, Tags
from lorecraft.data.audit.check import Check
from lorecraft.data.audit.duplicates import Answers, Duplicates, NearDuplicates
from lorecraft.data.audit.finding import SEVERITIES, Finding, Spot
from lorecraft.data.audit.rows import Piece, Rows
from lorecraft.data.audit.shape import Pairs, Roles, Trained, Unreadable
from lorecraft.data.audit.templates import Templates
from lorecraft.data.audit.texts import Encoding, Personal, Secrets, TemplateTokens
from lorecraft.errors import LorecraftError

Seen = Callable[[int], None]

ALONE = 20_000
"""Fewer rows are read in one process."""
_MOST = 8
"""Processes at most."""
EXCERPT = 300


@dataclass(frozen=True)
class Audit:
    """What was found, the worst first, and the figures of all checks."""

    rows: Rows
    findings: Sequence[Finding]
    figures: dict[str, Any]

    @property
    def clean(self) -> bool:
        """Nothing was found; notes are no finding."""
        return all(finding.severity == "note" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """All of it, with the place of every row."""
        return {
            "splits": self.splits(),
            "findings": [
                {
                    "check": finding.check,
                    "severity": finding.severity,
                    "text": finding.text,
                    "count": finding.count,
                    "spots": [self._spot(spot) for spot in finding.spots],
                }
                for finding in self.findings
            ],
            "figures": self.figures,
        }

    def splits(self) -> list[dict[str, Any]]:
        """Each split with its rows and its files, by their SHA-256."""
        hashes = self.rows.hashes()
        return [
            {
                "name": split.name,
                "rows": end - start,
                "files": {file.name: hashes[file.name] for file in split.files},
            }
            for split, (start, end) in zip(self.rows.splits, self.rows.bounds, strict=True)
        ]

    def _spot(self, spot: Spot) -> dict[str, Any]:
        places = [self.rows.place(index) for index in spot.rows]
        return {"places": places, **({"why": spot.why} if spot.why else {})}

    def excerpt(self, index: int, most: int = EXCERPT) -> str:
        """The beginning of what a row says, on one line."""
        text = " ".join(self.rows.entry(index).words.split())
        return text if len(text) <= most else text[: most - 1] + "…"


def checks(more: Sequence[Check] = ()) -> list[Check]:
    """Every check that needs nothing but the data, and ``more``."""
    return [
        *(Unreadable(), Pairs(), Roles(), Trained(), Duplicates(), NearDuplicates(), Answers()),
        *(Secrets(), Personal(), Encoding(), TemplateTokens(), Templates(), Languages(), Tags()),
        *more,
    ]


def audit(rows: Rows, wanted: Sequence[Check], seen: Seen = lambda count: None) -> Audit:
    """Look at all rows; ``seen`` is told how many were, now and then."""
    for count, looked in _looked(rows, wanted):
        for check, some in zip(wanted, looked, strict=True):
            check.take(some)
        seen(count)
    return told(rows, wanted)


def told(rows: Rows, wanted: Sequence[Check]) -> Audit:
    """What checks that have looked at all rows have to tell."""
    found = [finding for check in wanted for finding in check.findings(rows)]
    figures: dict[str, Any] = {}
    for check in wanted:
        figures |= check.figures(rows)
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Audit(rows, found, figures)


def _looked(rows: Rows, wanted: Sequence[Check]) -> Iterator[tuple[int, list[Any]]]:
    """How many rows, and what each check looked at of them; in order."""
    if len(rows) < ALONE:
        for piece in rows.pieces():
            yield _look(piece, wanted)
        return
    with ProcessPoolExecutor(_workers(), get_context("spawn"), _begin, (wanted,)) as pool:
        waiting: deque[Any] = deque()
        try:
            for piece in rows.pieces():
                waiting.append(pool.submit(_look_beside, piece))
                if len(waiting) > 2 * _workers():
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise LorecraftError(
                "a process of the audit was killed, most likely for its memory",
                "about 200 MB for each of at most eight cores, and 500 bytes a record",
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _workers() -> int:
    known = hasattr(os, "sched_getaffinity")  # not on a Mac
    return min(_MOST, len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1)


_wanted: Sequence[Check] = ()


def _begin(wanted: Sequence[Check]) -> None:
    """In each process but the first."""
    global _wanted
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    _wanted = wanted


def _look_beside(piece: Piece) -> tuple[int, list[Any]]:
    return _look(piece, _wanted)


def _look(piece: Piece, wanted: Sequence[Check]) -> tuple[int, list[Any]]:
    entries = piece.entries()
    return len(entries), [check.look(entries) for check in wanted]
