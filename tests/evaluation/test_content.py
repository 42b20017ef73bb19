"""What a text says, counted by its words."""

import pytest
import yaml

from lorecraft.evaluation import content
from lorecraft.style.load import load_format

PROMPT = "A filter learns edges first. Wheels come later. It needs few weights, but no far corners."
REFERENCE = "A filter learns edges, then wheels. It needs few weights."


@pytest.fixture
def format_(tmp_path):
    sections = [
        {"heading": "Summary:", "sentences": 1, "words": [3, 20]},
        {"heading": "Question:", "sentences": 1, "ends_with": "?"},
    ]
    (tmp_path / "format.yaml").write_text(yaml.safe_dump({"sections": sections}))
    return load_format(tmp_path / "format.yaml")


def test_terms_are_stems_of_words_with_content():
    assert content.terms("The filters LEARNED it; learning a filter!") == [
        *("filter", "learn", "learn", "filter")
    ]
    assert content.terms("of the and, it is") == []
    assert content.terms("Die Küste: 12 Häfen") == ["die", "küst", "12", "häfen"]


def test_key_terms_are_what_prompt_and_reference_share():
    keys = content.key_terms(REFERENCE, PROMPT)
    assert keys == {"filter", "learn", "edge", "wheel", "need", "weight"}
    assert content.recall("Edges and wheels, learned.", keys) == pytest.approx(0.5)
    assert content.recall("", keys) == 0
    assert content.key_terms("nothing alike", PROMPT) == {"noth", "alik"}


def test_f1_is_of_terms_with_their_repetitions():
    assert content.f1("edges edges wheels", "edges wheels weights") == pytest.approx(2 * 2 / 6)
    assert content.f1("", REFERENCE) == 0
    assert content.f1(REFERENCE, REFERENCE) == 1


def test_unsupported_is_what_no_source_has():
    assert content.unsupported("edges make cats", (PROMPT, REFERENCE)) == pytest.approx(2 / 3)
    assert content.unsupported("of the", (PROMPT,)) is None


def test_a_phrase_about_three_things_is_formulaic_unless_the_prompt_has_it():
    learned = "one should always examine carefully every remaining case twice."
    outputs = [f"{thing} works fine indeed.\n{learned}" for thing in ("Cats", "Dogs", "Birds")]
    shares = content.formulaic(outputs, ["", "", ""], ["a", "b", "c"])
    assert all(share > 0.5 for share in shares)
    assert content.formulaic(outputs, ["", "", ""], ["a", "a", "a"]) == [0, 0, 0]
    assert content.formulaic(outputs, [learned] * 3, ["a", "b", "c"]) == [0, 0, 0]


def test_specific_is_what_the_own_prompt_has_and_few_others():
    prompts = [f"shared words about thing{n}" for n in range(20)]
    outputs = ["thing0 shared", *["thing0"] * 19]
    assert content.specific(outputs, prompts)[:2] == [0.5, 0]


def test_diversity_counts_distinct_neighbours():
    assert content.diversity(["cats chase mice", "cats chase mice"]) == 0.5
    assert content.diversity([]) == 0


def test_bodies_are_cut_at_the_headings(format_):
    text = "Well.\nSummary:\nA filter.\n\nQuestion:\nWhy?"
    assert content.bodies(text, format_) == {
        "": "Well.",
        "Summary:": "A filter.",
        "Question:": "Why?",
    }


@pytest.mark.parametrize(
    ("question", "valid"),
    [
        ("Why does a filter learn edges?", True),
        ("Why does a filter learn edges.", False),
        ("What is the weather?", False),
        ("Wheels come later?", False),  # a sentence of the prompt
        ("", False),
    ],
)
def test_a_question_asks_about_the_matter_and_is_no_copy(question, valid):
    assert content.asks(question, PROMPT) == valid


def test_depth_gives_a_third_for_length_matter_and_something_new(format_):
    whole = {"Summary:": "A filter learns edges first.", "Question:": "Would wheels need weights?"}
    assert content.depth(whole, PROMPT, format_) == {"Summary:": 1, "Question:": 1}
    again = whole | {"Question:": "A filter learns edges?"}
    assert content.depth(again, PROMPT, format_)["Question:"] == pytest.approx(2 / 3)
    assert content.depth({"Summary:": "Filter."}, PROMPT, format_) == {
        "Summary:": pytest.approx(1 / 3),
        "Question:": 0,
    }
