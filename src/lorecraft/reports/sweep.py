"""A sweep on one page: every combination, which is chosen, and each figure against each setting."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lorecraft.evaluation.measures import LOWER_IS_BETTER, MEASURES
from lorecraft.reports import charts, markdown, page, svg, tables
from lorecraft.reports.charts import Mark
from lorecraft.reports.tables import Row

ERRORS = {
    "valid_error": "validation error",
    "valid_loss": "validation loss",
    "train_loss": "training loss",
    "seconds": "seconds",
}
"""Figures of a combination besides the exam's, and how they are told."""


@dataclass(frozen=True)
class SweepData:
    """A sweep as far as it has come.

    Attributes:
        name: of the recipe.
        created: when this was written, as it is to be read.
        axes: dotted key -> its values; ``numeric`` are those keys that a picture can have as axis.
        rows: the combinations: ``name``, ``values``, ``folder``, ``state`` (``waiting``,
            ``finished``, ``failed``), ``error``, ``measures``, and the keys of ``ERRORS``.
        chosen: the name of the combination to take, or None.
        why: a sentence that says so.
        smoke: whether it was only tried.
    """

    name: str
    created: str
    axes: Mapping[str, Sequence[Any]]
    numeric: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    chosen: str | None
    why: str
    smoke: bool = False

    @property
    def finished(self) -> list[Mapping[str, Any]]:
        """The combinations that have figures."""
        return [row for row in self.rows if row["state"] == "finished"]

    @property
    def edges(self) -> list[str]:
        """Where the chosen value is the grid's last, a better one may lie outside."""
        said = []
        for row in self.rows:
            for key in self.numeric if row["name"] == self.chosen else ():
                values, value = self.axes[key], row["values"][key]
                if len(values) > 2 and value in (min(values), max(values)):
                    way = "small" if value == min(values) else "larg"
                    said.append(
                        f"{key} {value:g} is the {way}est tried; a {way}er one may be better."
                    )
        return said


def files(data: SweepData) -> dict[str, str]:
    """Path in the sweep's folder -> text: the page as HTML and Markdown, the pictures as SVG."""
    drawn = pictures(data)
    values: dict[str, Any] = {
        "data": data,
        "axes": list(data.axes),
        "errors": {
            key: told
            for key, told in ERRORS.items()
            if any(row.get(key) is not None for row in data.rows)
        },
        "measures": measures(data),
        "pictures": drawn,
    }
    found = {
        "sweep.html": page.fill("sweep.html.jinja", {"picture": Markup}, **values),
        "sweep.md": markdown.fill("sweep.md.jinja", **values),
    }
    return found | {
        f"pictures/{name}.svg": svg.standalone(picture) for name, picture in drawn.items()
    }


def measures(data: SweepData) -> list[Row]:
    """The exam's figures, a row a measure, each with a cell for each finished combination."""
    models = {row["name"]: row["measures"] for row in data.finished}
    return tables.measure_rows({"models": models}) if models else []


def pictures(data: SweepData) -> dict[str, str]:
    """``format-by-adapter-rank`` -> the picture: each figure against each numeric setting."""
    found = {}
    for axis in data.numeric:
        for name, title, share in _figures(data):
            picture = charts.against(
                title, axis, _lines(data, axis, name), share=share, at=_others(data, axis)
            )
            if picture:
                found[f"{name}-by-{re.sub(r'[^a-z0-9]+', '-', axis.lower())}"] = picture
    return found


def _figures(data: SweepData) -> list[tuple[str, str, bool]]:
    """``(key, title, whether it is a share)`` of what is drawn."""
    found = [
        (key, f"{told}{', last stage' * (key != 'seconds')} (lower is better)", False)
        for key, told in ERRORS.items()
        if any(row.get(key) is not None for row in data.finished)
    ]
    for measure in MEASURES:
        figures = [row["measures"].get(measure) for row in data.finished]
        known = [figure for figure in figures if figure]
        if known:
            better = " (lower is better)" * (measure in LOWER_IS_BETTER)
            found.append((measure, measure + better, "value" not in known[0]))
    return found


def _lines(data: SweepData, axis: str, name: str) -> dict[str, list[Mark]]:
    """The other settings' combination -> its marks."""
    lines: dict[str, list[Mark]] = {}
    for row in data.finished:
        figure = row.get(name) if name in ERRORS else row["measures"].get(name)
        if isinstance(figure, Mapping):
            value = figure.get("value", figure.get("rate"))
            low, high = figure.get("low"), figure.get("high")
        else:
            value, low, high = figure, None, None
        if value is None:
            continue
        rest = [f"{key} {told(row['values'][key])}" for key in data.axes if key != axis]
        mark = Mark(row["values"][axis], value, low, high, row["name"] == data.chosen)
        lines.setdefault(", ".join(rest), []).append(mark)
    return lines


def _others(data: SweepData, axis: str) -> str:
    return " and ".join(key for key in data.axes if key != axis)


def told(value: Any) -> str:
    """A setting as a word."""
    if isinstance(value, list):
        return " ".join(map(told, value))
    if isinstance(value, bool) or value is None:
        return "none" if value is None else str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
