"""A near-miss has one flaw, in any format that allows it, and the checker finds that flaw alone."""

from __future__ import annotations

import pytest

from lorecraft.errors import FormatError
from lorecraft.style.check import check
from lorecraft.style.near_misses import FLAWS, near_misses
from lorecraft.style.schema import Format

from .conftest import Load


def test_every_flaw_breaks_its_rule_and_no_other(format: Format, good: str) -> None:
    found = near_misses(format, good, "r1")
    assert [miss.flaw for miss in found] == list(FLAWS)
    for miss in found:
        assert [broken.rule for broken in check(format, miss.text)] == [miss.rule]


def test_the_seed_chooses_and_nothing_else_does(format: Format, good: str) -> None:
    assert near_misses(format, good, "r1") == near_misses(format, good, "r1")
    missing = {near_misses(format, good, f"r{number}")[1].text for number in range(20)}
    assert len(missing) == 3


def test_a_flaw_that_cannot_be_had_alone_is_left_out(load: Load) -> None:
    one = load("sections: [{heading: '# Why', bullets: [2, null]}]\nmust_not_match: ['[*]']\n")
    found = near_misses(one, "# Why\n- It burns oil.\n- It is old.", "r1")
    assert [miss.flaw for miss in found] == ["text_before", "text_after"]


def test_a_heading_in_markdown_is_marked_up_otherwise(load: Load) -> None:
    one = load("sections: [{heading: '# Why'}]\n")
    texts = {miss.flaw: miss.text for miss in near_misses(one, "# Why\nIt burns oil.", "r1")}
    assert texts["markdown_heading"] == "**Why**\nIt burns oil."


def test_json_is_spoilt_too(load: Load, json_schema: str) -> None:
    format = load(json_schema)
    found = near_misses(format, '{"name": "Skerrow", "tags": ["lamp", "oil"]}', "r1")
    assert {miss.flaw: miss.rule for miss in found} == {
        "extra_bullet": "json_schema",
        "missing_section": "json_schema",
        "text_before": "json",
        "text_after": "json",
    }


def test_a_bad_text_has_no_near_misses(format: Format) -> None:
    with pytest.raises(FormatError, match="none itself: line 1: nothing is there"):
        near_misses(format, "", "r1")
