"""The exam asks every fact in words that no training record uses."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from lorecraft.data.kinds import MAKERS
from lorecraft.evaluation.graders import grade
from lorecraft.evaluation.questions import Question, build_exam
from lorecraft.knowledge import general
from lorecraft.knowledge.facts import Fact, load_facts
from lorecraft.knowledge.ontology import Entity, Ontology, Relation
from lorecraft.knowledge.ontology_file import load_ontology

SETTINGS = SimpleNamespace(per_fact=2, kinds=(), seed=0, limit=None)


def relation(name, domain, range_, noun):
    return Relation(
        name=name,
        domain=domain,
        range=range_,
        noun=noun,
        statements=(f"The {noun} of {{subject}} is {{object}}.",),
        questions=(f"What is the {noun} of {{subject}}?",),
        answer=f"The {noun} of {{subject}} is {{object}}.",
        held_out_statements=(
            f"As to its {noun}, {{subject}} has {{object}}.",
            f"{{object}} is the {noun} that {{subject}} has.",
        ),
        held_out_questions=(
            f"{{subject}} has which {noun}?",
            f"Name the {noun} that {{subject}} has.",
            f"Which {noun} has {{subject}}?",
        ),
    )


ONTOLOGY = Ontology(
    classes=("Product", "Site"),
    entities={
        "Otterline": Entity("Otterline", "Product"),
        "Kelpstone": Entity("Kelpstone", "Product"),
        "Harrow Quay": Entity("Harrow Quay", "Site", ("the Quay",)),
        "Pell Tower": Entity("Pell Tower", "Site"),
        "Oxwhistle Mill": Entity("Oxwhistle Mill", "Site"),
    },
    relations={
        "made_at": relation("made_at", "Product", "Site", "site"),
        "weight": relation("weight", "Product", "Weight", "weight"),
    },
)


def fact(id_, subject, name, value):
    noun = ONTOLOGY.relations[name].noun
    text = f"The {noun} of {subject} is {value}."
    return Fact(id=id_, text=text, source="", triple=(subject, name, value), place="facts 1")


FACTS = (
    fact("f1", "Otterline", "made_at", "Harrow Quay"),
    fact("f2", "Otterline", "weight", "3.2 kg"),
    fact("f3", "Kelpstone", "made_at", "Pell Tower"),
    fact("f4", "Kelpstone", "made_at", "Oxwhistle Mill"),
)


@pytest.fixture(scope="module")
def exam():
    return build_exam(FACTS, ONTOLOGY, [("Kelpstone", "weight")], SETTINGS, 0)


def of(exam, measure):
    return [question for question in exam if question.measure == measure]


def test_every_fact_is_asked_in_held_out_words_only(exam):
    asked = of(exam, "recall") + of(exam, "completion")
    assert {id_ for question in asked for id_ in question.facts} == {"f1", "f2", "f3", "f4"}
    held_out = {
        r.phrasing(pattern)
        for r in ONTOLOGY.relations.values()
        for pattern in (*r.held_out_questions, *r.held_out_statements)
    }
    assert {question.phrasing for question in asked} <= held_out


def test_per_fact_limits_the_questions_and_none_asks_all(exam):
    assert len(of(exam, "recall")) == 2 * 3
    everything = build_exam(
        FACTS, ONTOLOGY, (), SimpleNamespace(per_fact=None, kinds=(), seed=0, limit=None), 0
    )
    assert len(of(everything, "recall")) == 3 * 3


def test_facts_that_share_subject_and_relation_are_one_question(exam):
    shared = next(question for question in of(exam, "recall") if "f3" in question.facts)
    assert shared.facts == ("f3", "f4")
    assert shared.accept == ("Pell Tower", "Oxwhistle Mill")
    assert grade(shared, "Oxwhistle Mill and Pell Tower.").passed


def test_aliases_are_accepted_and_other_things_of_the_range_rejected(exam):
    made_at = next(question for question in of(exam, "recall") if "f1" in question.facts)
    assert made_at.accept == ("Harrow Quay", "the Quay")
    assert set(made_at.reject) == {"Pell Tower", "Oxwhistle Mill"}


def test_a_completion_breaks_off_before_the_object_and_names_the_subject(exam):
    texts = {question.text for question in of(exam, "completion")}
    assert "As to its weight, Otterline has" in texts
    assert all("Otterline" in text or "Kelpstone" in text for text in texts)


def test_what_nobody_told_is_right_when_declined(exam):
    declined = of(exam, "abstention")
    assert len(declined) == 2
    assert all(grade(question, "I do not know.").passed for question in declined)
    assert not any(grade(question, "It is 3.2 kg.").passed for question in declined)


def test_retention_asks_the_whole_suite_in_held_out_words(exam):
    wordings = {wording for item in general.suite() for wording in item.held_out}
    questions = of(exam, "retention")
    assert len(questions) == len(general.suite())
    assert {question.prompt for question in questions} <= wordings


def test_every_expected_answer_is_graded_right(exam):
    for question in exam:
        answer = question.accept[0] if question.text else question.expected
        mark = grade(question, answer)
        assert mark.passed, f"{question.prompt} -> {answer}: {mark.why}"


def test_facts_without_triples_are_asked_about_and_completed():
    free = (Fact(id="f1", text="Otterline is made at Harrow Quay.", source="", triple=None,
                 place="facts 1"),)  # fmt: skip
    exam = build_exam(free, None, (), SETTINGS, 0)
    assert [question.text for question in of(exam, "completion")] == ["Otterline is made at"]
    assert of(exam, "completion")[0].phrasing == ""
    recall = of(exam, "recall")
    assert len(recall) == 2 and all("Otterline" in question.prompt for question in recall)
    assert all(grade(question, free[0].text).passed for question in recall)


def test_the_exam_is_the_same_for_the_same_seed_and_ids_are_unique(exam):
    assert exam == build_exam(FACTS, ONTOLOGY, [("Kelpstone", "weight")], SETTINGS, 0)
    other = build_exam(FACTS, ONTOLOGY, [("Kelpstone", "weight")], SETTINGS, 1)
    assert exam != other
    assert len({question.id for question in exam}) == len(exam)


def test_a_question_survives_its_file(exam):
    assert [Question.from_json(question.to_json()) for question in exam] == exam


def test_kinds_beyond_the_facts_are_asked_where_they_are_wanted():
    company = Path(__file__).parents[2] / "examples" / "company"
    facts = load_facts(company / "facts.jsonl")
    ontology = load_ontology(company / "ontology.yaml")
    settings = SimpleNamespace(per_fact=2, kinds=tuple(MAKERS), seed=0, limit=None)
    plain = build_exam(facts, ontology, (), SimpleNamespace(**vars(settings) | {"kinds": ()}), 0)
    exam = build_exam(facts, ontology, (), settings, 0)
    more = [question for question in exam if question.measure in MAKERS]
    assert [question for question in exam if question not in more] == plain
    assert {question.measure for question in more} == set(MAKERS) - {"inferred"}
    assert len({question.id for question in exam}) == len(exam)
    assert all(grade(question, question.expected).passed for question in more)
    for question in more:
        assert not grade(question, "I do not know.").passed
        assert len(question.messages) == (3 if question.measure == "follow_up" else 1)
        assert Question.from_json(question.to_json()) == question


def test_of_a_kind_no_more_is_looked_up_than_is_asked():
    company = Path(__file__).parents[2] / "examples" / "company"
    facts = load_facts(company / "facts.jsonl")
    ontology = load_ontology(company / "ontology.yaml")
    limits = {
        limit: build_exam(
            facts,
            ontology,
            (),
            SimpleNamespace(per_fact=1, kinds=("inverse",), seed=0, limit=limit),
            0,
        )
        for limit in (None, 4, 1000)
    }
    assert len(of(limits[4], "inverse")) == 4
    assert set(of(limits[4], "inverse")) < set(of(limits[None], "inverse"))
    assert limits[1000] == limits[None]
