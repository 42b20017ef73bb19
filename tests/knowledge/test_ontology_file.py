"""What relations say of themselves, rules and phrasings: read, or refused with line and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorecraft.errors import DataError
from lorecraft.knowledge.ontology import Ontology, Phrasing, Rule
from lorecraft.knowledge.ontology_file import load_ontology

WORDS = """
    noun: {0}
    statements: ["The {0} of {{subject}} is {{object}}.", "{{subject}} has the {0} {{object}}."]
    questions: ["What is the {0} of {{subject}}?", "{{subject}}: which {0}?"]
    answer: "{{object}}."
"""
TEXT = """
classes:
  Site: {pronoun: it}
  Yard: {subclass_of: Site}
  Town: {}
relations:
  within:
    domain: Town
    range: Town
    transitive: true
    inverse: holds
WITHIN
  holds:
    domain: Town
    range: Town
HOLDS
  stands in:
    domain: Site
    range: Town
STANDS
  colour:
    domain: Site
    range: Text
    values: [red, grey]
COLOUR
rules:
  reach:
    if:
      - ?site stands in ?town
      - ?town within ?land
    then: ?site stands in ?land
phrasings:
  yes_no:
    questions: ["Ist es wahr: {statement}?"]
    held_out: ["Stimmt es: {statement}?"]
    answer: "Ja, {statement}."
    denial: "Nein, {statement}."
"""
for _name in ("within", "holds", "stands", "colour"):
    TEXT = TEXT.replace(f"{_name.upper()}\n", WORDS.format(_name).removeprefix("\n"))


def loaded(folder: Path, text: str) -> Ontology:
    path = folder / "ontology.yaml"
    path.write_text(text, "utf-8")
    return load_ontology(path)


def test_what_relations_say_of_themselves_is_read(tmp_path: Path) -> None:
    ontology = loaded(tmp_path, TEXT)
    assert ontology.parents == {"Yard": "Site"}
    assert ontology.pronouns == {"Site": "it"}
    assert ontology.is_a("Yard", "Site")
    assert not ontology.is_a("Site", "Yard")
    within = ontology.relations["within"]
    assert (within.transitive, within.inverse, within.symmetric) == (True, "holds", False)
    assert ontology.relations["colour"].values == ("red", "grey")
    assert ontology.rules == (
        Rule(
            "reach",
            (("?site", "stands in", "?town"), ("?town", "within", "?land")),
            ("?site", "stands in", "?land"),
        ),
    )
    assert ontology.phrasings["yes_no"] == Phrasing(
        ("Ist es wahr: {statement}?",),
        ("Stimmt es: {statement}?",),
        "Ja, {statement}.",
        "Nein, {statement}.",
    )


@pytest.mark.parametrize(
    ("seen", "instead", "said"),
    [
        ("inverse: holds", "inverse: hold", "inverse: no relation 'hold'; did you mean 'holds'?"),
        ("inverse: holds", "inverse: colour", "colour leads from Site to Text, not from Town to T"),
        ("transitive: true", "transitive: often", "expected true or false, saw 'often'"),
        (
            "transitive: true",
            "transitive: true\n    functional: true",
            "within.transitive: functional, so that the second step would be a second object",
        ),
        (
            "values: [red, grey]",
            "transitive: true",
            "colour.transitive: leads from Site to Text; expected the same class at both ends",
        ),
        ("values: [red, grey]", "symmetric: true", "colour.symmetric: leads from Site to Text"),
        ("values: [red, grey]", "inverse: holds", "a Text is no class, so nothing can be said of"),
        ("values: [red, grey]", "values: [7]", "expected a text, saw 7 (put it in quotes)"),
        ("subclass_of: Site", "subclass_of: Sight", "no class 'Sight'; did you mean 'Site'?"),
        ("subclass_of: Site", "subclass_of: Yard", "Yard.subclass_of: a circle: Yard"),
        ("subclass_of: Site", "key: id", "classes.Yard.key: is said of a table, which is not giv"),
        ("?town within ?land", "?town witin ?land", "no relation 'witin'; did you mean 'within'?"),
        ("?town within ?land", "town within land", "'town within land' should be as '?x made_at ?"),
        (
            "then: ?site stands in ?land",
            "then: ?who stands in ?land",
            "?who stands in no condition",
        ),
        ("  yes_no:", "  yes_noo:", "phrasings.yes_noo: unknown key; did you mean 'yes_no'?"),
        (
            "?town within ?land",
            "?site colour ?land",
            "rules.reach: ?land is a thing here and a val",
        ),
        ("Nein, {statement}.", "Ja: {statement}!", "yes_no.denial: should say another word than"),
        ("Nein, {statement}.", "{statement}.", "yes_no.denial: should say another word than"),
        ("Ja, {statement}.", "Ja, {satz}.", "'Ja, {satz}.' should have"),
        ("Ist es wahr: {statement}?", "Ist es wahr?", "'Ist es wahr?' should have {statement}"),
        ("Ist es wahr: {statement}?", "Stimmt es, {statement}?", "is trained too"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, seen: str, instead: str, said: str) -> None:
    assert seen in TEXT
    with pytest.raises(DataError) as caught:
        loaded(tmp_path, TEXT.replace(seen, instead))
    assert said in str(caught.value)


FOLLOW_UP = """
  follow_up:
    questions: ["Und {noun}?", "Und {question}"]
    held_out: ["Und wie ist {noun}?"]
    answer: "{answer}"
"""


@pytest.mark.parametrize("seen", ["Und {noun}?", "Und wie ist {noun}?"])
def test_a_follow_up_says_what_it_asks(tmp_path: Path, seen: str) -> None:
    assert len(loaded(tmp_path, TEXT + FOLLOW_UP).phrasings["follow_up"].questions) == 2
    with pytest.raises(DataError, match=r"should have \{noun\}"):
        loaded(tmp_path, TEXT + FOLLOW_UP.replace(seen, "Und?"))
    with pytest.raises(DataError, match=r"'Und wie \{question\}' should have \{noun\}"):
        loaded(tmp_path, TEXT + FOLLOW_UP.replace("Und wie ist {noun}?", "Und wie {question}"))


def test_two_relations_do_not_have_one_inverse(tmp_path: Path) -> None:
    text = TEXT.replace("  holds:\n    domain", "  holds:\n    inverse: holds\n    domain")
    with pytest.raises(DataError, match=r"within\.inverse: holds has holds as its inverse"):
        loaded(tmp_path, text)
