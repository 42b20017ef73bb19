"""Fills a template with a report; the same for HTML and Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2

from lorecraft.evaluation.measures import percent
from lorecraft.reports import tables
from lorecraft.reports.data import ReportData

FOLDER = Path(__file__).parent / "templates"


def render(template: str, report: ReportData, **filters: Any) -> str:
    """``template`` of the folder, filled. Names that end in ``.html.jinja`` escape all values."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=lambda name: bool(name) and ".html" in str(name),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"name": _name, "value": _value, "percent": percent, **filters}
    everything = tables.exchanges(report)
    wrong = tables.wrong(everything)
    return environment.get_template(template).render(
        report=report,
        models=list(report.verdict["models"]),
        claims=report.verdict["claims"],
        requirements=report.verdict.get("requirements", []),
        rows=tables.measure_rows(report.verdict),
        wrong=wrong[: tables.WRONG_SHOWN],
        wrong_count=len(wrong),
        sample=tables.sample(everything),
        everything=everything,
        best=tables.best_points(report.curves),
    )


def _name(key: Any) -> str:
    return str(key).replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
