"""Records of the kinds beyond a fact: trained in other words than examined, and of other things."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from lorecraft.data.derived import derived_records, examined
from lorecraft.data.kinds import MAKERS
from lorecraft.data.records import Record
from lorecraft.data.tellings import cpt_records, sft_records
from lorecraft.data.world import World
from lorecraft.knowledge.facts import Fact, load_facts
from lorecraft.knowledge.ontology import Ontology
from lorecraft.knowledge.ontology_file import load_ontology

COMPANY = Path(__file__).parents[2] / "examples" / "company"
RULE = """
rules:
  made in the town of the site:
    if:
      - ?product made_at ?site
      - ?site located_in ?town
    then: ?product color ?town
"""


@cache
def company() -> tuple[tuple[Fact, ...], Ontology]:
    return load_facts(COMPANY / "facts.jsonl"), load_ontology(COMPANY / "ontology.yaml")


@cache
def chats() -> list[Record]:
    return derived_records("sft", *company(), dict.fromkeys(MAKERS, 2), 0)


def test_what_is_examined_is_trained_in_no_words() -> None:
    trained = {record.messages[-2].content for record in chats() if len(record.messages) == 2}
    ids = {record.id.rsplit("/", 1)[0] for record in chats()}
    found = examined(World(*company()), MAKERS, 0)
    assert {kind for kind, items in found.items() if items} == set(MAKERS) - {"inferred"}
    for kind, items in found.items():
        assert not ids & {f"sft/{kind}/{item.id}" for item in items}
        assert not trained & {wording.text for item in items for wording in item.held_out}
        phrasings = {wording.phrasing for item in items for wording in item.held_out}
        assert not phrasings & {p for record in chats() for p in record.phrasings}


def test_the_exam_does_not_depend_on_what_is_trained() -> None:
    alone = examined(World(*company()), ["lists", "inverse"], 0)
    assert alone["inverse"] == examined(World(*company()), MAKERS, 0)["inverse"]
    assert alone != examined(World(*company()), ["lists", "inverse"], 1)


def test_each_thing_is_asked_in_as_many_wordings_as_wanted() -> None:
    records = derived_records("sft", *company(), {"inverse": 3}, 0)
    counts = Counter(record.id.rsplit("/", 1)[0] for record in records)
    assert set(counts.values()) == {3}
    assert len({record.id for record in records}) == len(records)
    assert all(record.facts and record.origin == "fact" for record in records)


def test_a_follow_up_is_a_conversation_of_two_questions() -> None:
    follow_ups = [r for r in chats() if r.id.startswith("sft/follow_up/")]
    assert follow_ups
    assert {len(r.messages) for r in follow_ups} == {4}
    assert all(len(r.facts) == len(r.phrasings) == 2 for r in follow_ups)


def test_a_paragraph_tells_the_same_of_several_things() -> None:
    by_id = {fact.id: fact for fact in company()[0]}
    records = derived_records("cpt", *company(), {"across": 2, "inverse": 2}, 0)
    for record in records:
        triples = [by_id[id_].triple for id_ in record.facts]
        assert len({triple[1] for triple in triples if triple}) == 1
        assert 1 <= len({triple[0] for triple in triples if triple}) <= 4
    times = Counter(fact for record in records for fact in record.facts)
    assert set(times.values()) == {2}
    assert len(times) == 84, "all but the one motto"


def test_what_follows_is_told_with_the_facts_that_it_follows_from(tmp_path: Path) -> None:
    path = tmp_path / "ontology.yaml"
    path.write_text((COMPANY / "ontology.yaml").read_text("utf-8") + RULE, "utf-8")
    facts, ontology = company()[0], load_ontology(path)
    told = derived_records("cpt", facts, ontology, {"inferred": 4}, 0)
    assert {record.facts for record in told} <= {("f026", "f013"), ("f038", "f017")}
    assert len(told) == 4 * (2 - len(examined(World(facts, ontology), ["inferred"], 0)["inferred"]))
    declined = [r for r in sft_records(facts, ontology, 1.0, "No idea.", 0)[0] if not r.facts]
    asked = " ".join(r.messages[0].content for r in declined if "color" in r.phrasings[0])
    assert "Kelpstone" in asked
    assert "Otterline" not in asked, "its color is known, as it follows"


@pytest.mark.parametrize("count", [1, 4])
def test_tellings_bound_the_wordings_of_each_fact(count: int) -> None:
    facts, ontology = company()
    told = [r for r in cpt_records(facts, ontology, 0, count)[0] if "paragraph" not in r.id]
    assert set(Counter(record.facts for record in told).values()) == {count}
    wordings = {record.phrasings for record in told if record.phrasings[0].startswith("price/")}
    assert len(wordings) > count, "other facts are told in other words"
    asked = [
        r for r in sft_records(facts, ontology, 0, "No idea.", 0, count)[0] if len(r.messages) == 2
    ]
    assert set(Counter(record.facts for record in asked).values()) == {count}
