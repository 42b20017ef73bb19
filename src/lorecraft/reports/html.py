"""The report as one HTML file: no script, nothing loaded from anywhere."""

from __future__ import annotations

from markupsafe import Markup

from lorecraft.reports import page, svg
from lorecraft.reports.data import ReportData
from lorecraft.reports.tables import Cell


def render(report: ReportData) -> str:
    """The page as text. Everything that a model or a user wrote is escaped."""
    return page.render(
        "report.html.jinja",
        report,
        bar=lambda cell: Markup(_bar(cell)),
        curves=lambda points, stage, figure="loss": Markup(svg.curves(stage, points, figure)),
    )


def _bar(cell: Cell) -> str:
    if "value" in cell.figure:
        return ""
    return svg.interval_bar(cell.figure, cell.model, f"{cell.model}: {cell.rate} {cell.interval}")
