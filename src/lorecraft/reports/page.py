"""Fills a template with a report; the same for HTML and Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from lorecraft.evaluation.measures import percent
from lorecraft.reports import tables
from lorecraft.reports.data import ReportData

FOLDER = Path(__file__).parent / "templates"


def fill(template: str, filters: Mapping[str, Any], **values: Any) -> str:
    """``template`` of the folder, filled. Names that end in ``.html.jinja`` escape all values."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=lambda name: bool(name) and ".html" in str(name),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "name": _name, "value": _value, "percent": percent, "lines": tables.marked_lines, **filters
    }  # fmt: skip
    return environment.get_template(template).render(values)


def render(template: str, report: ReportData, **filters: Any) -> str:
    """``template``, filled with a report."""
    everything = tables.exchanges(report)
    wrong = tables.wrong(everything)
    models = list(report.verdict["models"])
    return fill(
        template,
        filters,
        report=report,
        models=models,
        classes=tables.classes(models),
        claims=report.verdict["claims"],
        requirements=report.verdict.get("requirements", []),
        rows=tables.measure_rows(report.verdict),
        wrong=wrong[: tables.WRONG_SHOWN],
        wrong_count=len(wrong),
        sample=tables.sample(everything),
        everything=everything,
        pair_figures=tables.PAIR_FIGURES,
        best=tables.best_points(report.curves),
        style=tables.style_tables(report.verdict),
        splits=tables.split_rows(report.audit),
        leaks=tables.leak_rows(report.audit),
        exam=report.audit.get("exam"),
        findings=report.audit.get("findings", []),
    )


def _name(key: Any) -> str:
    return str(key).replace("_", " ")


def _value(value: Any) -> str:
    """A figure, a list or a small mapping in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{_name(key)} {_value(item)}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return "; ".join(map(_value, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if value is None:
        return "–"
    return str(value)
