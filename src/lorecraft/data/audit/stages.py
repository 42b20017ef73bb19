"""What a run's stages hold, and what leaks from them into validation or exam."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from lorecraft.data.audit.audit import told
from lorecraft.data.audit.check import Check
from lorecraft.data.audit.duplicates import Answers
from lorecraft.data.audit.rows import Recorded, Split
from lorecraft.data.audit.shape import Roles
from lorecraft.data.audit.texts import Encoding, Personal, Secrets, TemplateTokens
from lorecraft.data.records import Record
from lorecraft.data.similar import NEAR, Similar
from lorecraft.data.split import asked, question
from lorecraft.data.views import Mapped
from lorecraft.knowledge.ontology import normal

_EXAMPLES = 5

Stages = Mapping[str, tuple[Sequence[Record], Sequence[Record]]]
Asked = tuple[str, str]


def audit_stages(
    stages: Stages, questions: Iterable[tuple[str, str, str]], more: Sequence[Check] = ()
) -> dict[str, Any]:
    """Figures that can be written as JSON.

    Args:
        stages: stage name -> ``(train, valid)``.
        questions: the exam, each ``(id, prompt, phrasing)``; a phrasing ``""`` marks a question
            from a fact's own words, which training tells verbatim. Such questions are counted
            (``verbatim``) and compared with nothing.
        more: checks besides those that look at each record alone.

    Returns:
        ``stages``: for each, ``train`` and ``valid`` (``records``, ``origins``, ``facts`` told,
        ``words`` with ``shortest``, ``median``, ``longest``, ``total``), and ``leaks`` from train
        to valid. ``exam``: ``asked``, ``verbatim``, ``shared_phrasings`` (a list; empty in a
        sound exam) and ``leaks`` from all training and validation to the exam. ``leaks`` are
        ``exact`` (the same but for case and punctuation), ``near`` (similarity 0.8 or more, not
        exact), ``highest`` (the similarity of the closest pair that is not exact, ``None`` if
        none comes near 0.5) and ``examples`` (the closest first). ``findings``: what the checks of
        any data set find in the records, each ``check``, ``severity``, ``text``, ``count`` and the
        first ``spots``.
    """
    parts = [
        (name, part, records)
        for name, both in stages.items()
        for part, records in zip(("train", "valid"), both, strict=True)
    ]
    rows = Recorded([(Split(f"{name}/{part}", (), stage=name), r) for name, part, r in parts])
    wanted = [Roles(), Answers(), Secrets(), Personal(), Encoding(), TemplateTokens(), *more]
    exam = _Exam(list(questions))
    leaks = {name: _Leaks(Mapped(_asked, valid)) for name, (_, valid) in stages.items()}
    counts = [_Counts() for _ in parts]
    for entries in rows.entries():
        name, part, _ = parts[entries[0].split]
        records = [entry.record for entry in entries if entry.record]
        counts[entries[0].split].see(records)
        exam.see(records)
        if part == "train":
            leaks[name].see(map(_asked, records))
        for check in wanted:
            check.take(check.look(entries))
    figures: dict[str, dict[str, Any]] = {name: {} for name in stages}
    for (name, part, _), count in zip(parts, counts, strict=True):
        figures[name][part] = count.figures()
    for name, found in leaks.items():
        figures[name]["leaks"] = found.figures()
    findings = [
        finding | {"spots": finding["spots"][:_EXAMPLES]}
        for finding in told(rows, wanted).to_json()["findings"]
    ]
    return {"stages": figures, "exam": exam.figures(), "findings": findings}


def _asked(record: Record) -> Asked:
    return record.id, question(record)


class _Counts:
    """What records there are."""

    def __init__(self) -> None:
        self._words = array("q")
        self._origins: Counter[str] = Counter()
        self._facts: set[str] = set()

    def see(self, records: Sequence[Record]) -> None:
        for record in records:
            self._words.append(len(record.words().split()))
            self._origins[record.origin] += 1
            self._facts.update(record.facts)

    def figures(self) -> dict[str, Any]:
        words = self._words
        return {
            "records": len(words),
            "origins": dict(self._origins),
            "facts": len(self._facts),
            "words": {
                "shortest": min(words, default=0),
                "median": median(words) if words else 0,
                "longest": max(words, default=0),
                "total": sum(words),
            },
        }


class _Exam:
    """How close the exam comes to what was trained or validated on."""

    def __init__(self, questions: Sequence[tuple[str, str, str]]) -> None:
        self._questions = questions
        self._trained: set[str] = set()
        self._leaks = _Leaks([(id_, prompt) for id_, prompt, phrasing in questions if phrasing])

    def see(self, records: Sequence[Record]) -> None:
        self._trained.update(p for record in records for p in map(normal, record.phrasings))
        self._leaks.see((record.id, turn) for record in records for turn in asked(record))

    def figures(self) -> dict[str, Any]:
        phrasings = {phrasing for _, _, phrasing in self._questions if phrasing}
        return {
            "asked": len(self._questions),
            "verbatim": sum(not phrasing for _, _, phrasing in self._questions),
            "shared_phrasings": sorted(p for p in phrasings if normal(p) in self._trained),
            "leaks": self._leaks.figures(),
        }


class _Leaks:
    """How close texts come to those that were trained."""

    def __init__(self, texts: Sequence[Asked]) -> None:
        self._texts = texts
        self._known = Similar(Mapped(lambda named: named[1], texts))
        self._best: dict[int, tuple[float, Asked]] = {}

    def see(self, trained: Iterable[Asked]) -> None:
        for other, index, score in self._known.matches((named, named[1]) for named in trained):
            if index not in self._best or score > self._best[index][0]:
                self._best[index] = score, other

    def figures(self) -> dict[str, Any]:
        found = []
        for (id_, text), first in zip(self._texts, self._known.first, strict=True):
            if first in self._best:
                score, other = self._best[first]
                exact = normal(text) == normal(other[1])
                found.append((score, exact, {"id": id_, "text": text}, other))
        found.sort(key=lambda leak: (-leak[0], leak[2]["id"]))
        leaks = [leak for leak in found if leak[0] >= NEAR]
        return {
            "exact": sum(exact for _, exact, _, _ in leaks),
            "near": sum(not exact for _, exact, _, _ in leaks),
            "highest": next((round(score, 3) for score, exact, _, _ in found if not exact), None),
            "examples": [
                text_of | {"like": id_, "like_text": text, "similarity": round(score, 3)}
                for score, _, text_of, (id_, text) in leaks[:_EXAMPLES]
            ],
        }
