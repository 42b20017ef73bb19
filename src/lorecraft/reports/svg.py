"""Pictures as SVG text; colours come from the page's own style, so they follow light and dark."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STYLES = Path(__file__).parent / "templates"

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 14, 14, 34
POINTS = 160

Point = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """The axes of a picture: which figures lie where. ``log`` is said of the x axis."""

    x: Point
    y: Point
    width: float = WIDTH
    height: float = HEIGHT
    top: float = TOP
    log: bool = False

    def place(self, point: Point) -> Point:
        """Figures -> pixels."""
        low, high, at = (math.log(value) if self.log else value for value in (*self.x, point[0]))
        across = LEFT + (at - low) / (high - low) * (self.width - LEFT - RIGHT)
        bottom, top = self.y
        down = self.top + (top - point[1]) / (top - bottom) * (self.height - self.top - BOTTOM)
        return across, down

    def grid(
        self, ticks_x: Mapping[float, str], ticks_y: Mapping[float, str], axis: str
    ) -> Iterator[str]:
        """Lines and their texts, and what the x axis is."""
        for y, text in ticks_y.items():
            down = self.place((self.x[0], y))[1]
            ends = f'x1="{LEFT}" x2="{self.width - RIGHT}" y1="{down:.1f}" y2="{down:.1f}"'
            yield f'<line class="grid" {ends}/>'
            yield f'<text class="y" x="{LEFT - 8}" y="{down + 4:.1f}">{escape(text)}</text>'
        below = self.height - BOTTOM + 18
        for x, text in ticks_x.items():
            across = self.place((x, self.y[0]))[0]
            yield f'<text class="x" x="{across:.1f}" y="{below}">{escape(text)}</text>'
        place = f'x="{self.width - RIGHT}" y="{self.height - 3}"'
        yield f'<text class="axis" {place}>{escape(axis)}</text>'


def interval_bar(figure: Mapping[str, Any], model: str, label: str) -> str:
    """One rate with its interval on a scale from 0 to 100%, as wide as its container.

    Args:
        figure: ``{"rate", "low", "high"}`` as shares; a rate of None draws the scale alone.
        model: becomes part of the class, for the colour.
        label: read aloud instead of the picture.
    """
    marks = ""
    if figure["rate"] is not None:
        low, high, rate = (100 * figure[key] for key in ("low", "high", "rate"))
        marks = (
            f'<line class="reach" x1="{low:.2f}%" x2="{high:.2f}%" y1="9" y2="9"/>'
            f'<line class="end" x1="{low:.2f}%" x2="{low:.2f}%" y1="5" y2="13"/>'
            f'<line class="end" x1="{high:.2f}%" x2="{high:.2f}%" y1="5" y2="13"/>'
            f'<circle class="rate" cx="{rate:.2f}%" cy="9" r="4.5"/>'
        )
    ticks = "".join(
        f'<line class="tick" x1="{at}%" x2="{at}%" y1="6" y2="12"/>' for at in (0, 25, 50, 75, 100)
    )
    return (
        f'<svg class="bar {_class(model)}" height="18" role="img" aria-label="{escape(label)}">'
        f'<line class="scale" x1="0" x2="100%" y1="9" y2="9"/>{ticks}{marks}</svg>'
    )


def curves(stage: str, points: Sequence[Mapping[str, float]], figure: str = "loss") -> str:
    """A figure in training and validation over steps; the step whose adapter is kept has a
    ring: the one with the lowest validation error.

    A long training curve is averaged into at most ``POINTS`` pieces. Without any finite point the
    picture is empty text.
    """
    train = averaged(series(points, figure))
    valid = series(points, f"valid_{figure}")
    if not train and not valid:
        return ""
    steps = [x for x, _ in train + valid]
    values = [y for _, y in train + valid]
    last = max(max(steps), 1.0)
    ticks_y = ticks(min(0.0, *values), max(values))
    frame = Frame((0.0, last), (ticks_y[0], ticks_y[-1]))
    place = frame.place

    validated = [p for p in points if math.isfinite(p.get(f"valid_{figure}", math.nan))]
    kept = min(validated, key=lambda point: point["valid_error"], default=None)
    best = (kept["step"], kept[f"valid_{figure}"]) if kept else None
    said = f"{figure.capitalize()} of {stage} over {last:.0f} steps"
    if best:
        said += f"; kept is step {best[0]:.0f}, validation {figure} {best[1]:.3f}"
    return "".join(
        (
            opened("curves", WIDTH, HEIGHT, said),
            *frame.grid(
                {x: f"{x:g}" for x in ticks(0, last) if x <= last},
                {y: f"{y:g}" for y in ticks_y},
                "step",
            ),
            line("train", [place(point) for point in train]),
            line("valid", [place(point) for point in valid]),
            *(dot("point", place(point)) for point in valid if len(valid) <= 40),
            *(_best(place(best), best) if best else ()),
            "</svg>",
        )
    )


def histogram(edges: Sequence[float], counts: Sequence[int], limit: float | None, unit: str) -> str:
    """How many records have which length; what is beyond the limit in another colour.

    Args:
        edges: where bars begin and end, one more than ``counts``.
        limit: a line is drawn there, if it is within the picture.
        unit: of the lengths, said under the axis.
    """
    if not any(counts):
        return ""
    ticks_y = ticks(0, max(counts))
    first, last = edges[0], max(edges[-1], edges[0] + 1)
    frame = Frame((first, last), (0.0, ticks_y[-1]))
    place = frame.place

    bars = []
    for start, end, count in zip(edges, edges[1:], counts, strict=False):
        (left, top), (right, bottom) = place((start, count)), place((end, 0))
        over = limit is not None and start >= limit
        bars.append(
            f'<rect class="column{" over" * over}" x="{left + 0.5:.1f}" y="{top:.1f}" '
            f'width="{max(0.5, right - left - 1):.1f}" height="{bottom - top:.1f}"/>'
        )
    mark = ""
    if limit is not None and first < limit <= last:
        across = place((limit, 0))[0]
        mark = (
            f'<line class="limit" x1="{across:.1f}" x2="{across:.1f}" y1="{TOP}" '
            f'y2="{HEIGHT - BOTTOM}"/><text class="note" text-anchor="end" x="{across - 6:.1f}" '
            f'y="{TOP + 10}">limit {limit:,.0f}</text>'
        )
    said = f"Lengths of {sum(counts):,} records, {first:,.0f} to {last:,.0f} {unit}"
    return "".join(
        (
            opened("curves", WIDTH, HEIGHT, said),
            *frame.grid(
                {x: f"{x:g}" for x in ticks(first, last) if first <= x <= last},
                {y: f"{y:g}" for y in ticks_y},
                unit,
            ),
            *bars,
            mark,
            "</svg>",
        )
    )


def share_bar(shares: Sequence[tuple[str, float]]) -> str:
    """Parts of a whole side by side, as wide as their container; the sixth and further are one."""
    at, parts = 0.0, []
    for number, (name, share) in enumerate(shares):
        parts.append(
            f'<rect class="part part-{min(number, 5)}" x="{100 * at:.2f}%" '
            f'width="{100 * share:.2f}%" y="0" height="14"><title>{escape(name)} '
            f"{100 * share:.1f}%</title></rect>"
        )
        at += share
    said = ", ".join(f"{name} {100 * share:.0f}%" for name, share in shares)
    label = f'role="img" aria-label="{escape(said)}"'
    return f'<svg class="shares" height="14" {label}>{"".join(parts)}</svg>'


def _best(at: Point, best: Point) -> Iterator[str]:
    yield f'<circle class="best" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="6"/>'
    side = "end" if at[0] > WIDTH / 2 else "start"
    across = at[0] + (6 if side == "end" else -4)
    place = f'text-anchor="{side}" x="{across:.1f}" y="{at[1] - 14:.1f}"'
    yield f'<text class="note" {place}>kept: step {best[0]:.0f}, {best[1]:.3f}</text>'


def opened(name: str, width: float, height: float, said: str) -> str:
    """The first tag of a picture; ``said`` is read aloud instead of it."""
    return (
        f'<svg class="{name}" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(said)}">'
    )


def standalone(picture: str) -> str:
    """A picture as a file of its own, which a README can show, with its colours."""
    style = "".join((STYLES / name).read_text("utf-8") for name in ("colours.css", "picture.css"))
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', picture)
    shape = f" width: {size[1]}px; height: {size[2]}px;" if size else ""
    style += f"svg {{ background: var(--paper);{shape} }}"
    start = '<svg xmlns="http://www.w3.org/2000/svg" '
    return picture.replace("<svg ", start, 1).replace(">", f"><style>{style}</style>", 1)


def line(name: str, places: Sequence[Point]) -> str:
    """A line through pixels."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline class="{name}" points="{path}"/>' if places else ""


def dot(name: str, at: Point, radius: float = 2.5) -> str:
    """A dot at a pixel."""
    return f'<circle class="{name}" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:g}"/>'


def series(points: Sequence[Mapping[str, float]], key: str) -> list[Point]:
    """``(step, figure)`` of those points that have it."""
    return [
        (float(point["step"]), float(point[key]))
        for point in points
        if key in point and math.isfinite(point[key])
    ]


def averaged(points: list[Point]) -> list[Point]:
    """At most ``POINTS`` pieces of a long curve."""
    size = math.ceil(len(points) / POINTS) or 1
    pieces = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in p) / len(p), sum(y for _, y in p) / len(p)) for p in pieces]


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``."""
    span = (high - low) or 1.0
    size = 10 ** math.floor(math.log10(span / wanted))
    step = next(size * k for k in (1, 2, 2.5, 5, 10) if size * k * wanted >= span)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * k, 10) for k in range(first, max(last, first + 1) + 1)]


def _class(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def escape(text: str) -> str:
    """Text for between tags, or for an attribute."""
    return (
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    )
