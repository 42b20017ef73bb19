"""The ontology: what there is, what can be said of it, and in which words."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lorecraft.errors import DataError
from lorecraft.knowledge.facts import Fact
from lorecraft.recipe.source import Key, Source, read

SUBJECT, OBJECT = "{subject}", "{object}"
MISTAKES_SHOWN = 20
_RELATION_KEYS = (
    "domain",
    "range",
    "noun",
    "statements",
    "questions",
    "answer",
    "held_out",
    "functional",
    "column",
)


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

    def phrasing(self, pattern: str) -> str:
        """The name under which the ledger of phrasings knows one of the patterns."""
        return f"{self.name}/{pattern}"


@dataclass(frozen=True)
class Ontology:
    """Classes, entities by name, relations by name; ``language`` is a code such as ``en``;
    ``tables`` by class, for the classes that have one."""

    classes: tuple[str, ...]
    entities: dict[str, Entity]
    relations: dict[str, Relation]
    language: str = "en"
    tables: dict[str, Table] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """All names and aliases."""
        return tuple(
            name for entity in self.entities.values() for name in (entity.name, *entity.aliases)
        )


def render(pattern: str, subject: str, object_: str = "") -> str:
    """A pattern with its slots filled; an object that opens the sentence gets a capital."""
    if pattern.startswith(OBJECT):
        object_ = object_[:1].upper() + object_[1:]
    values = {SUBJECT: subject, OBJECT: object_}
    return re.sub(r"\{(?:subject|object)\}", lambda slot: values[slot[0]], pattern)


def normal(text: str) -> str:
    """Lower case, no punctuation, single spaces: what makes two phrasings the same."""
    return " ".join(re.sub(r"[^\w\s]", "", text.lower()).split())


def check(facts: Sequence[Fact], ontology: Ontology) -> None:
    """Every triple fits the ontology.

    Raises:
        DataError: all mismatches at once: an unknown relation, subject or object, a class outside
            domain or range, a second object of a functional relation.
    """
    mistakes: list[str] = []
    objects: dict[tuple[str, str], str] = {}
    for fact in facts:
        if fact.triple is None:
            continue
        mistakes += [f"{fact.place}: {mistake}" for mistake in _mismatches(fact.triple, ontology)]
        subject, name, object_ = fact.triple
        relation = ontology.relations.get(name)
        first = objects.setdefault((subject, name), object_)
        if relation and relation.functional and first != object_:
            mistakes.append(
                f"{fact.place}: {name} of {subject} is {object_} here and {first} before, "
                "but the relation is functional (one object a subject)"
            )
    _raise(mistakes, "triples whose relation, subject and object the ontology names")


def absent(facts: Sequence[Fact], ontology: Ontology) -> tuple[tuple[str, str], ...]:
    """``(subject, relation name)`` within a domain of which no fact tells: nobody can answer."""
    told = {fact.triple[:2] for fact in facts if fact.triple}
    return tuple(
        (entity.name, relation.name)
        for entity in ontology.entities.values()
        for relation in ontology.relations.values()
        if entity.kind == relation.domain and (entity.name, relation.name) not in told
    )


def load_ontology(path: Path) -> Ontology:
    """Reads ``ontology.yaml``.

    Phrasings that a relation does not hold out itself are: the last quarter (at least one) in the
    order of their SHA-256, taken off the trained ones; the first statement always stays trained.

    Raises:
        DataError: all mistakes at once, each with its line and key.
    """
    try:
        source = read(path.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start + 1})") from error
    reader = _Reader(source)
    ontology = reader.ontology()
    _raise(
        [f"{path} line {line}: {text}" for line, text in sorted(reader.mistakes)],
        "an ontology with classes, entities and relations",
    )
    return ontology


def _mismatches(triple: tuple[str, str, str], ontology: Ontology) -> Iterable[str]:
    subject, name, object_ = triple
    relation = ontology.relations.get(name)
    if relation is None:
        yield f"unknown relation '{name}'" + _nearest(name, ontology.relations)
    entity = ontology.entities.get(subject)
    if entity is None:
        yield f"unknown subject '{subject}'" + _nearest(subject, ontology.entities)
    elif relation and entity.kind != relation.domain:
        yield f"{subject} is a {entity.kind}, but {name} is said of a {relation.domain}"
    if relation and relation.range in ontology.classes:
        target = ontology.entities.get(object_)
        if target is None:
            yield f"unknown object '{object_}'" + _nearest(object_, ontology.entities)
        elif target.kind != relation.range:
            yield f"{object_} is a {target.kind}, but the object of {name} is a {relation.range}"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), 1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _raise(mistakes: Sequence[str], expected: str) -> None:
    if mistakes:
        hidden = len(mistakes) - MISTAKES_SHOWN
        more = [f"and {hidden} more"] if hidden > 0 else []
        raise DataError("\n".join([*mistakes[:MISTAKES_SHOWN], *more]), expected)


class _Reader:
    """Turns parsed YAML into an ontology and gathers what is wrong on the way."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.mistakes = [(mistake.line, mistake.text) for mistake in source.mistakes]

    def wrong(self, key: Key, what: str) -> None:
        where = ".".join(map(str, key)) or "the file"
        self.mistakes.append((self.source.line(key), f"{where}: {what}"))

    def ontology(self) -> Ontology:
        if self.mistakes:
            return Ontology((), {}, {})
        top = self.mapping(self.source.value, (), ("language", "classes", "entities", "relations"))
        listed = top.get("classes")
        classes = (
            self.texts(listed, ("classes",))
            if isinstance(listed, list)
            else tuple(map(str, self.mapping(listed, ("classes",))))
        )
        entities = [
            self.entity(name, value, classes)
            for name, value in self.mapping(top.get("entities", {}), ("entities",)).items()
        ]
        relations = [
            self.relation(name, value, classes)
            for name, value in self.mapping(top.get("relations"), ("relations",)).items()
        ]
        self.ambiguous(entities)
        return Ontology(
            classes=classes,
            entities={entity.name: entity for entity in entities},
            relations={relation.name: relation for relation in relations},
            language=self.text(top.get("language", "en"), ("language",)),
            tables={} if isinstance(listed, list) else self.tables(listed),
        )

    def tables(self, classes: Any) -> dict[str, Table]:
        found = {}
        for name, value in classes.items() if isinstance(classes, dict) else ():
            key = ("classes", name)
            if fields := self.mapping(value or {}, key, ("table", "key", "name")):
                found[str(name)] = Table(
                    name=self.text(fields.get("table"), (*key, "table")),
                    key=self.text(fields.get("key", "id"), (*key, "key")),
                    label=self.text(fields.get("name", "name"), (*key, "name")),
                )
        return found

    def entity(self, name: Any, value: Any, classes: Sequence[str]) -> Entity:
        key = ("entities", name)
        fields = self.mapping(value, key, ("class", "aliases"))
        return Entity(
            name=self.text(name, key),
            kind=self.class_name(fields.get("class"), (*key, "class"), classes),
            aliases=self.texts(fields.get("aliases", []), (*key, "aliases")),
        )

    def relation(self, name: Any, value: Any, classes: Sequence[str]) -> Relation:
        key = ("relations", name)
        fields = self.mapping(value, key, _RELATION_KEYS)
        held = self.mapping(
            fields.get("held_out", {}), (*key, "held_out"), ("statements", "questions")
        )
        functional = fields.get("functional", False)
        if not isinstance(functional, bool):
            self.wrong((*key, "functional"), f"expected true or false, saw {functional!r}")
        statements, held_statements = self.patterns(fields, held, "statements", key)
        questions, held_questions = self.patterns(fields, held, "questions", key)
        answer = self.text(fields.get("answer"), (*key, "answer"))
        self.slots(answer, (*key, "answer"), need={OBJECT}, may={SUBJECT})
        return Relation(
            name=self.text(name, key),
            domain=self.class_name(fields.get("domain"), (*key, "domain"), classes),
            range=self.text(fields.get("range"), (*key, "range")),
            noun=self.text(fields.get("noun"), (*key, "noun")),
            statements=statements,
            questions=questions,
            answer=answer,
            held_out_statements=held_statements,
            held_out_questions=held_questions,
            functional=bool(functional),
            column=self.text(fields["column"], (*key, "column")) if "column" in fields else "",
        )

    def patterns(
        self, fields: dict[str, Any], held: dict[str, Any], kind: str, key: Key
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """``(trained, held out)`` patterns of one kind."""
        here = (*key, kind)
        trained = self.texts(fields.get(kind), here)
        written = self.texts(held.get(kind, []), (*key, "held_out", kind))
        need = {SUBJECT, OBJECT} if kind == "statements" else {SUBJECT}
        for pattern in (*trained, *written):
            self.slots(pattern, here, need)
        for phrase, times in Counter(map(normal, (*trained, *written))).items():
            if times > 1:
                self.wrong(here, f"'{phrase}' stands {times} times, held-out ones included")
        least = 1 if written else 2
        if len(trained) < least:
            self.wrong(here, f"expected {least} or more, saw {len(trained)}")
            return trained, written
        return (trained, written) if written else _hold_out(trained, kind)

    def slots(self, pattern: str, key: Key, need: Set[str], may: Set[str] = frozenset()) -> None:
        seen = set(re.findall(r"\{[^{}]*\}", pattern))
        if pattern and not need <= seen <= need | may:
            slots = " and ".join(sorted(need, reverse=True))
            self.wrong(key, f"'{pattern}' should have {slots}, and no other slot")

    def class_name(self, value: Any, key: Key, classes: Sequence[str]) -> str:
        name = self.text(value, key)
        if name and name not in classes:
            self.wrong(key, f"no class '{name}'{_nearest(name, classes)}")
        return name

    def ambiguous(self, entities: Sequence[Entity]) -> None:
        owners: dict[str, str] = {}
        for entity in entities:
            for name in (entity.name, *entity.aliases):
                owner = owners.setdefault(normal(name), entity.name)
                if owner != entity.name:
                    self.wrong(("entities", entity.name), f"'{name}' also names {owner}")

    def mapping(self, value: Any, key: Key, known: Sequence[str] = ()) -> dict[Any, Any]:
        if not isinstance(value, dict):
            saw = "nothing" if value is None else type(value).__name__
            self.wrong(key, f"expected a mapping, saw {saw}")
            return {}
        for name in value:
            if known and name not in known:
                self.wrong((*key, name), f"unknown key{_nearest(str(name), known)}")
        return value

    def text(self, value: Any, key: Key) -> str:
        if isinstance(value, str) and value.strip():
            return value.strip()
        saw = "nothing" if value is None else f"{value!r} (put it in quotes)"
        self.wrong(key, f"expected a text, saw {saw}")
        return ""

    def texts(self, value: Any, key: Key) -> tuple[str, ...]:
        if not isinstance(value, list):
            self.wrong(key, f"expected a list of texts, saw {value!r}")
            return ()
        return tuple(self.text(item, (*key, index)) for index, item in enumerate(value))


def _hold_out(patterns: Sequence[str], kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    candidates = patterns[1:] if kind == "statements" else patterns
    ordered = sorted(candidates, key=lambda p: hashlib.sha256(p.encode()).digest())
    held = set(ordered[-max(1, len(patterns) // 4) :])
    return tuple(p for p in patterns if p not in held), tuple(p for p in patterns if p in held)
