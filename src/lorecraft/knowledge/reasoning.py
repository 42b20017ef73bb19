"""What follows from the facts, each with the facts and rules that it follows from.

The part of OWL 2 RL (https://www.w3.org/TR/owl2-profiles/) that gives relations between named
things: inverse, symmetric and transitive properties, and the user's own rules. It is computed
forwards until nothing new comes (semi-naive: each round joins what the last one brought with all
that is known).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lorecraft.errors import DataError
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import Atom, Ontology, Rule, render

Triple = tuple[str, str, str]

MOST = 2_000_000
"""Of more that follows, something is transitive or joined that was not meant to be."""


@dataclass(frozen=True, eq=False)
class Inference:
    """A triple that nobody told.

    Attributes:
        triple: subject, relation, object.
        rule: the name of the rule by which it follows.
        premises: what it follows from in one step.
    """

    triple: Triple
    rule: str
    premises: tuple[Fact | Inference, ...]

    @property
    def chain(self) -> tuple[Fact, ...]:
        """The facts that it follows from in the end, in the order in which they lead there."""
        waiting: list[Fact | Inference] = [self]
        facts: dict[Fact, None] = {}
        while waiting:
            match waiting.pop():
                case Inference(premises=premises):
                    waiting += reversed(premises)
                case Fact() as fact:
                    facts[fact] = None
        return tuple(facts)

    @property
    def why(self) -> str:
        """In words: ``follows from f013 and f031 by made_in``."""
        ids = [fact.id for fact in self.chain]
        listed = " and ".join(filter(None, [", ".join(ids[:-1]), ids[-1]]))
        return f"follows from {listed} by {self.rule}"

    def fact(self, ontology: Ontology) -> Fact:
        """As a fact, told in its relation's first statement; its id is made of the chain's."""
        subject, name, object_ = self.triple
        relation = ontology.relations[name]
        text = render(relation.statements[0], subject, object_)
        id_ = "+".join(fact.id for fact in self.chain) + f":{name}"
        return Fact(id_, text, "", self.triple, f"{text} ({self.why})")


def infer(facts: Sequence[Fact], ontology: Ontology) -> list[Inference]:
    """All that follows and is not told, in a fixed order: what takes fewer steps comes first.

    Triples whose relation the ontology does not name take no part. Where a triple follows in
    several ways, the first found is kept. That a thing is related to itself (its own sibling, by a
    rule for siblings) may be a step, and is no result.

    Raises DataError where more than ``MOST`` follows.
    """
    rules = rules_of(ontology)
    if not rules:
        return []
    told: dict[Triple, Fact] = {}
    for fact in facts:
        if fact.triple and fact.triple[1] in ontology.relations:
            told.setdefault(fact.triple, fact)
    found = _closure(list(told), rules)
    known: dict[Triple, Fact | Inference] = dict(told)
    for triple, (rule, premises) in found.items():
        known[triple] = Inference(triple, rule, tuple(known[premise] for premise in premises))
    inferred = (step for step in known.values() if isinstance(step, Inference))
    return [step for step in inferred if step.triple[0] != step.triple[2]]


def rules_of(ontology: Ontology) -> tuple[Rule, ...]:
    """What the relations say of themselves, as rules, and the user's own."""
    rules = []
    for relation in ontology.relations.values():
        name = relation.name
        if relation.inverse:
            here, there = ("?x", name, "?y"), ("?y", relation.inverse, "?x")
            rules.append(Rule(f"inverse of {name}", (here,), there))
            rules.append(Rule(f"inverse of {relation.inverse}", (there,), here))
        if relation.symmetric:
            rules.append(Rule(f"{name} is symmetric", (("?x", name, "?y"),), ("?y", name, "?x")))
        if relation.transitive:
            steps = ("?x", name, "?y"), ("?y", name, "?z")
            rules.append(Rule(f"{name} is transitive", steps, ("?x", name, "?z")))
    unique = {(rule.conditions, rule.conclusion): rule for rule in reversed(rules)}
    return (*reversed(unique.values()), *ontology.rules)


def _closure(
    told: list[Triple], rules: Sequence[Rule]
) -> dict[Triple, tuple[str, tuple[Triple, ...]]]:
    """Each new triple with the rule and the premises that gave it, premises before conclusions."""
    known = _Known()
    for triple in told:
        known.add(triple)
    by_relation: dict[str, list[tuple[Rule, int]]] = defaultdict(list)
    for rule in rules:
        for place, (_, name, _) in enumerate(rule.conditions):
            by_relation[name].append((rule, place))
    found: dict[Triple, tuple[str, tuple[Triple, ...]]] = {}
    new = told
    while new:
        round_: dict[Triple, tuple[str, tuple[Triple, ...]]] = {}
        for triple in new:
            for rule, place in by_relation[triple[1]]:
                for conclusion, premises in _apply(rule, place, triple, known):
                    if conclusion not in known.triples and conclusion not in round_:
                        round_[conclusion] = rule.name, premises
        for triple in round_:
            known.add(triple)
        found |= round_
        if len(found) > MOST:
            often = Counter(rule for rule, _ in found.values()).most_common(1)[0][0]
            raise DataError(
                f"from {len(told):,} facts more than {MOST:,} others follow, most by {often}",
                "an ontology from which less follows",
                "leave out what makes so many, such as transitive of what is symmetric",
            )
        new = list(round_)
    return found


class _Known:
    """Triples that can be found by their relation and either end."""

    def __init__(self) -> None:
        self.triples: set[Triple] = set()
        self._by_subject: dict[tuple[str, str], list[Triple]] = defaultdict(list)
        self._by_object: dict[tuple[str, str], list[Triple]] = defaultdict(list)
        self._by_relation: dict[str, list[Triple]] = defaultdict(list)

    def add(self, triple: Triple) -> None:
        subject, name, object_ = triple
        self.triples.add(triple)
        self._by_subject[name, subject].append(triple)
        self._by_object[name, object_].append(triple)
        self._by_relation[name].append(triple)

    def matching(self, subject: str | None, name: str, object_: str | None) -> Sequence[Triple]:
        """Those with the given ends; an end of None may be anything."""
        if subject is not None and object_ is not None:
            triple = subject, name, object_
            return [triple] if triple in self.triples else []
        if subject is not None:
            return self._by_subject.get((name, subject), ())
        if object_ is not None:
            return self._by_object.get((name, object_), ())
        return self._by_relation.get(name, ())


def _apply(
    rule: Rule, place: int, triple: Triple, known: _Known
) -> Iterator[tuple[Triple, tuple[Triple, ...]]]:
    """What a rule gives when ``triple`` is its condition at ``place``; with all its premises."""
    bound = _bind(rule.conditions[place], triple, {})
    if bound is None:
        return
    start: list[Triple | None] = [None] * len(rule.conditions)
    start[place] = triple
    waiting = [(bound, start)]
    while waiting:
        values, premises = waiting.pop()
        open_ = [index for index, premise in enumerate(premises) if premise is None]
        if not open_:
            first, name, last = rule.conclusion
            yield (values[first], name, values[last]), tuple(p for p in premises if p)
            continue
        # A condition with an end that is bound is a look-up, one without is a scan.
        index = min(open_, key=lambda i: sum(end not in values for end in rule.conditions[i][::2]))
        first, name, last = rule.conditions[index]
        for other in reversed(known.matching(values.get(first), name, values.get(last))):
            more = _bind(rule.conditions[index], other, values)
            if more is not None:
                waiting.append((more, [*premises[:index], other, *premises[index + 1 :]]))


def _bind(atom: Atom, triple: Triple, values: dict[str, str]) -> dict[str, str] | None:
    """``values`` and those that ``triple`` gives to the atom's variables; None if they differ."""
    first, _, last = atom
    if values.get(first, triple[0]) != triple[0]:
        return None
    values = {**values, first: triple[0]}
    if values.get(last, triple[2]) != triple[2]:
        return None
    return {**values, last: triple[2]}
