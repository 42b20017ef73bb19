"""The Markdown report holds the same figures, and no answer breaks its tables."""

from lorecraft.reports import markdown


def test_it_has_the_verdict_the_figures_and_the_answers(report):
    text = markdown.render(report)
    assert text.startswith("# company\n")
    assert text.index("Before: base answered 0 of 120") < text.index("## Measures")
    assert "| recall | 0% (0%–3%; 0 of 120) |" in text
    assert "✗ Required: retention" in text
    assert "best validation loss" in text


def test_tables_stay_whole(report):
    lines = markdown.render(report).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {5}
    assert all("perplexity" not in line or line.endswith("|") for line in table)


def test_what_a_model_said_is_no_markup(report):
    text = markdown.render(report)
    assert "\\<script\\>" in text
    assert "<script>" not in text
