"""Pictures of several runs in one: curves overlaid, figures side by side or against a setting.

Each has its title and its legend in it, so that it can also stand alone (``svg.standalone``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorecraft.reports.svg import (
    BOTTOM,
    LEFT,
    WIDTH,
    Frame,
    averaged,
    dot,
    escape,
    line,
    opened,
    series,
    ticks,
)

COLOURS = 6
TITLE = 30
ROW = 24
KEY = 17
PLOT = 190
"""Pixels: the title, a row of figures, a row of the legend, axes with what is between them."""
APART = 32
"""Pixels between two texts below an axis, at least."""


@dataclass(frozen=True)
class Mark:
    """A figure at a setting, with its interval where there is one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    chosen: bool = False


def colour(number: int) -> str:
    """The class of a run or a line by its place; when the colours are used up, dashed again."""
    return f"s{number % COLOURS}" + " again" * (number >= COLOURS)


def overlaid(stage: str, runs: Mapping[str, tuple[str, Sequence[Mapping[str, float]]]]) -> str:
    """The losses of a stage over its steps: validation drawn plainly, training faintly behind it.

    ``runs`` has the class and the points of each. Empty text where no point is finite.
    """
    lines = {
        name: (of, averaged(series(points, "loss")), series(points, "valid_loss"))
        for name, (of, points) in runs.items()
    }
    lines = {name: parts for name, parts in lines.items() if parts[1] or parts[2]}
    every = [point for _, train, valid in lines.values() for point in train + valid]
    if not every:
        return ""
    last, losses = max(1.0, *(x for x, _ in every)), [y for _, y in every]
    ticks_y = ticks(min(losses), max(losses))
    frame = _frame((0.0, last), (ticks_y[0], ticks_y[-1]))

    def drawn() -> Iterator[str]:
        for of, train, valid in lines.values():
            yield f'<g class="{of}">'
            yield line("faint" if valid else "of", [frame.place(point) for point in train])
            yield line("of", [frame.place(point) for point in valid])
            if len(valid) <= 40:
                yield from (dot("dot", frame.place(point)) for point in valid)
            yield "</g>"

    ticks_x = {x: f"{x:g}" for x in ticks(0, last) if x <= last}
    title = f"{stage}: loss (nats)"
    grid = frame.grid(ticks_x, {y: f"{y:g}" for y in ticks_y}, "step")
    legend = {name: of for name, (of, _, _) in lines.items()}
    legend_note = "validation; training is fainter"
    return _whole(title, [*grid, *drawn()], legend, f"{title}, {legend_note}")


def against(
    title: str, axis: str, lines: Mapping[str, Sequence[Mark]], *, share: bool, at: str = ""
) -> str:
    """A figure against a setting that is a number: a line for each combination of the others.

    More lines than there are colours are all drawn alike, but the one that has the chosen mark.
    ``share``: the figures are shares, told in percent. ``at`` names the lines' settings. Empty text
    where there are not two settings to compare.
    """
    every = [mark for marks in lines.values() for mark in marks]
    settings = sorted({mark.x for mark in every})
    if len(settings) < 2:
        return ""
    log = settings[0] > 0 and settings[-1] / settings[0] >= 8
    ends = [e for m in every for e in (m.low, m.y, m.high) if e is not None]
    ticks_y = ticks(min(ends), max(ends))
    if share:  # the tick above 100% has no meaning
        ticks_y = [tick for tick in ticks_y if -0.001 <= tick <= 1.001]
        ticks_y = ticks_y if len(ticks_y) > 1 else [0.0, 0.5, 1.0]
    margin = (settings[-1] - settings[0]) * 0.04
    x = (settings[0] / 1.15, settings[-1] * 1.15) if log else (
        settings[0] - margin, settings[-1] + margin
    )  # fmt: skip
    high = max(ticks_y[-1], *ends)
    frame = _frame(x, (min(ticks_y[0], *ends), high), log)
    crowded = len(lines) > COLOURS
    classes = {name: "crowd" if crowded else colour(k) for k, name in enumerate(lines)}
    for name, marks in lines.items():
        if crowded and any(mark.chosen for mark in marks):
            classes[name] = "s0"

    def drawn() -> Iterator[str]:
        order = sorted(lines, key=lambda name: classes[name] != "crowd")
        for number, name in enumerate(order):
            aside = 0 if crowded else 5 * (number - (len(order) - 1) / 2)
            marks = sorted(lines[name], key=lambda mark: mark.x)
            yield f'<g class="{classes[name]}">'
            yield from _marks(marks, frame, aside)
            yield "</g>"

    texts = {tick: f"{100 * tick:g}%" if share else f"{tick:g}" for tick in ticks_y}
    body = [*frame.grid(_apart(settings, frame), texts, axis), *drawn()]
    legend = {} if len(lines) < 2 else {n: c for n, c in classes.items() if c != "crowd"}
    said = f"{title} against {axis}" + (f", a line for each {at}" if at and len(lines) > 1 else "")
    return _whole(title, body, legend, said, "and the others in grey" if crowded else "")


def _marks(marks: Sequence[Mark], frame: Frame, aside: float) -> Iterator[str]:
    places = []
    for mark in marks:
        across, down = frame.place((mark.x, mark.y))
        places.append((across + aside, down))
        if mark.low is not None and mark.high is not None:
            ends = (frame.place((mark.x, end))[1] for end in (mark.low, mark.high))
            y1, y2 = ends
            yield (
                f'<line class="reaches" x1="{across + aside:.1f}" x2="{across + aside:.1f}" '
                f'y1="{y1:.1f}" y2="{y2:.1f}"/>'
            )
    yield line("of", places)
    for mark, place in zip(marks, places, strict=True):
        yield dot("dot", place, 3)
        if mark.chosen:
            yield dot("chosen", place, 6.5)


def _apart(settings: Sequence[float], frame: Frame) -> dict[float, str]:
    """The settings that have room for their text; the first and the last always."""
    last = frame.place((settings[-1], frame.y[0]))[0]
    kept: dict[float, str] = {}
    free = -math.inf
    for setting in settings[:-1]:
        across = frame.place((setting, frame.y[0]))[0]
        if across >= free and (across <= last - APART or not kept):
            kept[setting] = f"{setting:g}"
            free = across + APART
    return kept | {settings[-1]: f"{settings[-1]:g}"}


def compared(title: str, rows: Sequence[tuple[str, str, str, Mapping[str, Any]]]) -> str:
    """One measure of several models, a row each: name, class, the figure as text and as numbers.

    Shares lie on a scale from 0 to 100%, other figures on one from 0 to the highest end.
    """
    share = all("value" not in figure for *_, figure in rows)
    key = "rate" if share else "value"
    ends = [figure.get("high", figure[key]) for *_, figure in rows if figure[key] is not None]
    top = 1.0 if share else max([*ends, 1e-9])
    left, right = 158, WIDTH - 58

    def at(figure: float) -> float:
        return left + figure / top * (right - left)

    def drawn() -> Iterator[str]:
        for number, (name, of, text, figure) in enumerate(rows):
            down = TITLE + ROW * number + ROW / 2
            yield f'<g class="{of}">{_swatch(0, down)}'
            yield f'<text class="named" x="14" y="{down + 4}">{escape(_cut(name, 21))}</text>'
            yield (f'<line class="scale" x1="{left}" x2="{right}" y1="{down}" y2="{down}"/>')
            if figure[key] is not None:
                if "low" in figure:
                    low, high = at(figure["low"]), at(figure["high"])
                    ends = f'x1="{low:.1f}" x2="{high:.1f}" y1="{down}" y2="{down}"'
                    yield f'<line class="reach" {ends}/>'
                yield dot("dot", (at(figure[key]), down), 4.5)
            yield f'<text class="rated" x="{WIDTH}" y="{down + 4}">{escape(text)}</text></g>'

    said = "; ".join(f"{name} {text}" for name, _, text, _ in rows)
    return _picture(title, TITLE + ROW * len(rows), drawn(), f"{title}: {said}")


def _frame(x: tuple[float, float], y: tuple[float, float], log: bool = False) -> Frame:
    return Frame(x, y, height=TITLE + PLOT + BOTTOM, top=TITLE + 6, log=log)


def _whole(
    title: str, body: Sequence[str], legend: Mapping[str, str], said: str, note: str = ""
) -> str:
    """A picture with axes, and below them which line is which."""
    below = TITLE + PLOT + BOTTOM + 14
    keys = [
        f'<g class="{of}">{_swatch(LEFT, below + KEY * k)}<text class="named" x="{LEFT + 16}" '
        f'y="{below + KEY * k + 4}">{escape(_cut(name, 56))}</text></g>'
        for k, (name, of) in enumerate(legend.items())
    ]
    if note:
        keys.append(f'<text x="{LEFT}" y="{below + KEY * len(keys) + 4}">{escape(note)}</text>')
    height = TITLE + PLOT + BOTTOM + (KEY * len(keys) + 8 if keys else 0)
    names = f" ({', '.join(legend)})" if legend else ""
    return _picture(title, height, [*body, *keys], said + names)


def _picture(title: str, height: float, body: Iterator[str] | Sequence[str], said: str) -> str:
    head = f'<text class="title" x="0" y="14">{escape(_cut(title, 60))}</text>'
    return "".join((opened("curves", WIDTH, height, said), head, *body, "</svg>"))


def _swatch(x: float, y: float) -> str:
    return f'<circle class="dot" cx="{x + 5:g}" cy="{y:g}" r="4"/>'


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest // 2]}…{text[-(longest // 2 - 1) :]}"
