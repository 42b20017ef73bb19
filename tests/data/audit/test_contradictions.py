"""What the data say otherwise than the facts; what they only say in other words is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from lorecraft.data.audit.contradictions import Contradictions
from lorecraft.data.audit.rows import Entry
from lorecraft.data.records import Message, Record
from lorecraft.knowledge.facts import load_facts
from lorecraft.knowledge.ontology_file import load_ontology

RELATIONS = {
    "opened_in": {
        "domain": "Light",
        "range": "Year",
        "functional": True,
        "noun": "opening year",
        "statements": ["{subject} opened in {object}.", "In {object}, {subject} opened."],
        "questions": ["When did {subject} open?", "{subject} is how old?"],
        "answer": "It opened in {object}.",
        "held_out": {"questions": ["Which year did {subject} begin in?"]},
    },
    "keeper": {
        "domain": "Light",
        "range": "Person",
        "functional": True,
        "noun": "keeper",
        "statements": ["The keeper of {subject} is {object}.", "{object} keeps {subject}."],
        "questions": ["Who keeps {subject}?", "Name the keeper of {subject}."],
        "answer": "{object} keeps {subject}.",
    },
    "guest": {
        "domain": "Light",
        "range": "Person",
        "noun": "guest",
        "statements": ["{object} visits {subject}.", "A guest of {subject} is {object}."],
        "questions": ["Who visits {subject}?", "Name a guest of {subject}."],
        "answer": "{object}.",
    },
}
ENTITIES = {
    "Lumen Pier": {"class": "Light", "aliases": ["the Pier"]},
    "Tern Rock": {"class": "Light"},
    "Odile Varga": {"class": "Person", "aliases": ["Odile"]},
    "Ben Aro": {"class": "Person"},
}
FACTS = [
    ("Lumen Pier", "opened_in", "1931"),
    ("Lumen Pier", "keeper", "Odile Varga"),
    ("Lumen Pier", "guest", "Ben Aro"),
]


@pytest.fixture
def check(tmp_path: Path) -> Contradictions:
    ontology = {"classes": ["Light", "Person"], "entities": ENTITIES, "relations": RELATIONS}
    (tmp_path / "o.yaml").write_text(yaml.safe_dump(ontology))
    facts = "\n".join(json.dumps({"text": " ".join(t), "triple": t}) for t in FACTS)
    (tmp_path / "f.jsonl").write_text(facts)
    return Contradictions(load_facts(tmp_path / "f.jsonl"), load_ontology(tmp_path / "o.yaml"))


def answered(question: str, answer: str) -> Entry:
    return Entry(0, record=Record("r", (Message("user", question), Message("assistant", answer))))


@pytest.mark.parametrize(
    ("question", "answer", "right"),
    [
        ("When did Lumen Pier open?", "In 1932.", "1931"),
        ("which year did the pier begin in", "1932", "1931"),
        ("Who keeps Lumen Pier?", "Ben Aro does.", "Odile Varga"),
        ("Tell me of the pier.", "It is tall. Ben Aro keeps Lumen Pier.", "Odile Varga"),
        ("Tell me of the pier.", "Lumen Pier opened in 1871.", "1931"),
    ],
)
def test_an_answer_that_says_otherwise_is_found(
    check: Contradictions, question: str, answer: str, right: str
) -> None:
    [(kind, why)] = check.marks(answered(question, answer))
    assert kind == "contradicts the facts"
    assert f" of Lumen Pier is {right}" in why


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who keeps Lumen Pier?", "I do not know."),
        ("When did Lumen Pier open?", "In nineteen thirty-one."),
    ],
)
def test_an_answer_that_does_not_say_the_fact_is_a_warning_alone(
    check: Contradictions, question: str, answer: str
) -> None:
    [(kind, _)] = check.marks(answered(question, answer))
    assert check.severity_of(kind) == "warning"
    assert check.severity_of("contradicts the facts") == "error"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When did Lumen Pier open?", "It opened in 1931, they say."),
        ("Who keeps the Pier?", "Odile does."),
        ("Who keeps Tern Rock?", "I do not know."),
        ("Who visits Lumen Pier?", "Odile Varga."),
        ("Tell me of the pier.", "It was Ben Aro who said that Odile Varga keeps Lumen Pier."),
        ("Tell me of the pier.", "Lumen Pier opened in spite of the storm."),
        ("Tell me of the pier.", "Odile keeps Lumen Pier. In 1931, Lumen Pier opened."),
    ],
)
def test_an_answer_in_other_words_or_about_what_no_fact_tells_is_none(
    check: Contradictions, question: str, answer: str
) -> None:
    assert list(check.marks(answered(question, answer))) == []


def test_a_plain_text_is_read_sentence_by_sentence(check: Contradictions) -> None:
    text = "The sea is cold. Lumen Pier opened in 1871. It rains."
    [(_, why)] = check.marks(Entry(0, record=Record("r", text=text)))
    assert why == "opened_in of Lumen Pier is 1931: 'Lumen Pier opened in 1871.'"
