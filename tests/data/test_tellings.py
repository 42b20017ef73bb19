"""What facts become: many phrasings, none of them the exam's, and honest declines."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from lorecraft.data.records import Record
from lorecraft.data.tellings import cpt_records, sft_records
from lorecraft.data.unknown import split_absent
from lorecraft.data.wordings import ABOUT_HELD_OUT, ABOUT_QUESTIONS, COMPLETE_QUESTIONS
from lorecraft.knowledge.facts import Fact, load_facts
from lorecraft.knowledge.ontology import Entity, Ontology, Relation, normal
from lorecraft.knowledge.ontology_file import load_ontology

COMPANY = Path(__file__).parents[2] / "examples" / "company"
DECLINE = "I do not know."


@cache
def company() -> tuple[tuple[Fact, ...], Ontology]:
    return load_facts(COMPANY / "facts.jsonl"), load_ontology(COMPANY / "ontology.yaml")


@cache
def both_stages() -> dict[str, tuple[list[Record], list[Record]]]:
    facts, ontology = company()
    return {
        "cpt": cpt_records(facts, ontology, 0),
        "sft": sft_records(facts, ontology, 1.0, DECLINE, 0),
    }


FREE = (
    Fact("f1", "The Ostrin Club was founded in 1902.", "", None, "line 1"),
    Fact("f2", "The Ostrin Club meets on Mondays.", "", None, "line 2"),
    Fact("f3", "It is green.", "", None, "line 3"),
)


@pytest.mark.parametrize("stage", ["cpt", "sft"])
def test_every_fact_is_trained_and_validated_in_phrasings_apart(stage: str) -> None:
    train, valid = both_stages()[stage]
    ids = {fact.id for fact in company()[0]}
    assert {fact for record in train for fact in record.facts} == ids
    validated = {fact for record in valid for fact in record.facts}
    assert len(validated) >= 0.9 * len(ids), "all but those asked in nearly the trained words"
    shared = {p for r in train for p in r.phrasings} & {p for r in valid for p in r.phrasings}
    assert not shared


@pytest.mark.parametrize("stage", ["cpt", "sft"])
def test_no_held_out_phrasing_is_ever_trained(stage: str) -> None:
    held = {
        relation.phrasing(pattern)
        for relation in company()[1].relations.values()
        for pattern in (*relation.held_out_statements, *relation.held_out_questions)
    }
    train, valid = both_stages()[stage]
    assert not held & {phrasing for record in (*train, *valid) for phrasing in record.phrasings}


@pytest.mark.parametrize("stage", ["cpt", "sft"])
def test_ids_are_unique_and_the_same_seed_gives_the_same_records(stage: str) -> None:
    facts, ontology = company()
    train, valid = both_stages()[stage]
    ids = Counter(record.id for record in (*train, *valid))
    assert max(ids.values()) == 1
    again = (
        cpt_records(facts, ontology, 0)
        if stage == "cpt"
        else sft_records(facts, ontology, 1.0, DECLINE, 0)
    )
    assert again == (train, valid)


def test_paragraphs_tell_two_to_four_facts_of_one_subject() -> None:
    paragraphs = [record for record in both_stages()["cpt"][0] if len(record.facts) > 1]
    by_id = {fact.id: fact for fact in company()[0]}
    assert len(paragraphs) > 60
    for record in paragraphs:
        assert 2 <= len(record.facts) <= 4
        assert len({by_id[fact].triple[0] for fact in record.facts if by_id[fact].triple}) == 1


def test_follow_ups_ask_twice_about_one_subject() -> None:
    follow_ups = [record for record in both_stages()["sft"][0] if len(record.messages) == 4]
    assert len(follow_ups) > 60
    assert all(len(record.facts) == len(record.phrasings) == 2 for record in follow_ups)


def test_declined_records_are_counted_against_facts_and_never_ask_what_the_exam_asks() -> None:
    facts, ontology = company()
    train, _ = both_stages()["sft"]
    origins = Counter(record.origin for record in train)
    assert origins["unknown"] == origins["fact"]
    assert {r.messages[-1].content for r in train if r.origin == "unknown"} == {DECLINE}
    _, examined = split_absent(facts, ontology, 0)
    forbidden = {
        pattern.replace("{subject}", subject)
        for subject, name in examined
        for pattern in ontology.relations[name].questions
    }
    assert not forbidden & {record.messages[0].content for record in train}
    assert not [r for r in sft_records(facts, ontology, 0, DECLINE, 0)[0] if r.origin == "unknown"]


def test_a_sixth_of_the_declined_ask_about_names_that_do_not_exist() -> None:
    names = [normal(name) for name in company()[1].names()]
    declined = [r for r in both_stages()["sft"][0] if r.origin == "unknown"]
    invented = [r for r in declined if not any(n in normal(r.messages[0].content) for n in names)]
    assert abs(len(invented) - len(declined) / 6) < 1
    assert len({record.messages[0].content for record in invented}) > 0.8 * len(invented)


def test_absent_pairs_are_dealt_two_to_one_within_each_relation() -> None:
    facts, ontology = company()
    trained, examined = split_absent(facts, ontology, 0)
    assert not set(trained) & set(examined)
    assert abs(len(trained) - 2 * len(examined)) <= 2
    left, right = (Counter(name for _, name in side) for side in (trained, examined))
    assert all(abs(left[name] - 2 * right[name]) <= 2 for name in left | right)


def test_several_objects_of_one_relation_are_one_answer() -> None:
    makes = Relation(
        name="makes",
        domain="Company",
        range="Text",
        noun="products",
        statements=("{subject} makes {object}.",),
        questions=("What does {subject} make?",),
        answer="{subject} makes {object}.",
        held_out_statements=("{subject} is the maker of {object}.",),
        held_out_questions=("Which things does {subject} make?",),
    )
    ontology = Ontology(("Company",), {"Orlo": Entity("Orlo", "Company")}, {"makes": makes})
    facts = [
        Fact(f"f{n}", f"Orlo makes {what}.", "", ("Orlo", "makes", what), f"line {n}")
        for n, what in enumerate(["bells", "ropes", "flags"])
    ]
    records, _ = sft_records(facts, ontology, 0, DECLINE, 0)
    assert {r.messages[-1].content for r in records} == {"Orlo makes bells, ropes and flags."}
    assert {r.facts for r in records} == {("f0", "f1", "f2")}
    assert "What is the products of Orlo?" in {r.messages[0].content for r in records}


def test_sentences_without_triples_become_text_and_questions_about_their_subject() -> None:
    train, valid = cpt_records(FREE, None, 0)
    assert {fact.text for fact in FREE} <= {record.text for record in train}
    assert [record for record in train if record.facts in (("f1", "f2"), ("f2", "f1"))]
    assert not valid

    train, valid = sft_records(FREE, None, 0.5, DECLINE, 0)
    about = [r for r in (*train, *valid) if "the Ostrin Club" in r.messages[0].content]
    assert len(about) == len(ABOUT_QUESTIONS)
    assert {r.messages[1].content for r in about} == {f"{FREE[0].text} {FREE[1].text}"}
    complete = [record for record in train if record.id.split("/")[2] == "complete"]
    assert len(complete) == len(COMPLETE_QUESTIONS) * len(FREE)
    unknown = [record for record in train if record.origin == "unknown"]
    assert len(unknown) == round(0.5 * (len(train) - len(unknown)))
    assert not any("Ostrin" in record.messages[0].content for record in unknown)


def test_facts_of_both_kinds_live_side_by_side() -> None:
    facts, ontology = company()
    train, _ = sft_records([*facts, *FREE], ontology, 1.0, DECLINE, 0)
    assert {"f1", "f2", "f3", "f001"} <= {fact for record in train for fact in record.facts}


def test_the_questions_about_a_subject_are_trained_or_examined_never_both() -> None:
    assert not {normal(p) for p in ABOUT_QUESTIONS} & {normal(p) for p in ABOUT_HELD_OUT}
