"""The audit: what is in the data, and what leaks from it into validation or exam."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from lorecraft.data.records import Record
from lorecraft.data.similar import NEAR, Similar
from lorecraft.data.split import asked
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
    figures = {}
    for name, (train, valid) in stages.items():
        texts = [(record.id, " ".join(asked(record))) for record in train]
        against = [(record.id, " ".join(asked(record))) for record in valid]
        figures[name] = {
            "train": _figures(train),
            "valid": _figures(valid),
            "leaks": _leaks(against, texts),
        }
    records = [record for train, valid in stages.values() for record in (*train, *valid)]
    return {"stages": figures, "exam": _exam(list(questions), records)}


def _figures(records: Sequence[Record]) -> dict[str, Any]:
    words = [len(record.words().split()) for record in records]
    return {
        "records": len(records),
        "origins": dict(Counter(record.origin for record in records)),
        "facts": len({fact for record in records for fact in record.facts}),
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
    turns = [(record.id, turn) for record in records for turn in asked(record)]
    return {
        "asked": len(questions),
        "verbatim": len(questions) - len(reworded),
        "shared_phrasings": sorted(p for p in phrasings if normal(p) in trained),
        "leaks": _leaks(reworded, turns),
    }


def _leaks(texts: Sequence[Asked], against: Sequence[Asked]) -> dict[str, Any]:
    """How close ``texts`` come to those that were trained."""
    known = Similar([text for _, text in against])
    found = []
    likes = known.most_like([text for _, text in texts])
    for (id_, text), like in zip(texts, likes, strict=True):
        if like:
            index, score = like
            exact = normal(text) == normal(against[index][1])
            found.append((score, exact, {"id": id_, "text": text}, against[index]))
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
