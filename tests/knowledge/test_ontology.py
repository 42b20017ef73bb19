"""The ontology is read with all its mistakes, and facts are held against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorecraft.errors import DataError
from lorecraft.knowledge.facts import Fact, load_facts
from lorecraft.knowledge.ontology import normal, render
from lorecraft.knowledge.ontology_file import load_ontology
from lorecraft.knowledge.shapes import absent, check

COMPANY = Path(__file__).parents[2] / "examples" / "company"

SMALL = """
classes: {Town: {}, Person: {}}
entities:
  Ostrin: {class: Town, aliases: [Old Ostrin]}
  Brelm: {class: Town}
  Ada Brun: {class: Person}
relations:
  mayor:
    domain: Town
    range: Person
    functional: true
    noun: mayor
    statements: ["The mayor of {subject} is {object}.", "{object} is mayor of {subject}."]
    questions: ["Who is mayor of {subject}?", "Who leads {subject}?", "{subject}: mayor?"]
    answer: "The mayor of {subject} is {object}."
  bridges:
    domain: Town
    range: Number
    noun: number of bridges
    statements: ["{subject} has {object} bridges."]
    questions: ["How many bridges has {subject}?"]
    answer: "{subject} has {object} bridges."
    held_out:
      statements: ["The bridges of {subject} number {object}."]
      questions: ["How many bridges does {subject} have?"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "ontology.yaml"
    path.write_text(text, "utf-8")
    return path


def fact(*triple: str, id_: str = "f001") -> Fact:
    subject, relation, object_ = triple
    return Fact(id_, "A sentence.", "", (subject, relation, object_), f"facts.jsonl {id_}")


def test_classes_entities_and_relations_are_read(tmp_path: Path) -> None:
    ontology = load_ontology(written(tmp_path, SMALL))
    assert ontology.classes == ("Town", "Person")
    assert ontology.entities["Ostrin"].aliases == ("Old Ostrin",)
    assert ontology.names() == ("Ostrin", "Old Ostrin", "Brelm", "Ada Brun")
    bridges = ontology.relations["bridges"]
    assert bridges.held_out_questions == ("How many bridges does {subject} have?",)
    assert bridges.questions == ("How many bridges has {subject}?",)
    assert not bridges.functional


def test_without_held_out_phrasings_a_quarter_is_taken_off_the_trained(tmp_path: Path) -> None:
    mayor = load_ontology(written(tmp_path, SMALL)).relations["mayor"]
    assert mayor.statements == ("The mayor of {subject} is {object}.",)
    assert len(mayor.questions) == 2
    assert len(mayor.held_out_questions) == 1
    assert not set(mayor.questions) & set(mayor.held_out_questions)


def test_all_mistakes_are_reported_with_their_lines(tmp_path: Path) -> None:
    broken = (
        SMALL.replace("Brelm: {class: Town}", "Brelm: {class: Twon}")
        .replace("    noun: mayor\n", "    nuon: mayor\n")
        .replace("functional: true", "functional: perhaps")
        .replace('"{object} is mayor of {subject}."', '"{object} is mayor of {town}."')
        .replace("How many bridges does {subject} have?", "How many bridges has {subject}")
    )
    with pytest.raises(DataError) as caught:
        load_ontology(written(tmp_path, broken))
    message = str(caught.value)
    assert "ontology.yaml line 5: entities.Brelm.class: no class 'Twon'; did you mean" in message
    assert "relations.mayor.nuon: unknown key; did you mean 'noun'?" in message
    assert "relations.mayor.noun: expected a text, saw nothing" in message
    assert "expected true or false, saw 'perhaps'" in message
    assert "'{object} is mayor of {town}.' should have {subject} and {object}" in message
    assert "'how many bridges has subject' stands 2 times" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a mapping"),
        ("- a\n- b\n", "expected a mapping"),
        ("classes: {A: {}\nentities:", "broken YAML"),
        ("classes: {A: {}}\nclasses: {}\n", "line 2"),
        ("classes: [A]\nentities: {X: {class: A, aliases: [7]}}\nrelations: {}", "in quotes"),
        (
            "classes: [A]\nentities: {X: {class: A}, Y: {class: A, aliases: [x]}}\nrelations: {}",
            "'x' also names X",
        ),
    ],
)
def test_what_is_no_ontology_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_ontology(written(tmp_path, text))


def test_a_relation_needs_a_phrasing_to_train_and_one_to_hold_out(tmp_path: Path) -> None:
    text = SMALL.replace(', "{object} is mayor of {subject}."', "")
    with pytest.raises(DataError, match=r"mayor.statements: expected 2 or more, saw 1"):
        load_ontology(written(tmp_path, text))


def test_check_names_every_triple_that_does_not_fit(tmp_path: Path) -> None:
    ontology = load_ontology(written(tmp_path, SMALL))
    check([fact("Ostrin", "mayor", "Ada Brun"), fact("Ostrin", "bridges", "2")], ontology)
    with pytest.raises(DataError) as caught:
        check(
            [
                fact("Ostrin", "mayer", "Ada Brun", id_="a"),
                fact("Ostrim", "mayor", "Ada Brun", id_="b"),
                fact("Ada Brun", "bridges", "2", id_="c"),
                fact("Brelm", "mayor", "Nobody", id_="d"),
                fact("Ostrin", "mayor", "Brelm", id_="e"),
                fact("Ostrin", "mayor", "Ada Brun", id_="f"),
            ],
            ontology,
        )
    message = str(caught.value)
    assert "facts.jsonl a: unknown relation 'mayer'; did you mean 'mayor'?" in message
    assert "facts.jsonl b: unknown subject 'Ostrim'; did you mean 'Ostrin'?" in message
    assert "facts.jsonl c: Ada Brun is a Person, but bridges is said of a Town" in message
    assert "facts.jsonl d: unknown object 'Nobody'" in message
    assert "facts.jsonl e: Brelm is a Town, but the object of mayor is a Person" in message
    assert "facts.jsonl f: mayor of Ostrin is Ada Brun here and Brelm before" in message


def test_absent_is_what_nobody_told_within_a_domain(tmp_path: Path) -> None:
    ontology = load_ontology(written(tmp_path, SMALL))
    assert absent([fact("Ostrin", "mayor", "Ada Brun")], ontology) == (
        ("Ostrin", "bridges"),
        ("Brelm", "mayor"),
        ("Brelm", "bridges"),
    )


def test_rendering_fills_slots_once_and_capitalises_an_opening_object() -> None:
    assert render("{object} is what {subject} wants.", "A {object}", "rest") == (
        "Rest is what A {object} wants."
    )
    assert normal("Where's  Ostrin, please?") == "wheres ostrin please"


def test_the_example_company_holds_together() -> None:
    facts, ontology = load_facts(COMPANY / "facts.jsonl"), load_ontology(COMPANY / "ontology.yaml")
    check(facts, ontology)
    assert len(facts) >= 60
    assert len(absent(facts, ontology)) >= 60
