"""The picture of a graph: every thing can be read, nothing overlaps, no name breaks out."""

from __future__ import annotations

import json
import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.graph import Graph
from lorecraft.reports.graph import DRAWN, _chosen, html, svg
from lorecraft.reports.layout import layout

SVG = "{http://www.w3.org/2000/svg}"
ODD = ('<b>&"quoted"', "two\nlines", "수원", "</script><script>alert(1)</script>", "\x00\x1b[31m")


def graph(*triples: tuple[str, str, str]) -> Graph:
    facts = [Fact(f"f{n}", " ".join(t), "book.md", t, "line") for n, t in enumerate(triples)]
    return Graph(facts, None)


def titles(picture: str) -> list[str]:
    return [title.text or "" for title in ElementTree.fromstring(picture).iter(f"{SVG}title")]


def test_things_values_and_links_are_drawn() -> None:
    picture = svg(graph(("A", "by", "B"), ("B", "year", "1990"), ("A", "year", "1991")))
    texts = [
        "".join(text.itertext()) for text in ElementTree.fromstring(picture).iter(f"{SVG}text")
    ]
    assert texts == ["by", "A", "year  1991", "B", "year  1990"]
    assert "A by B: f0 book.md" in titles(picture)


def test_a_value_without_digits_that_two_things_share_links_them() -> None:
    shared = svg(
        graph(("A", "town", "Ostrin"), ("B", "town", "Ostrin"), ("A", "n", "7"), ("B", "n", "7"))
    )
    assert titles(shared)[-1] == "Ostrin"
    assert shared.count('class="edge"') == 2


def test_odd_names_are_written_and_nothing_else() -> None:
    picture = svg(graph(*((name, name, name + "!") for name in ODD)))
    assert titles(picture)[0] == ODD[0]
    for made in (picture, html(graph(*((n, n, f"{n}!") for n in ODD)), ODD[3])):
        assert "<b>" not in made
        assert "alert(1)</script>" not in made
        assert "\x00" not in made


def test_the_page_holds_all_that_it_shows() -> None:
    page = html(graph(*((name, "is", name + "!") for name in ODD)), "odd")
    assert not re.search(r"(src|href)\s*=|@import|url\((?!#)", page)
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert data
    things = json.loads(data[1])
    assert [thing["name"] for thing in things] == list(ODD)
    assert things[0]["told"] == [["is", ODD[0] + "!", "f0 book.md"]]


def test_of_many_things_those_with_the_most_facts_are_drawn() -> None:
    many = graph(*((f"T{n}", "year", f"{n}") for n in range(DRAWN + 50)))
    picture = svg(many)
    assert picture.count('class="thing"') == DRAWN
    assert f"{DRAWN} of {DRAWN + 50} things, those with the most facts" in picture


def test_of_many_values_that_link_things_those_that_link_the_most_are_drawn() -> None:
    def name(n: int) -> str:
        return "V" + "ab"[n % 2] + "x" * n

    shared = [(thing, "is", name(n)) for n in range(DRAWN + 9) for thing in ("A", "B")]
    cards, _ = _chosen(graph(*shared, ("C", "is", name(DRAWN + 5))))
    drawn = [card.name for card in cards if not card.node.thing]
    assert len(drawn) == DRAWN
    assert cards[3].node.name == name(DRAWN + 5)


@pytest.mark.parametrize(("count", "links"), [(1, 0), (12, 11), (40, 60), (90, 60)])
def test_no_two_boxes_overlap_and_all_lie_in_the_picture(count: int, links: int) -> None:
    random = np.random.default_rng(count)
    sizes = random.uniform([60, 24], [200, 110], (count, 2))
    pairs = [(int(a), int(b)) for a, b in random.integers(count, size=(links, 2))]
    centres = layout(sizes, pairs)
    assert ((centres - sizes / 2) >= -1e-6).all()
    for a, b in combinations(range(count), 2):
        assert (np.abs(centres[a] - centres[b]) >= (sizes[a] + sizes[b]) / 2 - 1).any()
    assert np.array_equal(centres, layout(sizes, pairs))


def test_linked_boxes_stand_nearer_than_others() -> None:
    sizes = np.full((20, 2), 40.0)
    centres = layout(sizes, [(n, n + 1) for n in range(19)])
    gap = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    assert gap[0, 1] < gap[0, 5] < gap[0, 19]
