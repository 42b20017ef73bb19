"""An audit as one HTML file that a reviewer can read and sign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from lorecraft.data.audit.audit import Audit
from lorecraft.reports import page, svg

SHOWN = 12
"""Places of a finding that stand in the page; the JSON holds all."""
_VALUES = 12


def render(audit: Audit, name: str, created: str) -> str:
    """The page as text. Everything that stands in the data is escaped."""
    lengths = audit.figures["lengths"]
    return page.fill(
        "audit.html.jinja",
        {
            "histogram": lambda figures: Markup(
                svg.histogram(
                    lengths["edges"], figures["histogram"], lengths["limit"], lengths["unit"]
                )
            ),
            "shares": lambda counts: Markup(svg.share_bar(_shares(counts))),
        },
        name=name,
        created=created,
        clean=audit.clean,
        splits=audit.splits(),
        broken=audit.rows.broken,
        findings=[_finding(audit, finding) for finding in audit.findings],
        lengths=lengths,
        templates={
            kind: figures
            for kind, figures in audit.figures["templates"].items()
            if figures["often"]
        },
        languages=audit.figures["languages"],
        tags=audit.figures["tags"],
        gates=audit.figures.get("gates"),
        some=lambda counts: list(counts.items())[:_VALUES],
    )


def _finding(audit: Audit, finding: Any) -> dict[str, Any]:
    """A finding with its first places, of several rows with what each says."""
    return {
        "check": finding.check,
        "severity": finding.severity,
        "text": finding.text,
        "more": finding.count - min(SHOWN, len(finding.spots)),
        "spots": [
            {
                "why": spot.why,
                "rows": [
                    (audit.rows.place(i), audit.excerpt(i) if len(spot.rows) > 1 else "")
                    for i in spot.rows[:4]
                ],
                "more": max(0, len(spot.rows) - 4),
            }
            for spot in finding.spots[:SHOWN]
        ],
    }


def _shares(counts: Mapping[str, int]) -> list[tuple[str, float]]:
    whole = sum(counts.values())
    return [(name, count / whole) for name, count in counts.items()]
