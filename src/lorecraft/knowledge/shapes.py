"""Facts held against the ontology: what breaks it, and what nobody told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lorecraft.errors import DataError
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.mistakes import nearest, refuse
from lorecraft.knowledge.ontology import Ontology, Relation
from lorecraft.knowledge.reasoning import Inference, infer
from lorecraft.knowledge.strictness import Bad, strict


def check(facts: Sequence[Fact], ontology: Ontology, bad: Bad = strict) -> tuple[Fact, ...]:
    """The facts whose triples fit the ontology, as does all that follows from them.

    Raises:
        DataError: what follows does not fit, with the facts that it follows from. What ``bad``
            raises, which is told of all other mismatches at once: an unknown relation, subject or
            object, a class outside domain or range, a thing where a number or text belongs, a value
            that is not allowed, a second object of a functional relation.
    """
    broken = list(_broken(facts, ontology))
    try:
        refuse([mistake for _, mistake in broken], "triples that fit the ontology")
    except DataError as error:
        wrong = {fact.id for fact, _ in broken if isinstance(fact, Fact)}
        bad(error, "fact", len(wrong))
        facts = [fact for fact in facts if fact.id not in wrong]
    inferred = infer(facts, ontology)
    follows = _broken([*facts, *inferred], ontology) if inferred else ()
    refuse(
        [mistake for _, mistake in follows],
        "triples from which nothing follows that breaks the ontology",
    )
    return tuple(facts)


def absent(facts: Sequence[Fact], ontology: Ontology) -> tuple[tuple[str, str], ...]:
    """``(subject, relation name)`` within a domain of which no fact tells and nothing follows:
    nobody can answer."""
    told = {fact.triple[:2] for fact in facts if fact.triple}
    told |= {inference.triple[:2] for inference in infer(facts, ontology)}
    return tuple(
        (entity.name, relation.name)
        for entity in ontology.entities.values()
        for relation in ontology.relations.values()
        if ontology.is_a(entity.kind, relation.domain) and (entity.name, relation.name) not in told
    )


def _broken(
    facts: Iterable[Fact | Inference], ontology: Ontology
) -> Iterator[tuple[Fact | Inference, str]]:
    def place(fact: Fact | Inference) -> str:
        return (fact if isinstance(fact, Fact) else fact.fact(ontology)).place

    objects: dict[tuple[str, str], tuple[str, Fact | Inference]] = {}
    for fact in facts:
        if fact.triple is None:
            continue
        subject, name, object_ = fact.triple
        relation = ontology.relations.get(name)
        for mistake in _mismatches(fact.triple, relation, ontology):
            yield fact, f"{place(fact)}: {mistake}"
        first, before = objects.setdefault((subject, name), (object_, fact))
        if relation and relation.functional and first != object_:
            yield (
                fact,
                f"{place(fact)}: {name} of {subject} is {object_} here and {first} before "
                f"({place(before)}), but the relation is functional (one object a subject)",
            )


def _mismatches(
    triple: tuple[str, str, str], relation: Relation | None, ontology: Ontology
) -> Iterator[str]:
    subject, name, object_ = triple
    if relation is None:
        yield f"unknown relation '{name}'" + nearest(name, ontology.relations)
    entity = ontology.entities.get(subject)
    if entity is None:
        yield f"unknown subject '{subject}'" + nearest(subject, ontology.entities)
    elif relation and not ontology.is_a(entity.kind, relation.domain):
        yield f"{subject} is a {entity.kind}, but {name} is said of a {relation.domain}"
    if relation is None:
        return
    target = ontology.entities.get(object_)
    if relation.range in ontology.classes:
        if target is None:
            yield f"unknown object '{object_}'" + nearest(object_, ontology.entities)
        elif not ontology.is_a(target.kind, relation.range):
            yield f"{object_} is a {target.kind}, but the object of {name} is a {relation.range}"
    elif target is not None and relation.range != "Text":
        yield f"{object_} is a {target.kind}, but the object of {name} is a {relation.range}"
    if relation.values and object_ not in relation.values:
        allowed = nearest(object_, relation.values) or f"; allowed: {', '.join(relation.values)}"
        yield f"{name} is never '{object_}'{allowed}"
