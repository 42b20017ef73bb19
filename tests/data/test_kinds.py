"""Questions beyond a fact: each kind asks what can be known, and answers it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lorecraft.data.kinds import MAKERS
from lorecraft.data.world import Item, World
from lorecraft.errors import DataError
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology_file import load_ontology
from lorecraft.knowledge.phrasings import KINDS
from lorecraft.knowledge.shapes import check
from lorecraft.recipe import DataSection, ExamSection

ONTOLOGY = """
classes:
  Boat: {pronoun: she}
  Yard:
  Town:
entities:
  Tern: {class: Boat, aliases: [Swift]}
  Gull: {class: Boat}
  Skua: {class: Boat}
  Pell Yard: {class: Yard}
  Ostrin: {class: Town}
  Brelm: {class: Town}
relations:
  yard:
    domain: Boat
    range: Yard
    functional: true
    noun: yard
    statements: ["The yard of {subject} is {object}.", "{object} made {subject}."]
    questions: ["Who made {subject}?", "{subject}: which yard?", "By whom is {subject}?"]
    answer: "{subject} was made by {object}."
    held_out: {statements: ["{subject} is by {object}."], questions: ["Whose work is {subject}?"]}
  town:
    domain: Yard
    range: Town
    functional: true
    noun: town
    statements: ["{subject} is in {object}.", "Go to {object} for {subject}."]
    questions: ["Where is {subject}?", "{subject} is where?"]
    answer: "{subject} is in {object}."
    held_out: {statements: ["{object} has {subject}."], questions: ["What town has {subject}?"]}
  home:
    domain: Boat
    range: Town
    noun: home
    statements: ["{subject} comes from {object}.", "The home of {subject} is {object}."]
    questions: ["Where is {subject} from?", "{subject} is from where?"]
    answer: "{subject} comes from {object}."
    held_out: {statements: ["{object} sent {subject}."], questions: ["Which town sent {subject}?"]}
  length:
    domain: Boat
    range: Length
    functional: true
    noun: length
    statements: ["{subject} is {object} long.", "The length of {subject} is {object}."]
    questions: ["How long is {subject}?", "How many metres has {subject}?"]
    answer: "{subject} is {object} long."
    held_out: {statements: ["{subject} measures {object}."], questions: ["What length has {subject}?"]}
rules:
  at home where the yard is:
    if:
      - ?boat yard ?yard
      - ?yard town ?town
    then: ?boat home ?town
"""  # noqa: E501
FACTS = [
    ("Tern", "yard", "Pell Yard"),
    ("Gull", "home", "Brelm"),
    ("Skua", "home", "Brelm"),
    ("Pell Yard", "town", "Ostrin"),
    ("Tern", "length", "12 m"),
    ("Gull", "length", "9.5 m"),
    ("Skua", "length", "30 feet"),
]


def world(folder: Path, text: str = ONTOLOGY, facts: list[tuple[str, str, str]] = FACTS) -> World:
    path = folder / "ontology.yaml"
    path.write_text(text, "utf-8")
    ontology = load_ontology(path)
    told = [Fact(f"f{n}", " ".join(t), "", t, f"line {n}") for n, t in enumerate(facts, 1)]
    check(told, ontology)
    return World(told, ontology)


def made(folder: Path, kind: str, **more: str) -> list[Item]:
    return list(MAKERS[kind](world(folder, **more), random.Random(0)))  # type: ignore[arg-type]


def only(items: list[Item]) -> Item:
    (item,) = items
    return item


def texts(item: Item) -> list[str]:
    return [wording.text for wording in item.trained]


def test_a_recipe_may_name_every_kind() -> None:
    data = DataSection(kinds=dict.fromkeys(KINDS, 2))
    assert set(data.kinds) == set(KINDS)
    assert set(ExamSection(kinds=tuple(MAKERS)).kinds) == set(MAKERS) == set(KINDS) - {"across"}


def test_what_follows_is_asked_in_its_relation_s_words(tmp_path: Path) -> None:
    item = only(made(tmp_path, "inferred"))
    assert texts(item)[:2] == ["Where is Tern from?", "Tern is from where?"]
    assert item.answer == "Tern comes from Ostrin."
    assert (item.accept, item.reject) == (("Ostrin",), ("Brelm",))
    assert [fact.id for fact in item.facts] == ["f1", "f4"]


def test_a_thing_is_named_by_the_step_before(tmp_path: Path) -> None:
    item = only(made(tmp_path, "multi_hop"))
    assert texts(item)[:2] == ["Where is the yard of Tern?", "The yard of Tern is where?"]
    assert [wording.text for wording in item.held_out] == ["What town has the yard of Tern?"]
    assert item.answer == "Tern was made by Pell Yard. Pell Yard is in Ostrin."
    assert (item.accept, item.reject) == (("Ostrin",), ("Brelm",))
    assert [fact.id for fact in item.facts] == ["f1", "f4"]


def test_what_follows_answers_a_question_as_well(tmp_path: Path) -> None:
    facts = [*FACTS, ("Tern", "home", "Brelm")]
    item = next(i for i in made(tmp_path, "follow_up", facts=facts) if i.id.endswith("/home"))  # type: ignore[arg-type]
    assert item.answer == "Tern comes from Brelm."
    assert (item.accept, item.reject) == (("Brelm", "Ostrin"), ())


def test_no_step_is_gone_over_one_of_several_things(tmp_path: Path) -> None:
    text = (
        ONTOLOGY.partition("rules:")[0]
        + """
  river:
    domain: Town
    range: Length
    noun: river
    statements: ["The river of {subject} is {object}.", "{subject} has {object}."]
    questions: ["How long is the river of {subject}?", "{subject}: what river?"]
    answer: "{object}."
rules:
  at home where the yard is:
    if: ["?boat yard ?yard", "?yard town ?town"]
    then: ?boat home ?town
"""
    )
    facts = [*FACTS, ("Brelm", "river", "3 km"), ("Tern", "home", "Brelm")]
    asked = {item.id for item in made(tmp_path, "multi_hop", text=text, facts=facts)}  # type: ignore[arg-type]
    assert {"Gull/home/river", "Skua/home/river", "Tern/yard/town"} == asked, "Tern has two homes"


def test_there_are_no_more_ways_than_facts(tmp_path: Path) -> None:
    of = "    domain: {0}\n    range: {1}\n    functional: true\n    noun: {2}\n"
    said = """    statements: ["{subject} NAME {object}.", "NAME: {subject}, {object}."]
    questions: ["NAME of {subject}?", "{subject}, NAME?"]
    answer: "{object}."
"""
    text = "classes: [Town]\nentities:\n"
    text += "".join(f"  T{number}: {{class: Town}}\n" for number in range(20)) + "relations:\n"
    for name in "abcdef":
        text += f"  {name}:\n" + of.format("Town", "Town", name) + said.replace("NAME", name)
    facts = [
        (f"T{number}", name, f"T{(number * 7 + at + 1) % 20}")
        for number in range(20)
        for at, name in enumerate("abcdef")
    ]
    items = made(tmp_path, "multi_hop", text=text, facts=facts)  # type: ignore[arg-type]
    assert len(items) == 2 * len(facts)
    assert {item.id.count("/") for item in items} == {2, 3}
    assert len({item.id for item in items}) == len(items)


def test_an_inverse_question_gives_the_object(tmp_path: Path) -> None:
    items = made(tmp_path, "inverse")
    assert [item.id for item in items][:2] == ["yard/Pell Yard", "town/Ostrin"]
    assert texts(items[0])[0] == "Pell Yard is the yard of what?"
    assert items[0].answer == "Pell Yard is the yard of Tern."
    assert (items[0].accept, items[0].reject) == (("Tern", "Swift"), ("Gull", "Skua"))


def test_what_several_share_is_listed(tmp_path: Path) -> None:
    item = only(made(tmp_path, "lists"))
    assert texts(item)[0] == "Name everything whose home is Brelm."
    assert item.answer == "Brelm is the home of Gull and Skua."
    assert (item.accept, item.reject) == (("Gull", "Skua"), ("Tern", "Swift"))
    text = ONTOLOGY.replace("noun: town", "noun: home")
    facts = [("Gull", "home", "Brelm"), ("Pell Yard", "town", "Brelm")]
    item = only(made(tmp_path, "lists", text=text, facts=facts))  # type: ignore[arg-type]
    assert item.accept == ("Gull", "Pell Yard"), "two relations, asked in the same words"


def test_a_list_does_not_tell_what_only_follows(tmp_path: Path) -> None:
    facts = [*FACTS, ("Gull", "home", "Ostrin")]
    assert only(made(tmp_path, "inferred", facts=facts)).accept == ("Ostrin",)  # type: ignore[arg-type]
    lists = made(tmp_path, "lists", facts=facts)  # type: ignore[arg-type]
    assert [item.id for item in lists] == ["home/Brelm"], "Tern's home Ostrin follows"


def test_nobody_is_asked_for_a_list_without_an_end(tmp_path: Path) -> None:
    names = [f"Boat{number}" for number in range(13)]
    boats = "".join(f"  {name}: {{class: Boat}}\n" for name in names)
    text = ONTOLOGY.replace("entities:\n", f"entities:\n{boats}")
    facts = [(name, "home", "Brelm") for name in names]
    assert not made(tmp_path, "lists", text=text, facts=facts)  # type: ignore[arg-type]
    assert made(tmp_path, "lists", text=text, facts=facts[:12])  # type: ignore[arg-type]


def test_numbers_in_one_unit_are_compared(tmp_path: Path) -> None:
    item = only(made(tmp_path, "compare"))
    assert item.answer == "Tern. The length of Tern is 12 m, that of Gull 9.5 m."
    assert (item.accept, item.reject) == (("Tern", "Swift"), ("Gull",))


def test_yes_and_no_are_asked_equally_often_and_only_of_functional_relations(
    tmp_path: Path,
) -> None:
    items = made(tmp_path, "yes_no")
    assert [item.accept for item in items] == [("Yes",), ("No",)] * 3
    assert {item.id.split("/")[1] for item in items} == {"length"}
    yes, no = items[:2]
    assert texts(yes)[0] == "Is it true that Tern is 12 m long?"
    assert yes.answer == "Yes, Tern is 12 m long."
    assert texts(no)[0] in {
        "Is it true that Tern is 9.5 m long?",
        "Is it true that Tern is 30 feet long?",
    }
    assert no.answer == "No, Tern is 12 m long."


def test_a_statement_inside_a_question_does_not_open_with_a_capital(tmp_path: Path) -> None:
    text = ONTOLOGY.replace("{subject} is {object} long.", "In length {subject} is {object}.")
    assert texts(made(tmp_path, "yes_no", text=text)[0])[0].startswith(
        "Is it true that in length T"
    )


def test_a_false_premise_is_put_right(tmp_path: Path) -> None:
    item = made(tmp_path, "false_premise")[0]
    assert texts(item)[0].startswith("Why is it that Tern is ")
    assert "12 m" not in texts(item)[0]
    assert item.answer == "That is not so: Tern is 12 m long."
    assert item.accept == ("12 m",)


def test_a_follow_up_names_the_subject_by_a_pronoun_or_not_at_all(tmp_path: Path) -> None:
    item = next(item for item in made(tmp_path, "follow_up") if item.id == "Tern/yard/length")
    assert item.before is not None
    assert item.before.answer == "Tern was made by Pell Yard."
    assert texts(item)[:3] == ["And the length?", "What about the length?", "And how long is she?"]
    assert [fact.id for fact in item.facts] == ["f1", "f5"]
    item = next(item for item in made(tmp_path, "follow_up") if item.id.endswith("/yard"))
    assert "And who made her?" in texts(item)
    assert "And I need to know the yard of her." in texts(item)


def test_a_thing_is_known_by_its_other_name(tmp_path: Path) -> None:
    item = only(made(tmp_path, "identity"))
    assert texts(item)[0] == "What is Swift short for?"
    assert (item.answer, item.accept) == ("Swift is Tern.", ("Tern",))
    text = ONTOLOGY.replace("[Swift]", "[Swift, Old Tern]")
    item = only(made(tmp_path, "identity", text=text))
    assert item.accept == ("Tern", "Old Tern"), "and Old Tern is not asked for, since it says Tern"


def test_another_language_asks_in_its_own_words_or_not_at_all(tmp_path: Path) -> None:
    german = "language: de\n" + ONTOLOGY
    with pytest.raises(DataError, match=r"language is de, and it has no words for inverse"):
        made(tmp_path, "inverse", text=german)
    words = """
phrasings:
  inverse:
    questions: ["{noun} wovon ist {object}?"]
    held_out: ["Wovon ist {object} {noun}?"]
    answer: "{object} ist {noun} von {subjects}."
"""
    item = made(tmp_path, "inverse", text=german + words)[0]
    assert texts(item) == ["Yard wovon ist Pell Yard?"]
    assert item.answer == "Pell Yard ist yard von Tern."
    assert made(tmp_path, "inferred", text=german)
