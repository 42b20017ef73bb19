"""A format is read with all its mistakes, and one that no text can meet is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lorecraft.errors import FormatError
from lorecraft.style.describe import describe
from lorecraft.style.load import load_format
from lorecraft.style.schema import Format, Rules, SectionRules

from .conftest import FORMAT, Load

ROOT = Path(__file__).parents[2]


def test_all_mistakes_are_told_with_their_lines(load: Load) -> None:
    with pytest.raises(FormatError) as found:
        load(
            "sections:\n  - haeding: A\n    bullets: [3, 2]\n"
            "    must_match: ['(']\n    words: many\nword: 3\nchecks: [rm -rf]\n"
        )
    text = str(found.value)
    for said in (
        "the format has 7 mistakes",
        ":2: sections[1].haeding: no such key; did you mean heading?",
        ":2: sections[1].heading: missing; expected a line",
        ":3: sections[1].bullets: no number is at least 3 and at most 2",
        ":4: sections[1].must_match[1]: no regular expression: ",
        ":5: sections[1].words: expected a number, or a list of the least and the most",
        ":6: word: no such key; did you mean words",
        ":7: checks[1]: expected module:function, saw 'rm -rf'",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "a format without a rule"),
        ("words: 0", "words: no text is without words"),
        ("sentences: 3\nwords: [1, 2]", "words: at most 2 for at least 3 sentences"),
        ("sections: [{heading: A}, {heading: '# a'}]", "'# a' opens two sections"),
        ("sections: [{heading: A, bullets: 0}]", "no bullets and nothing else"),
        ("sections: [{heading: A, paragraphs: 0}]", "a section has at least one"),
        ("sections: [{heading: '###'}]", "expected a line with a word in it"),
        (
            "words: [1, 20]\nsections: [{heading: A, bullets: 5, words: [5, 9]}]",
            "words: at most 20, but the sections need 26",
        ),
        (
            "words: [90, 99]\nsections: [{heading: A, bullets: 5, words: [5, 9]}]",
            "words: at least 90, but the sections hold 46 at most",
        ),
        ("must_not_match: ['A']\nsections: [{heading: A}]", "no text is known to meet"),
        ("ends_with: '?'\nsections: [{heading: A, ends_with: '!'}]", "the text ends with 'A"),
        ("must_match: ['[0-9]']", "or an `example:`, a text that meets them"),
        ("must_match: ['[0-9]']\nexample: None.", ":2: the example does not meet the format"),
        ("json_schema: {}", "expected an example beside it"),
        ("json_schema: {}\nexample: '1'\nsections: [{heading: A}]", "JSON or has sections"),
    ],
)
def test_a_format_that_no_text_can_meet_is_refused(load: Load, text: str, said: str) -> None:
    with pytest.raises(FormatError) as found:
        load(text)
    assert said in str(found.value)


def test_a_bad_json_schema_is_refused(load: Load, json_schema: str) -> None:
    with pytest.raises(FormatError, match="no JSON Schema"):
        load(json_schema.replace("type: object", "type: objekt"))


def test_json_without_its_library_names_the_extra(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema.validators", None)
    with pytest.raises(FormatError, match=r"pip install 'lorecraft\[json\]'"):
        load("json_schema: {type: object}\nexample: '{}'")


@pytest.mark.parametrize(
    "text",
    [
        "words: [50, 60]",
        "sentences: 4\nwords: [9, 9]\nends_with: '!'",
        "sections: [{heading: A, paragraphs: 3}, {heading: B, bullets: [2, null], marker: '*'}]",
        "words: [40, 40]\nsections: [{heading: A, words: [1, 5]}, {heading: B, bullets: 3}]",
        "must_match: ['[0-9]']\nexample: In 1874.",
    ],
)
def test_a_format_that_a_text_can_meet_is_read(load: Load, text: str) -> None:
    assert load(text)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b"\xff", "not UTF-8"), (b"- a", "expected keys")]
)
def test_what_is_no_format_is_said(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "format.yaml").write_bytes(content)
    with pytest.raises(FormatError, match=said):
        load_format(tmp_path / "format.yaml")


def test_a_format_is_described_in_plain_words(format: Format) -> None:
    text = describe(format)
    assert text.startswith("Write these 3 sections in this order")
    assert (
        "Points:\n(2 bullets, each on a line that begins with '- '; in each: 2 to 6 words)" in text
    )
    assert "Question:\n(1 sentence; ends with '?')" in text
    assert text.endswith("matches the regular expression (?i)as an AI.")


def test_a_function_is_described_by_its_docstring(load: Load, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text('def calm(text):\n    """Does not shout."""\n')
    text = describe(load("checks: [own:calm]\nexample: Quiet.\n"))
    assert text == "The whole: Does not shout.\n\nFor example:\n\nQuiet."


def test_json_is_described_by_its_schema(load: Load, json_schema: str) -> None:
    text = describe(load(json_schema))
    assert text.startswith("Write one JSON value and nothing else")
    assert '"maxItems": 2' in text


def test_the_document_has_every_key() -> None:
    page = (ROOT / "docs" / "format.md").read_text("utf-8")
    keys = {*Format.model_fields, *SectionRules.model_fields, *Rules.model_fields}
    assert [key for key in sorted(keys) if f"| `{key}` |" not in page] == []


def test_every_format_in_the_repository_can_be_read(load: Load) -> None:
    paths = [*ROOT.glob("examples/**/format*.yaml")]
    assert paths
    assert [load_format(path) for path in paths]
    assert load(FORMAT)
