"""The Markdown report holds the same figures, and no answer breaks its tables."""

from itertools import takewhile

from lorecraft.reports import markdown


def test_it_has_the_verdict_the_figures_and_the_answers(report):
    text = markdown.render(report)
    assert text.startswith("# company\n")
    assert text.index("Before: base answered 0 of 120") < text.index("## Measures")
    assert "| recall | 0% (0%–3%; 0 of 120) |" in text
    assert "✗ Required: retention" in text
    assert "validation error" in text


def test_tables_stay_whole(report):
    lines = markdown.render(report).splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("|---")]
    assert len(starts) == 3
    for start in starts:
        rows = list(takewhile(lambda line: line.startswith("|"), lines[start - 1 :]))
        assert len(rows) > 3
        assert {row.count("|") for row in rows} == {lines[start].count("|")}


def test_what_a_model_said_is_no_markup(report):
    text = markdown.render(report)
    assert "\\<script\\>" in text
    assert "<script>" not in text
