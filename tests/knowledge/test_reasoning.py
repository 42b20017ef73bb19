"""What follows from the facts, by which rule and from which facts; as OWL RL has it."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from lorecraft.errors import DataError
from lorecraft.knowledge import reasoning
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import Entity, Ontology, Relation, Rule
from lorecraft.knowledge.reasoning import infer

PATTERNS = ("{subject} is by {object}.", "{object} is by {subject}.")


def relation(name: str, domain: str = "Place", range_: str = "Place", **more: object) -> Relation:
    asked = (f"What is the {name} of {{subject}}?",)
    plain = Relation(name, domain, range_, name, PATTERNS, asked, "{object}.", (), ())
    return replace(plain, **more)  # type: ignore[arg-type]


def ontology(*relations: Relation, rules: tuple[Rule, ...] = ()) -> Ontology:
    entities = {name: Entity(name, "Place") for name in "ABCDEFGH"}
    named = {relation.name: relation for relation in relations}
    return Ontology(("Place", "Thing"), entities, named, rules=rules)


def told(*triples: str) -> list[Fact]:
    """Facts from words: ``"A within B"``."""
    return [
        Fact(f"f{number}", triple, "", tuple(triple.split()), f"line {number}")  # type: ignore[arg-type]
        for number, triple in enumerate(triples, 1)
    ]


def follows(facts: list[Fact], about: Ontology) -> dict[str, str]:
    return {" ".join(found.triple): found.why for found in infer(facts, about)}


def test_an_inverse_follows_in_both_directions() -> None:
    about = ontology(relation("holds", inverse="within"), relation("within"))
    assert follows(told("A holds B", "C within D"), about) == {
        "B within A": "follows from f1 by inverse of holds",
        "D holds C": "follows from f2 by inverse of within",
    }


def test_a_symmetric_relation_holds_the_other_way_round() -> None:
    about = ontology(relation("beside", symmetric=True))
    assert follows(told("A beside B"), about) == {
        "B beside A": "follows from f1 by beside is symmetric"
    }


def test_a_transitive_relation_reaches_over_all_steps_with_its_whole_chain() -> None:
    about = ontology(relation("within", transitive=True))
    found = follows(told("C within D", "A within B", "B within C"), about)
    assert set(found) == {"A within C", "B within D", "A within D"}
    assert found["A within D"] == "follows from f2, f3 and f1 by within is transitive"


def test_a_rule_joins_its_conditions() -> None:
    rule = Rule("r", (("?x", "made_at", "?y"), ("?y", "within", "?z")), ("?x", "made_in", "?z"))
    about = ontology(
        relation("made_at"), relation("within", transitive=True), relation("made_in"), rules=(rule,)
    )
    found = follows(told("A made_at B", "B within C", "C within D", "E made_at F"), about)
    assert found == {
        "B within D": "follows from f2 and f3 by within is transitive",
        "A made_in C": "follows from f1 and f2 by r",
        "A made_in D": "follows from f1, f2 and f3 by r",
    }


def test_a_variable_that_stands_twice_is_one_thing() -> None:
    rule = Rule("own", (("?x", "likes", "?x"), ("?x", "within", "?y")), ("?x", "proud_of", "?y"))
    about = ontology(relation("likes"), relation("within"), relation("proud_of"), rules=(rule,))
    facts = told("A likes A", "A within C", "B likes A", "B within D")
    assert set(follows(facts, about)) == {"A proud_of C"}


def test_nobody_is_its_own_sibling() -> None:
    rule = Rule("same", (("?x", "within", "?z"), ("?y", "within", "?z")), ("?x", "sibling", "?y"))
    about = ontology(relation("within"), relation("sibling"), rules=(rule,))
    found = follows(told("A within C", "B within C"), about)
    assert set(found) == {"A sibling B", "B sibling A"}


def test_what_is_told_does_not_follow_and_a_circle_ends() -> None:
    about = ontology(relation("within", transitive=True))
    found = follows(told("A within B", "B within A", "A within A"), about)
    assert not found, "B within B, which says nothing"


def test_a_long_chain_is_gone_through() -> None:
    names = [f"T{number}" for number in range(60)]
    facts = told(*(f"{a} within {b}" for a, b in pairwise(names)))
    found = infer(facts, ontology(relation("within", transitive=True)))
    assert len(facts) + len(found) == 60 * 59 // 2
    longest = next(f for f in found if f.triple == ("T0", "within", "T59"))
    assert [fact.id for fact in longest.chain] == [fact.id for fact in facts]


def test_what_grows_without_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasoning, "MOST", 20)
    about = ontology(relation("near", symmetric=True, transitive=True))
    star = told(*(f"A near {name}" for name in "BCDEFGH"))
    with pytest.raises(DataError, match="from 7 facts more than 20 others follow, most by near is"):
        infer(star, about)
    assert infer(star[:2], about)


def test_relations_that_the_ontology_does_not_name_take_no_part() -> None:
    assert infer(told("A elsewhere B"), ontology(relation("within", transitive=True))) == []


@pytest.mark.parametrize("seed", range(5))
def test_what_follows_is_what_owl_rl_says(seed: int) -> None:
    owlrl = pytest.importorskip("owlrl")
    from rdflib import OWL, RDF, Graph, URIRef

    about = ontology(
        relation("within", transitive=True, inverse="holds"),
        relation("holds"),
        relation("beside", symmetric=True),
        relation("near", symmetric=True, transitive=True),
    )
    drawn = random.Random(seed)
    facts = told(
        *dict.fromkeys(
            " ".join(map(drawn.choice, ("ABCDEFGH", [*about.relations], "ABCDEFGH")))
            for _ in range(14)
        )
    )
    ours = {found.triple for found in infer(facts, about)} | {f.triple for f in facts}

    graph = Graph()
    name = "urn:x:"
    for each in about.relations.values():
        here = URIRef(name + each.name)
        if each.transitive:
            graph.add((here, RDF.type, OWL.TransitiveProperty))
        if each.symmetric:
            graph.add((here, RDF.type, OWL.SymmetricProperty))
        if each.inverse:
            graph.add((here, OWL.inverseOf, URIRef(name + each.inverse)))
    for fact in facts:
        assert fact.triple
        graph.add(tuple(URIRef(name + part) for part in fact.triple))  # type: ignore[arg-type]
    owlrl.DeductiveClosure(owlrl.OWLRL_Semantics).expand(graph)
    theirs = {
        (s.removeprefix(name), p.removeprefix(name), o.removeprefix(name))
        for s, p, o in graph
        if p.removeprefix(name) in about.relations
    }
    itself = {triple for triple in theirs if triple[0] == triple[2]}
    theirs -= itself - {fact.triple for fact in facts}
    assert ours == theirs
