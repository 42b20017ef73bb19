"""Facts that a language model finds in sentences, held to an ontology; a person accepts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorecraft.data.teller.cache import Reply
from lorecraft.data.teller.checks import Unusable, parse, says
from lorecraft.data.teller.passages import Passage
from lorecraft.data.teller.requests import Request, extract
from lorecraft.knowledge.ontology import Ontology, Relation, normal, render


@dataclass(frozen=True)
class Extracted:
    """What was found.

    Attributes:
        facts: the lines of a ``facts.jsonl``, each with its sentence as the source.
        unknown: names that the ontology does not have -> the class that they would be of.
        failed: how many statements were not used, by the reason.
        unasked: passages that no answer is known to, since the budget ended.
    """

    facts: list[dict[str, Any]]
    unknown: dict[str, str]
    failed: dict[str, int]
    unasked: int = 0


def extractions(passages: Sequence[Passage], ontology: Ontology) -> list[Request]:
    """A request for each passage, which names all relations; each once."""
    told = {name: _told(relation) for name, relation in ontology.relations.items()}
    requests = [extract(passage, told) for passage in passages]
    return list({request.key: request for request in requests}.values())


def _told(relation: Relation) -> str:
    example = render(relation.statements[0], "<subject>", "<object>")
    return f"the {relation.noun} of a {relation.domain} is a {relation.range}, as in: {example}"


def extracted(answered: Sequence[tuple[Request, Reply]], ontology: Ontology) -> Extracted:
    """The statements of some answers that their sentences say and that fit the ontology."""
    names = {
        normal(name): entity.name
        for entity in ontology.entities.values()
        for name in (entity.name, *entity.aliases)
    }
    failed: Counter[str] = Counter()
    unknown: dict[str, str] = {}
    facts: dict[tuple[str, ...], dict[str, Any]] = {}
    for request, reply in answered:
        (passage,) = request.sources
        try:
            found = parse(reply.text, request.schema)["triples"]
        except Unusable as error:
            failed[str(error)] += 1
            continue
        for one in found:
            try:
                triple, new = _checked(one, passage, ontology, names)
            except Unusable as error:
                failed[str(error)] += 1
                continue
            unknown |= new
            pattern = ontology.relations[triple[1]].statements[0]
            sentence = " ".join(one["sentence"].split())
            fact = {
                "text": render(pattern, triple[0], triple[2]),
                "source": f"{passage.place}: {sentence}",
                "triple": list(triple),
            }
            if facts.setdefault(triple, fact) is not fact:
                failed["found before"] += 1
    return Extracted(list(facts.values()), unknown, dict(failed.most_common()))


def _checked(
    one: Mapping[str, str], passage: Passage, ontology: Ontology, names: Mapping[str, str]
) -> tuple[tuple[str, str, str], dict[str, str]]:
    """The triple under the names of the ontology, and those of them that it does not have."""
    sentence, relation = one["sentence"], ontology.relations[one["relation"]]
    if not says(passage.text, sentence):
        raise Unusable("a sentence that is not in its source")
    ends = []
    new: dict[str, str] = {}
    for said, kind in ((one["subject"], relation.domain), (one["object"], relation.range)):
        if not says(sentence, said):
            raise Unusable("a name that is not in its sentence")
        name = " ".join(said.split())
        if kind in ontology.classes:
            name = names.get(normal(name), name)
            known = ontology.entities.get(name)
            if known is None:
                new[name] = kind
            elif not ontology.is_a(known.kind, kind):
                raise Unusable("a thing of another class")
        ends.append(name)
    return (ends[0], relation.name, ends[1]), new
