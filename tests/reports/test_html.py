"""The HTML report says what was measured, stands alone and trusts nothing that a model said."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from lorecraft.reports import html, svg
from lorecraft.reports.tables import WRONG_SHOWN, exchanges, sample, wrong


@pytest.fixture(scope="module")
def page(report):
    return html.render(report)


def test_the_verdict_comes_first(report, page):
    first = report.verdict["claims"][0]["text"]
    assert "Before: base answered 0 of 120 questions" in first
    assert page.index(first) < page.index("<h2>")


def test_requirements_say_met_or_not(page):
    assert "recall of sft at least 90%" in page
    assert re.search(r'class="unmet">.*retention of sft at least 97%', page)


def test_nothing_is_loaded_from_anywhere(page):
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)


def test_what_a_model_said_is_escaped(page):
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;it&lt;/b&gt;" in page


def test_every_tag_is_closed(page):
    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open_tags = []

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "br"):
                self.open_tags.append(tag)

        def handle_startendtag(self, tag, attrs):
            pass

        def handle_endtag(self, tag):
            assert self.open_tags.pop() == tag

    parser = Balance()
    parser.feed(page)
    assert parser.open_tags == []


def test_light_dark_paper_and_phone_have_their_style(page):
    for query in ("prefers-color-scheme: dark", "@media print", "max-width: 40rem"):
        assert query in page
    assert '<meta name="viewport"' in page


def test_wrong_answers_come_first_and_regressions_before_all(report):
    failed = wrong(exchanges(report))
    regressions = [exchange.answers[0].passed for exchange in failed]
    assert failed and regressions == sorted(regressions, reverse=True)
    assert all(exchange.right for exchange in sample(exchanges(report)))


def test_all_answers_are_there_once_collapsed(report, page):
    collapsed = page[page.index("<details>") :]
    assert collapsed.count('class="exchange"') == len(report.questions)
    shown = page[: page.index("<details>")].count('class="exchange"')
    assert shown <= WRONG_SHOWN + len(sample(exchanges(report)))


def test_a_report_without_training_or_answers_renders(report):
    bare = replace(
        report,
        verdict={"models": {"base": {}}, "claims": []},
        questions=(), answers=(), curves={}, audit={}, recipe="", manifest={}, events=(),
        reproduce=(),
    )  # fmt: skip
    assert "<h2>Training" not in html.render(bare)


def test_curves_mark_the_best_validated_step(report):
    picture = svg.curves("sft", report.curves["sft"])
    assert "kept: step 600" in picture
    assert picture.count('<circle class="best"') == 1


@pytest.mark.parametrize(
    "points",
    [
        [{"step": 1, "loss": 2.0}],
        [{"step": 0, "valid_loss": 2.0, "valid_error": 0.5}],
        [{"step": 1, "loss": float("nan")}, {"step": 2, "loss": 1.0}],
        [{"step": k, "loss": 0.0} for k in range(500)],
    ],
)
def test_curves_of_any_shape_are_drawn(points):
    picture = svg.curves("cpt", points)
    assert picture.startswith("<svg") and "nan" not in picture


def test_no_points_no_picture():
    assert svg.curves("cpt", []) == ""


def test_a_bar_spans_its_interval():
    bar = svg.interval_bar({"rate": 0.5, "low": 0.25, "high": 0.75}, "base", "base")
    assert 'x1="25.00%" x2="75.00%"' in bar and 'cx="50.00%"' in bar
