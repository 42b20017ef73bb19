"""The ontology: what there is, what can be said of it, and in which words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

SUBJECT, OBJECT = "{subject}", "{object}"


@dataclass(frozen=True)
class Entity:
    """A named thing; ``kind`` is its class."""

    name: str
    kind: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Where the entities of a class stand: a table, the column with its key, that with the name."""

    name: str
    key: str
    label: str


@dataclass(frozen=True)
class Relation:
    """What can be said of the entities of one class.

    Attributes:
        name: as it stands in triples.
        domain: the class of its subjects.
        range: the class of its objects, or the name of a literal type (``Year``, ``Money``, ...).
        noun: fits "the <noun> of <subject>".
        statements: trained sentence patterns with ``{subject}`` and ``{object}``.
        questions: trained question patterns with ``{subject}``.
        answer: the pattern of a full answer.
        held_out_statements, held_out_questions: examined only, never trained.
        functional: a subject has at most one object.
        column: where its objects stand in the table of its domain; ``""`` for its name.
        inverse: the relation that says the same from the object's side; ``""``: none.
        transitive: what holds of A and B, and of B and C, holds of A and C.
        symmetric: what holds of A and B holds of B and A.
        values: the only objects that there are; none given means any.
    """

    name: str
    domain: str
    range: str
    noun: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    answer: str
    held_out_statements: tuple[str, ...]
    held_out_questions: tuple[str, ...]
    functional: bool = False
    column: str = ""
    inverse: str = ""
    transitive: bool = False
    symmetric: bool = False
    values: tuple[str, ...] = ()

    def phrasing(self, pattern: str) -> str:
        """The name under which the ledger of phrasings knows one of the patterns."""
        return f"{self.name}/{pattern}"


Atom = tuple[str, str, str]
"""``(variable, relation name, variable)``, the variables with their question marks."""


@dataclass(frozen=True)
class Rule:
    """What holds when all of ``conditions`` hold; ``conclusion`` has no other variables."""

    name: str
    conditions: tuple[Atom, ...]
    conclusion: Atom


@dataclass(frozen=True)
class Phrasing:
    """The words for one kind of questions that are made from several facts or the other way round.

    Attributes:
        questions: trained patterns.
        held_out: patterns that are examined only.
        answer: the pattern of the answer.
        denial: that of the answer to what is false, where the kind asks such a thing.
    """

    questions: tuple[str, ...]
    held_out: tuple[str, ...]
    answer: str
    denial: str = ""


@dataclass(frozen=True)
class Ontology:
    """Classes, entities by name, relations by name.

    Attributes:
        language: a code such as ``en``.
        tables: by class, for the classes that have one.
        parents: class -> the class that it is a part of, for the classes that have one.
        pronouns: class -> how its things are called the second time (``it``).
        rules: what follows from what, beside what the relations say of themselves.
        phrasings: by kind, those that the user wrote in the place of the English ones.
    """

    classes: tuple[str, ...]
    entities: dict[str, Entity]
    relations: dict[str, Relation]
    language: str = "en"
    tables: dict[str, Table] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    pronouns: dict[str, str] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    phrasings: dict[str, Phrasing] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """All names and aliases."""
        return tuple(
            name for entity in self.entities.values() for name in (entity.name, *entity.aliases)
        )

    def classes_of(self, kind: str) -> Iterator[str]:
        """``kind`` and the classes above it, the nearest first."""
        while kind:
            yield kind
            kind = self.parents.get(kind, "")

    def of_class(self, kind: str) -> list[Entity]:
        """The things of a class and of those below it."""
        return [entity for entity in self.entities.values() if self.is_a(entity.kind, kind)]

    def is_a(self, kind: str, other: str) -> bool:
        """Whether the things of class ``kind`` are things of class ``other``."""
        return other in self.classes_of(kind)


def render(pattern: str, subject: str, object_: str = "") -> str:
    """A pattern with its slots filled; an object that opens the sentence gets a capital."""
    if pattern.startswith(OBJECT):
        object_ = object_[:1].upper() + object_[1:]
    values = {SUBJECT: subject, OBJECT: object_}
    return re.sub(r"\{(?:subject|object)\}", lambda slot: values[slot[0]], pattern)


def normal(text: str) -> str:
    """Lower case, no punctuation, single spaces: what makes two phrasings the same."""
    return " ".join(re.sub(r"[^\w\s]", "", text.lower()).split())
