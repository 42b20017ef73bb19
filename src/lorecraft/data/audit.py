"""The audit: what is in the data, and what leaks from it into validation or exam."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from lorecraft.data.records import Record
from lorecraft.data.similar import NEAR, Similar
from lorecraft.data.split import asked, question
from lorecraft.data.views import Joined, Mapped
from lorecraft.knowledge.ontology import normal

_EXAMPLES = 5

Stages = Mapping[str, tuple[Sequence[Record], Sequence[Record]]]
Asked = tuple[str, str]


def audit(stages: Stages, questions: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """Figures that can be written as JSON.

    Args:
        stages: stage name -> ``(train, valid)``.
        questions: the exam, each ``(id, prompt, phrasing)``; a phrasing ``""`` marks a question
            from a fact's own words, which training tells verbatim. Such questions are counted
            (``verbatim``) and compared with nothing.

    Returns:
        ``stages``: for each, ``train`` and ``valid`` (``records``, ``origins``, ``facts`` told,
        ``words`` with ``shortest``, ``median``, ``longest``, ``total``), and ``leaks`` from train
        to valid. ``exam``: ``asked``, ``verbatim``, ``shared_phrasings`` (a list; empty in a
        sound exam) and ``leaks`` from all training and validation to the exam. ``leaks`` are
        ``exact`` (the same but for case and punctuation), ``near`` (similarity 0.8 or more, not
        exact), ``highest`` (the similarity of the closest pair that is not exact, ``None`` if
        none comes near 0.5) and ``examples`` (the closest first).
    """
    figures = {
        name: {
            "train": _figures(train),
            "valid": _figures(valid),
            "leaks": _leaks(Mapped(_asked, valid), map(_asked, train)),
        }
        for name, (train, valid) in stages.items()
    }
    records = Joined(*(part for parts in stages.values() for part in parts))
    return {"stages": figures, "exam": _exam(list(questions), records)}


def _asked(record: Record) -> Asked:
    return record.id, question(record)


def _figures(records: Sequence[Record]) -> dict[str, Any]:
    words = array("q")
    origins: Counter[str] = Counter()
    facts: set[str] = set()
    for record in records:
        words.append(len(record.words().split()))
        origins[record.origin] += 1
        facts.update(record.facts)
    return {
        "records": len(records),
        "origins": dict(origins),
        "facts": len(facts),
        "words": {
            "shortest": min(words, default=0),
            "median": median(words) if words else 0,
            "longest": max(words, default=0),
            "total": sum(words),
        },
    }


def _exam(questions: Sequence[tuple[str, str, str]], records: Sequence[Record]) -> dict[str, Any]:
    trained = {normal(phrasing) for record in records for phrasing in record.phrasings}
    reworded = [(id_, prompt) for id_, prompt, phrasing in questions if phrasing]
    phrasings = {phrasing for _, _, phrasing in questions if phrasing}
    turns = ((record.id, turn) for record in records for turn in asked(record))
    return {
        "asked": len(questions),
        "verbatim": len(questions) - len(reworded),
        "shared_phrasings": sorted(p for p in phrasings if normal(p) in trained),
        "leaks": _leaks(reworded, turns),
    }


def _leaks(texts: Sequence[Asked], against: Iterable[Asked]) -> dict[str, Any]:
    """How close ``texts`` come to those that were trained."""
    known = Similar(Mapped(lambda named: named[1], texts))
    best: dict[int, tuple[float, Asked]] = {}
    for other, index, score in known.matches((named, named[1]) for named in against):
        if index not in best or score > best[index][0]:
            best[index] = score, other
    found = []
    for (id_, text), first in zip(texts, known.first, strict=True):
        if first in best:
            score, other = best[first]
            exact = normal(text) == normal(other[1])
            found.append((score, exact, {"id": id_, "text": text}, other))
    found.sort(key=lambda leak: (-leak[0], leak[2]["id"]))
    leaks = [leak for leak in found if leak[0] >= NEAR]
    return {
        "exact": sum(exact for _, exact, _, _ in leaks),
        "near": sum(not exact for _, exact, _, _ in leaks),
        "highest": next((round(score, 3) for score, exact, _, _ in found if not exact), None),
        "examples": [
            question | {"like": id_, "like_text": text, "similarity": round(score, 3)}
            for score, _, question, (id_, text) in leaks[:_EXAMPLES]
        ],
    }
