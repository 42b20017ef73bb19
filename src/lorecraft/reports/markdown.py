"""The report as Markdown, for a terminal, a repository or a mail."""

from __future__ import annotations

import re
from typing import Any

from lorecraft.reports import page
from lorecraft.reports.data import ReportData


def render(report: ReportData) -> str:
    """The report as text (GitHub's Markdown); what was said by a model stays on one line."""
    return _tidy(page.render("report.md.jinja", report, line=_line))


def fill(template: str, **values: Any) -> str:
    """Another Markdown template, filled."""
    return _tidy(page.fill(template, {"line": _line}, **values))


def _tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _line(text: str) -> str:
    """``text`` for a table cell or a list item: nothing in it is Markdown or HTML."""
    escaped = re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;")
