"""The data pipeline as a picture: what was read, what each stage trained on, what is asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorecraft.reports.data import Results
from lorecraft.reports.svg import WIDTH, escape, opened

RAIL, BOX, GAP = 14, 189, 28
"""Pixels: what leads from the sources to all that is made of them, a box, and what is between."""
TALL, STEP = 78, 104
"""Pixels: a box, and from one row to the next."""
LETTERS = 31
"""Of a line in a box."""

SOURCES = (
    "facts", "ontology", "tables", "documents", "python", "train", "valid", "pairs",
    "pairs_valid", "general", "test",
)  # fmt: skip
"""Keys of a recipe that name what is read."""

Lines = list[str]


@dataclass(frozen=True)
class Box:
    """A title, lines, and of what kinds its records are."""

    title: str
    lines: Lines
    shares: Mapping[str, int] = field(default_factory=dict)


def sources(recipe: Mapping[str, Any]) -> Lines:
    """What the recipe reads, a short name each."""
    sections = [recipe.get(name) or {} for name in ("knowledge", "data", "style")]
    found: Lines = []
    for section in sections:
        for key in SOURCES:
            given = section.get(key) or ()
            for where in given if isinstance(given, list) else [given] if given else ():
                path = where["path"] if isinstance(where, Mapping) else where
                if path == "builtin":
                    found.append("general records")
                elif path != "none":
                    found.append(Path(path.removeprefix("hf:")).name)
    return found


def pipelines(runs: Sequence[Results]) -> list[tuple[list[str], str]]:
    """``(names of the runs, picture)`` for each way that data were made; runs without are left
    out."""
    groups: dict[str, list[Results]] = {}
    for run in runs:
        if run.audit:
            way = json.dumps([sources(run.recipe), run.audit, list(run.stages)], sort_keys=True)
            groups.setdefault(way, []).append(run)
    return [([run.name for run in alike], _pipeline(alike)) for alike in groups.values()]


def _pipeline(runs: Sequence[Results]) -> str:
    """Data on the left, models on the right, a row a stage."""
    run = runs[0]
    models = dict.fromkeys(Path(one.recipe["model"]["path"]).name for one in runs)
    rows = [(Box("sources", _fitted(sources(run.recipe))), Box("base model", _fitted([*models])))]
    for name, found in run.audit["stages"].items():
        train, valid = found["train"], found["valid"]
        counted = f"{train['records']:,} to train, {valid['records']:,} to validate"
        origins = ", ".join(f"{origin} {n:,}" for origin, n in train["origins"].items())
        data = Box(f"{name}: records", [counted, origins], train["origins"])
        rows.append((data, Box(name, _stage(runs, name))))
    asked = Counter(question.measure for question in run.questions)
    lines = [*_fitted([f"{measure} {n}" for measure, n in asked.items()]), *_leaks(run.audit)]
    sat = [one for one in runs if one.verdict]
    told = _fitted([*sat[0].verdict["models"]]) if sat else ["not examined yet"]
    if len(runs) > 1:
        told = [*told, f"{len(sat)} of {len(runs)} runs"]
    exam = Box(f"exam: {run.audit['exam']['asked']:,} questions", lines)
    rows.append((exam, Box("examined", told)))
    return _drawn(", ".join(one.name for one in runs), rows)


def _stage(runs: Sequence[Results], name: str) -> Lines:
    """How the stage went, over all these runs."""
    stages = [run.stages[name] for run in runs if "steps" in run.stages[name]]
    if not stages:
        return ["not trained yet"]
    errors = [s["best_valid_error"] for s in stages if s["best_valid_error"] is not None]
    lines = [f"{_span([stage['steps'] for stage in stages], ',')} steps"]
    return [
        *lines,
        *(
            [f"validation {'loss' if 'pairs' in stages[0] else 'error'} {_span(errors, '.3f')}"]
            if errors
            else []
        ),
    ]


def _span(figures: Sequence[float], how: str) -> str:
    low, high = format(min(figures), how), format(max(figures), how)
    return low if low == high else f"{low}–{high}"


def _leaks(audit: Mapping[str, Any]) -> Lines:
    leaks = audit.get("exam", {}).get("leaks")
    if not leaks:
        return []
    return [f"in training: {leaks['exact']} same, {leaks['near']} nearly"]


def _fitted(items: Lines) -> Lines:
    """Several short things on two lines."""
    text, lines = "", []
    for item in items:
        longer = f"{text}, {item}" if text else item
        if text and len(longer) > LETTERS:
            lines.append(f"{text},")
            longer = item
        text = longer
    lines = [*lines, text] if text else lines
    return lines if len(lines) <= 2 else [lines[0], f"and {len(items)} in all"]


def _drawn(name: str, rows: Sequence[tuple[Box, Box]]) -> str:
    right = RAIL + BOX + GAP
    ways = [STEP * number + 2 + TALL / 2 for number in range(len(rows))]

    def body() -> Iterator[str]:
        yield (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path class="arrow" d="M1 1 L7 4 L1 7"/></marker>'
            "</defs>"
        )
        yield f'<path class="arrow" d="M{RAIL} {ways[0]:g} H3 V{ways[-1]:g}"/>'
        for number, (data, model) in enumerate(rows):
            top, middle = ways[number] - TALL / 2, ways[number]
            yield from _box(RAIL, top, data)
            yield from _box(right, top, model)
            if number:
                yield _arrow(3, middle, RAIL - 2, middle)
                yield _arrow(RAIL + BOX, middle, right - 2, middle)
                yield _arrow(right + BOX / 2, top - STEP + TALL, right + BOX / 2, top - 2)

    height = STEP * (len(rows) - 1) + TALL + 4
    said = "; ".join(f"{box.title}: {', '.join(box.lines)}" for row in rows for box in row)
    return "".join(
        (opened("boxes", WIDTH, height, f"Pipeline of {name}. {said}"), *body(), "</svg>")
    )


def _box(x: float, y: float, box: Box) -> Iterator[str]:
    yield f'<rect class="box" x="{x}" y="{y}" width="{BOX}" height="{TALL}" rx="6"/>'
    yield f'<text class="title" x="{x + 10}" y="{y + 20}">{escape(box.title[:LETTERS])}</text>'
    for number, text in enumerate(box.lines[:3]):
        shown = text if len(text) <= LETTERS + 2 else f"{text[: LETTERS + 1]}…"
        yield f'<text x="{x + 10}" y="{y + 37 + 15 * number}">{escape(shown)}</text>'
    total, across = sum(box.shares.values()), x + 10.0
    for number, count in enumerate(box.shares.values()):  # a bar of where the records come from
        width = (BOX - 20) * count / total
        place = f'x="{across:.1f}" y="{y + TALL - 13}" width="{width:.1f}" height="5"'
        yield f'<g class="s{number % 6}"><rect class="origin" {place}/></g>'
        across += width


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path class="arrow" d="M{x1:g} {y1:g} L{x2:g} {y2:g}" marker-end="url(#tip)"/>'
