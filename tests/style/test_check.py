"""Every broken rule is told once, with its section and its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorecraft.errors import FormatError
from lorecraft.style.check import RULES, check, sentences
from lorecraft.style.schema import Format

from .conftest import Load


def rules(format: Format, text: str) -> list[tuple[str, str, int]]:
    broken = check(format, text)
    assert {found.rule for found in broken} <= set(RULES)
    return [(found.rule, found.section, found.line) for found in broken]


def test_a_text_that_keeps_to_the_format_breaks_nothing(format: Format, good: str) -> None:
    assert check(format, good) == []
    assert check(format, good.replace("\n\n", "\n").replace("\n", "  \n")) == []


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        ("Summary:", "Sure!\n\nSummary:", ("before", "", 1)),
        ("winter?\n", "winter?\n\nI hope this helps.\n", ("after", "", 11)),
        ("dusk.\n", "dusk.\n\nMore of it.\n", ("paragraphs", "Summary:", 4)),
        (
            "Points:\n- It burns oil.\n- Its glass is cut by hand.\n\n",
            "",
            ("missing", "Points:", 4),
        ),
        ("Question:", "## Question", ("heading", "Question:", 8)),
        ("Summary:\nThe", "Summary: The", ("heading", "Summary:", 1)),
        ("hand.\n", "hand.\n- It is old.\n", ("bullets", "Points:", 7)),
        ("- It burns oil.\n", "", ("bullets", "Points:", 4)),
        ("- It burns", "* It burns", None),
        ("The lamp is", "- The lamp is", ("bullets", "Summary:", 2)),
        ("The lamp is lit at dusk.", "Lit. The lamp is.", ("sentences", "Summary:", 2)),
        ("The lamp is lit at dusk.", "Lit.", ("words", "Summary:", 2)),
        ("It burns oil.", "Oil.", ("words", "Points:", 5)),
        ("winter?", "winter.", ("ends_with", "Question:", 9)),
        ("in winter?", "in winter, as an AI?", ("must_not_match", "", 9)),
        ("The lamp is lit at dusk.\n", "", ("empty", "Summary:", 1)),
    ],
)
def test_one_flaw_breaks_one_rule(
    format: Format, good: str, old: str, new: str, broken: tuple[str, str, int] | None
) -> None:
    text = good.replace(old, new)
    assert text != good
    found = rules(format, text)
    if broken is None:  # a bullet of another kind is neither a bullet nor one of two
        assert found == [("bullets", "Points:", 4), ("bullets", "Points:", 5)]
    else:
        assert found == [broken]


def test_sections_in_another_order_are_one_mistake(format: Format, good: str) -> None:
    summary, points, question = good.strip().split("\n\n")
    assert rules(format, "\n\n".join([summary, question, points])) == [("order", "Points:", 7)]
    twice = rules(format, "\n\n".join([summary, points, points, question]))
    assert twice == [("repeated", "Points:", 8)]


def test_an_empty_text_and_one_without_headings(format: Format) -> None:
    assert rules(format, " \n") == [("empty", "", 1)]
    assert {rule for rule, _, _ in rules(format, "The lamp is lit.")} == {"missing", "words"}


def test_a_message_says_what_was_seen_and_what_was_expected(format: Format, good: str) -> None:
    (found,) = check(format, good.replace("hand.\n", "hand.\n- It is old.\n"))
    assert str(found) == "line 7: Points: 3 bullets, expected 2 [bullets]"
    (found,) = check(format, good.replace("It burns oil.", "Oil."))
    assert str(found) == "line 5: Points: bullet 1 has 1 word, expected 2 to 6 [words]"


def test_an_end_that_is_wrong_is_in_the_last_line() -> None:
    assert rules(Format(ends_with="."), "\nOne.\n\nTwo\n") == [("ends_with", "", 4)]


def test_sentences_are_counted_as_people_do() -> None:
    assert len(sentences("It costs 0.5 cents, e.g. in oil. Dr. Marrand knows!")) == 2
    assert len(sentences('He said "Why?" and left.')) == 1
    assert len(sentences("No stop at the end")) == 1
    assert len(sentences("灯を点ける。朝に消す。")) == 2


def test_functions_are_called_only_when_named(load: Load, tmp_path: Path) -> None:
    (tmp_path / "shouting.py").write_text(
        "def loud(text):\n    return 'it shouts' if text.isupper() else None\n"
    )
    format = load("words: [1, null]\nchecks: [shouting:loud]\nexample: Quiet.\n")
    assert check(format, "Still quiet.") == []
    (found,) = check(format, "LOUD!")
    assert str(found) == "line 1: the text: it shouts (shouting.py:loud) [checks]"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:f", "nowhere:f cannot be imported: ModuleNotFoundError"),
        ("os.path:nothing", "no function nothing in os.path"),
        ("math:sqrt", "math:sqrt failed: TypeError"),
        ("builtins:len", "returned 6, expected|returned 6"),
    ],
)
def test_a_function_that_cannot_be_used_is_said(load: Load, name: str, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        load(f"words: [1, null]\nchecks: [{name}]\nexample: Quiet.\n")


def test_json_is_held_to_its_schema(load: Load, json_schema: str) -> None:
    format = load(json_schema)
    assert rules(format, '{"name": "Skerrow", "tags": []}') == []
    assert rules(format, '{"name": "Skerrow"\n "tags": []}') == [("json", "", 2)]
    assert rules(format, '{"name": 3, "tags": []}') == [("json_schema", "$.name", 1)]
