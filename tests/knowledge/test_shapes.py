"""Facts that break the schema are named, also those that only follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorecraft.errors import DataError
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import Ontology
from lorecraft.knowledge.ontology_file import load_ontology
from lorecraft.knowledge.shapes import absent, check

WORDS = """
    noun: {0}
    statements: ["The {0} of {{subject}} is {{object}}.", "{{subject}} has the {0} {{object}}."]
    questions: ["What is the {0} of {{subject}}?", "{{subject}}: which {0}?"]
    answer: "{{object}}."
"""
HARBOUR = """
classes:
  Site: {}
  Yard: {subclass_of: Site}
  Dry Yard: {subclass_of: Yard}
  Town:
entities:
  Gull Yard: {class: Dry Yard}
  Head Office: {class: Site}
  Ostrin: {class: Town}
  Brelm: {class: Town}
relations:
""" + "".join(
    f"  {name}:\n    domain: {domain}\n    range: {range_}\n    {more}{WORDS.format(name)}"
    for name, domain, range_, more in [
        ("town", "Site", "Town", "functional: true"),
        ("home", "Yard", "Town", "functional: true"),
        ("floors", "Site", "Number", "functional: true"),
        ("colour", "Site", "Text", "values: [red, grey]"),
    ]
)
RULES = """
rules:
  a yard is at home where it stands:
    if:
      - ?yard town ?town
    then: ?yard home ?town
"""


def harbour(folder: Path, text: str = HARBOUR) -> Ontology:
    path = folder / "ontology.yaml"
    path.write_text(text, "utf-8")
    return load_ontology(path)


def fact(subject: str, relation: str, object_: str, id_: str = "f1") -> Fact:
    return Fact(id_, "A sentence.", "", (subject, relation, object_), f"line {id_}")


def test_a_subclass_is_what_its_class_is(tmp_path: Path) -> None:
    ontology = harbour(tmp_path)
    check([fact("Gull Yard", "town", "Ostrin"), fact("Gull Yard", "home", "Brelm")], ontology)
    assert ("Gull Yard", "floors") in absent([], ontology)
    assert ("Head Office", "home") not in absent([], ontology)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            fact("Head Office", "home", "Ostrin"),
            "Head Office is a Site, but home is said of a Yard",
        ),
        (fact("Gull Yard", "floors", "Ostrin"), "Ostrin is a Town, but the object of floors is a"),
        (fact("Gull Yard", "town", "17"), "unknown object '17'"),
        (fact("Gull Yard", "colour", "gray"), "colour is never 'gray'; did you mean 'grey'?"),
        (fact("Gull Yard", "colour", "mint"), "colour is never 'mint'; allowed: red, grey"),
    ],
)
def test_what_breaks_the_schema_is_named(tmp_path: Path, told: Fact, said: str) -> None:
    with pytest.raises(DataError) as caught:
        check([told], harbour(tmp_path))
    assert f"line f1: {said}" in str(caught.value)


def test_a_second_headquarters_is_named_with_the_first(tmp_path: Path) -> None:
    facts = [fact("Gull Yard", "town", "Ostrin", "f1"), fact("Gull Yard", "town", "Brelm", "f2")]
    with pytest.raises(DataError) as caught:
        check(facts, harbour(tmp_path))
    assert (
        "line f2: town of Gull Yard is Brelm here and Ostrin before (line f1), but the relation is "
        "functional" in str(caught.value)
    )


def test_what_follows_and_breaks_the_schema_is_named_with_its_chain(tmp_path: Path) -> None:
    ontology = harbour(tmp_path, HARBOUR + RULES)
    facts = [fact("Gull Yard", "town", "Ostrin", "f1"), fact("Gull Yard", "home", "Brelm", "f2")]
    with pytest.raises(DataError) as caught:
        check(facts, ontology)
    assert (
        "The home of Gull Yard is Ostrin. (follows from f1 by a yard is at home where it stands): "
        "home of Gull Yard is Ostrin here and Brelm before (line f2)" in str(caught.value)
    )
    with pytest.raises(DataError, match="Head Office is a Site, but home is said of a Yard"):
        check([fact("Head Office", "town", "Ostrin")], ontology)
