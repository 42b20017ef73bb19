"""The graph as a picture: things as cards with what is told of them, links as arrows between them.

One SVG, or one HTML page around it in which one can move, search and look things up. Nothing is
loaded from anywhere, and every name is escaped.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template

import numpy as np

from lorecraft.knowledge.exports import plain
from lorecraft.knowledge.graph import Edge, Graph, Node
from lorecraft.knowledge.reasoning import Inference
from lorecraft.reports.layout import Points, layout

DRAWN = 300
"""Most things in a picture, and most values that link them; of more, those with the most facts."""
_DETAILED = 100
"""Up to so many things a card has lines with its values."""
_LINES, _LONGEST = 6, 30
_LETTER, _SMALL, _ROW, _HEAD, _PAD, _MARGIN = 13, 11, 16, 22, 10, 30
_TEMPLATE = Path(__file__).parent / "templates" / "graph.html"
_HUES = (212, 28, 145, 280, 0, 185, 55, 320, 95, 245)

STYLE = """
svg.graph{--paper:#fff;--ink:#1c2430;--soft:#5b6675;--line:#9aa5b3;--light:96%;--edge:45%;
  font-family:system-ui,sans-serif;background:var(--paper)}
@media (prefers-color-scheme:dark){svg.graph{--paper:#14181f;--ink:#e8ecf1;--soft:#a4aebb;
  --line:#66717f;--light:16%;--edge:65%}}
.graph text{fill:var(--ink);font-size:11px}
.graph .name{font-size:13px;font-weight:600}
.graph .soft,.graph .label{fill:var(--soft)}
.graph .label{font-size:10px;text-anchor:middle;paint-order:stroke;stroke:var(--paper);
  stroke-width:4px;stroke-linejoin:round}
.graph rect{stroke-width:1.4}
.graph .value rect{fill:var(--paper);stroke:var(--line);stroke-dasharray:2 2}
.graph path{fill:none;stroke:var(--line);stroke-width:1.3}
.graph path.follows{stroke-dasharray:5 4}
.graph marker path{fill:var(--line);stroke:none}
"""


@dataclass
class _Card:
    """A node as it is drawn: its name and lines, each ``(relation, value)``."""

    node: Node
    name: str
    lines: list[tuple[str, str]] = field(default_factory=list)
    hidden: int = 0

    @property
    def size(self) -> tuple[float, float]:
        rows = [_width(self.name, _LETTER * 1.1)]
        rows += [_width(f"{relation}  {value}", _SMALL) for relation, value in self.lines]
        more = len(self.lines) + bool(self.hidden)
        return max(rows) + 2 * _PAD, _HEAD + more * _ROW + (_PAD if more else 6)


def svg(graph: Graph) -> str:
    """The picture, with a legend of the classes; a note where not all things are drawn."""
    cards, edges = _chosen(graph)
    index = {card.node: number for number, card in enumerate(cards)}
    sizes = np.array([card.size for card in cards]).reshape(-1, 2)
    links = [(index[edge.subject], index[edge.object]) for edge in edges]
    told = [link for link, edge in zip(links, edges, strict=True) if not _follows(edge)]
    top = _MARGIN + 34
    centres = layout(sizes, told) + np.array([_MARGIN, top])
    right, low = (centres + sizes / 2).max(0, initial=0) + _MARGIN
    colours = _colours(graph)
    legend, across = _legend(cards, graph, colours)
    width, height = max(right, across), max(low, top)
    return "".join(
        (
            f'<svg class="graph" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} '
            f'{height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img" '
            f'aria-label="{_said(f"{len(cards)} things and values, {len(edges)} links")}">',
            f"<style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>',
            *legend,
            *_edges(edges, links, centres, sizes),
            *(_drawn(card, number, centres[number], colours) for number, card in enumerate(cards)),
            "</svg>\n",
        )
    )


def html(graph: Graph, title: str) -> str:
    """The picture on a page: the wheel zooms, dragging moves, a click tells all of a thing."""
    cards, _ = _chosen(graph)
    about: dict[Node, list[tuple[str, str, str]]] = defaultdict(list)
    for edge in (*graph.edges, *graph.inferred):
        about[edge.subject].append((edge.relation, edge.object.name, edge.why))
        if edge.object != edge.subject:
            about[edge.object].append((f"is {edge.relation} of", edge.subject.name, edge.why))
    things = [
        {"name": card.node.name, "class": card.node.kind, "told": about[card.node]}
        for card in cards
    ]
    data = json.dumps(things, ensure_ascii=True).replace("<", "\\u003c")
    return Template(_TEMPLATE.read_text("utf-8")).substitute(
        title=_said(title), svg=svg(graph), data=data
    )


def _chosen(graph: Graph) -> tuple[list[_Card], list[Edge]]:
    """What is drawn: the things with the most facts, the values that link some of them, and the
    edges between. Other values are lines of their thing's card."""
    linked = graph.counts()["linked"]
    kept = {name for name, _ in linked.most_common(DRAWN)}
    cards = {
        graph.nodes[name]: _Card(graph.nodes[name], _cut(name, 2 * _LONGEST))
        for name in graph.things
        if name in kept
    }
    edges = [edge for edge in graph.edges if edge.subject in cards]
    owners: dict[Node, set[Node]] = defaultdict(set)
    for edge in edges:
        if not edge.object.thing:
            owners[edge.object].add(edge.subject)
    shared = {
        value: len(of)
        for value, of in owners.items()
        if len(of) > 1 and not any(letter.isdigit() for letter in value.name)
    }
    for value in sorted(shared, key=lambda value: -shared[value])[:DRAWN]:
        cards[value] = _Card(value, _cut(value.name, _LONGEST))
    detailed = len(cards) <= _DETAILED
    for edge in edges:
        if edge.object in cards or edge.object.thing:
            continue
        card = cards[edge.subject]
        if len(card.lines) < _LINES * detailed:
            card.lines.append((_cut(edge.relation), _cut(edge.object.name)))
        else:
            card.hidden += detailed
    drawn = [edge for edge in edges if edge.object in cards]
    pairs = {frozenset((edge.subject, edge.object)) for edge in drawn}
    follows = [
        edge
        for edge in graph.inferred
        if edge.subject in cards
        and edge.object in cards
        and edge.subject != edge.object
        and frozenset((edge.subject, edge.object)) not in pairs
    ]
    return list(cards.values()), drawn + (follows if len(follows) <= len(drawn) else [])


def _drawn(card: _Card, number: int, centre: Points, colours: dict[str, int]) -> str:
    width, height = card.size
    x, y = centre[0] - width / 2, centre[1] - height / 2
    hue = colours.get(card.node.kind)
    fill = (
        ""
        if hue is None or not card.node.thing
        else (f' style="fill:hsl({hue} 60% var(--light));stroke:hsl({hue} 45% var(--edge))"')
    )
    kind = "thing" if card.node.thing else "value"
    title = f"{card.node.name} ({card.node.kind})" if card.node.kind else card.node.name
    rows = [
        f'<text x="{x + _PAD:.1f}" y="{y + _HEAD + _ROW * at + 10:.1f}">'
        f'<tspan class="soft">{_said(relation)}</tspan>  {_said(value)}</text>'
        for at, (relation, value) in enumerate(card.lines)
    ]
    if card.hidden:
        at = y + _HEAD + _ROW * len(card.lines) + 10
        rows.append(f'<text class="soft" x="{x + _PAD:.1f}" y="{at:.1f}">{card.hidden} more</text>')
    return (
        f'<g class="{kind}" data-at="{number}"><title>{_said(title)}</title>'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="7"{fill}/>'
        f'<text class="name" x="{x + _PAD:.1f}" y="{y + 18:.1f}">{_said(card.name)}</text>'
        f"{''.join(rows)}</g>"
    )


def _edges(
    edges: Sequence[Edge], links: Sequence[tuple[int, int]], centres: Points, sizes: Points
) -> Iterator[str]:
    """Arrows from border to border; several between two things are bent apart."""
    between: Counter[frozenset[int]] = Counter(frozenset(link) for link in links)
    met: Counter[frozenset[int]] = Counter()
    labels = []
    for edge, (a, b) in zip(edges, links, strict=True):
        pair = frozenset((a, b))
        bend = 22.0 * (met[pair] - (between[pair] - 1) / 2) * (1 if a < b else -1)
        met[pair] += 1
        if a == b:
            path, label = _loop(centres[a], sizes[a], met[pair])
        else:
            path, label = _arrow(centres[a], sizes[a], centres[b], sizes[b], bend)
        kind = ' class="follows"' if _follows(edge) else ""
        title = f"{edge.subject.name} {edge.relation} {edge.object.name}: {edge.why}"
        yield (
            f'<g class="edge" data-ends="{a} {b}"><path{kind} d="{path}" marker-end="url(#tip)">'
            f"<title>{_said(title)}</title></path></g>"
        )
        labels.append(
            f'<text class="label" data-ends="{a} {b}" x="{label[0]:.1f}" y="{label[1] + 3:.1f}">'
            f"{_said(_cut(edge.relation))}</text>"
        )
    yield from labels


def _arrow(
    start: Points, size: Points, end: Points, other: Points, bend: float
) -> tuple[str, Points]:
    along = end - start
    normal = np.array([-along[1], along[0]]) / max(np.hypot(*along), 1e-6)
    middle = (start + end) / 2 + 2 * bend * normal
    first, last = _border(start, size, middle), _border(end, other, middle)
    ways = (f"{x:.1f} {y:.1f}" for x, y in (first, middle, last))
    return "M{}Q{} {}".format(*ways), (first + last) / 4 + middle / 2


def _loop(centre: Points, size: Points, number: int) -> tuple[str, Points]:
    x, y = centre[0] + size[0] / 2, centre[1]
    out = x + 24 + 14 * number
    return (
        f"M{x:.1f} {y - 6:.1f}C{out:.1f} {y - 30:.1f} {out:.1f} {y + 30:.1f} {x:.1f} {y + 6:.1f}",
        (np.array([out, y])),
    )


def _border(centre: Points, size: Points, towards: Points) -> Points:
    """Where the way from a box's centre leaves it."""
    along = towards - centre
    reach = np.abs(along) / (size / 2 + 2)
    return centre + along / max(reach.max(), 1e-6)


def _legend(
    cards: Sequence[_Card], graph: Graph, colours: dict[str, int]
) -> tuple[list[str], float]:
    """Classes with their colours; how much is drawn; and the width of it."""
    shown = Counter(card.node.kind for card in cards if card.node.thing)
    x, parts = float(_MARGIN), []
    for kind, hue in colours.items():
        if not kind or not shown[kind]:
            continue
        text = f"{_cut(kind)} {shown[kind]}"
        parts.append(
            f'<rect x="{x:.1f}" y="22" width="12" height="12" rx="3" style="fill:hsl({hue} 60% '
            f'var(--light));stroke:hsl({hue} 45% var(--edge))"/>'
            f'<text x="{x + 18:.1f}" y="32">{_said(text)}</text>'
        )
        x += 18 + _width(text, _SMALL) + 18
    missing = len(graph.things) - sum(shown.values())
    if missing:
        text = f"{sum(shown.values())} of {len(graph.things)} things, those with the most facts"
        parts.append(f'<text class="soft" x="{x:.1f}" y="32">{text}</text>')
        x += _width(text, _SMALL) + 18
    return parts, x


def _colours(graph: Graph) -> dict[str, int]:
    kinds = dict.fromkeys(graph.things.values())
    return {kind: _HUES[number % len(_HUES)] for number, kind in enumerate(kinds)}


def _follows(edge: Edge) -> bool:
    return isinstance(edge.origin, Inference)


def _width(text: str, size: float) -> float:
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return size * (0.56 * (len(text) - wide) + wide)


def _cut(text: str, longest: int = _LONGEST) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _said(text: str) -> str:
    return escape(plain(text))
