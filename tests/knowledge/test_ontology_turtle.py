"""An ontology in Turtle says the same as one in YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorecraft.errors import DataError
from lorecraft.knowledge.ontology_file import load_ontology

TURTLE = """
@prefix : <http://example.org/harbour#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix lore: <urn:lorecraft:> .

<> a owl:Ontology ; lore:language "en" .
:Site a owl:Class ; lore:pronoun "it" .
:DryYard a owl:Class ; rdfs:label "Dry Yard" ; rdfs:subClassOf :Site, [ a owl:Restriction ] .
:Town a rdfs:Class .
:pell a owl:NamedIndividual, :Site, :DryYard ; rdfs:label "Pell Yard" ; skos:altLabel "Pell" .
:Ostrin a :Town .

:stands_in a owl:ObjectProperty, owl:FunctionalProperty ;
    rdfs:domain :Site ; rdfs:range :Town ; owl:inverseOf :has_site ;
    lore:noun "location" ; lore:answer "{subject} is in {object}." ;
    lore:statements ( "{subject} is in {object}." "{object} is home to {subject}." ) ;
    lore:heldOutStatements ( "In {object} there is {subject}." ) ;
    lore:questions ( "Where is {subject}?" ) ;
    lore:heldOutQuestions ( "In which town is {subject}?" ) .
:has_site a owl:ObjectProperty ;
    rdfs:domain :Town ; rdfs:range :Site ;
    lore:noun "site" ; lore:answer "{object}." ;
    lore:statements ( "{subject} has {object}." "{object} is a site of {subject}." ) ;
    lore:questions ( "What has {subject}?" "Which site has {subject}?" ) .
:floors a owl:DatatypeProperty ; rdfs:domain :Site ; rdfs:range xsd:integer ;
    lore:noun "number of floors" ; lore:answer "{object}." ; lore:values ( "1" "2" ) ;
    lore:statements ( "{subject} has {object} floors." "{object} floors has {subject}." ) ;
    lore:questions ( "How many floors has {subject}?" "{subject}: how many floors?" ) .
[] a lore:Rule ; rdfs:label "back and forth" ;
    lore:if ( "?x stands_in ?y" "?y has_site ?z" ) ; lore:then "?z stands_in ?y" .
"""
YAML = """
language: en
classes:
  Site: {pronoun: it}
  Dry Yard: {subclass_of: Site}
  Town: {}
entities:
  Pell Yard: {class: Dry Yard, aliases: [Pell]}
  Ostrin: {class: Town}
relations:
  stands_in:
    domain: Site
    range: Town
    functional: true
    inverse: has_site
    noun: location
    answer: "{subject} is in {object}."
    statements: ["{subject} is in {object}.", "{object} is home to {subject}."]
    questions: ["Where is {subject}?"]
    held_out:
      statements: ["In {object} there is {subject}."]
      questions: ["In which town is {subject}?"]
  has_site:
    domain: Town
    range: Site
    noun: site
    answer: "{object}."
    statements: ["{subject} has {object}.", "{object} is a site of {subject}."]
    questions: ["What has {subject}?", "Which site has {subject}?"]
  floors:
    domain: Site
    range: integer
    noun: number of floors
    answer: "{object}."
    values: ["1", "2"]
    statements: ["{subject} has {object} floors.", "{object} floors has {subject}."]
    questions: ["How many floors has {subject}?", "{subject}: how many floors?"]
rules:
  back and forth:
    if:
      - ?x stands_in ?y
      - ?y has_site ?z
    then: ?z stands_in ?y
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_turtle_and_yaml_say_the_same(tmp_path: Path) -> None:
    turtle = load_ontology(written(tmp_path, "ontology.ttl", TURTLE))
    assert turtle == load_ontology(written(tmp_path, "ontology.yaml", YAML))


@pytest.mark.parametrize(
    ("seen", "instead", "said"),
    [
        ('lore:noun "site" ;', "", r"ontology.ttl: relations.has_site.noun: expected a text, saw"),
        ("rdfs:domain :Town", "rdfs:domain :Twon", "domain: no class 'Twon'; did you mean 'Town'?"),
        ("owl:inverseOf :has_site", "owl:inverseOf :floors", "floors leads from Site to integer"),
        ("{subject} has {object}.", "It has {object}.", "should have {subject} and {object}"),
        (":Ostrin a :Town .", ":Ostrin a :Town ; .. ", "ontology.ttl line 14, column "),
        (
            ":Ostrin a :Town .",
            ':Ostrin a :Town . :O a :Town ; rdfs:label "Ostrin" .',
            "entities.Ostrin: <",
        ),
        ("@prefix lore:", "@prefix lorre:", "lore: has not been declared"),
    ],
)
def test_what_is_wrong_in_turtle_is_named(
    tmp_path: Path, seen: str, instead: str, said: str
) -> None:
    assert seen in TURTLE
    with pytest.raises(DataError) as caught:
        load_ontology(written(tmp_path, "ontology.ttl", TURTLE.replace(seen, instead)))
    assert said in str(caught.value)
