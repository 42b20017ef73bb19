"""`ontology.yaml`, read with all its mistakes at once."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Sequence, Set
from pathlib import Path
from typing import Any

from lorecraft.errors import DataError
from lorecraft.knowledge.contradictions import contradictions
from lorecraft.knowledge.mistakes import nearest, refuse
from lorecraft.knowledge.ontology import (
    OBJECT,
    SUBJECT,
    Atom,
    Entity,
    Ontology,
    Phrasing,
    Relation,
    Rule,
    Table,
    normal,
)
from lorecraft.knowledge.ontology_turtle import read_turtle
from lorecraft.knowledge.phrasings import KINDS, without_slots
from lorecraft.knowledge.reader import Reader
from lorecraft.recipe.source import Key, Source, read

_KEYS = ("language", "classes", "entities", "relations", "rules", "phrasings")
_CLASS_KEYS = ("subclass_of", "pronoun", "table", "key", "name")
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
    "inverse",
    "transitive",
    "symmetric",
    "values",
)
_ENGLISH = {name: kind.english for name, kind in KINDS.items() if kind.english}
"""The kinds that have words of their own."""


def load_ontology(path: Path) -> Ontology:
    """Reads ``ontology.yaml``, or the same in Turtle (``.ttl``).

    Phrasings that a relation does not hold out itself are: the last quarter (at least one) in the
    order of their SHA-256, taken off the trained ones; the first statement always stays trained.

    Raises:
        DataError: all mistakes at once, each with its key and, in YAML, its line.
    """
    turtle = path.suffix.lower() == ".ttl"
    reader = _Reader(read_turtle(path) if turtle else _yaml(path))
    ontology = reader.ontology()
    refuse(
        [
            f"{path}: {text}" if turtle else f"{path} line {line}: {text}"
            for line, text in sorted(reader.mistakes)
        ],
        "an ontology with classes, entities and relations",
    )
    return ontology


def _yaml(path: Path) -> Source:
    try:
        return read(path.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start + 1})") from error


class _Reader(Reader):
    """Turns parsed YAML into an ontology and gathers what is wrong on the way."""

    def ontology(self) -> Ontology:
        if self.mistakes:
            return Ontology((), {}, {})
        top = self.mapping(self.source.value, (), _KEYS)
        listed = top.get("classes")
        named = self.texts(listed, ("classes",)) if isinstance(listed, list) else ()
        described = {} if named else self.mapping(listed, ("classes",))
        classes = named or tuple(described)
        fields = {
            name: self.mapping(value or {}, ("classes", name), _CLASS_KEYS)
            for name, value in described.items()
        }
        entities = [
            self.entity(name, value, classes)
            for name, value in self.mapping(top.get("entities", {}), ("entities",)).items()
        ]
        relations = {
            name: self.relation(name, value, classes)
            for name, value in self.mapping(top.get("relations"), ("relations",)).items()
        }
        self.ambiguous(entities)
        ontology = Ontology(
            classes=classes,
            entities={entity.name: entity for entity in entities},
            relations=relations,
            language=self.text(top.get("language", "en"), ("language",)),
            tables={name: self.table(name, of) for name, of in fields.items() if "table" in of},
            parents=self.parents(fields, classes),
            pronouns={
                name: self.text(of["pronoun"], ("classes", name, "pronoun"))
                for name, of in fields.items()
                if "pronoun" in of
            },
            rules=tuple(
                self.rule(name, value, relations)
                for name, value in self.mapping(top.get("rules", {}), ("rules",)).items()
            ),
            phrasings={
                name: self.phrasing(name, value)
                for name, value in self.mapping(
                    top.get("phrasings", {}), ("phrasings",), tuple(_ENGLISH)
                ).items()
                if name in _ENGLISH
            },
        )
        for key, mistake in contradictions(ontology):
            self.wrong(key, mistake)
        return ontology

    def table(self, name: str, fields: dict[str, Any]) -> Table:
        key = ("classes", name)
        return Table(
            name=self.text(fields["table"], (*key, "table")),
            key=self.text(fields.get("key", "id"), (*key, "key")),
            label=self.text(fields.get("name", "name"), (*key, "name")),
        )

    def parents(self, fields: dict[str, dict[str, Any]], classes: Sequence[str]) -> dict[str, str]:
        parents = {
            name: self.class_name(of["subclass_of"], ("classes", name, "subclass_of"), classes)
            for name, of in fields.items()
            if "subclass_of" in of
        }
        for name in list(parents):
            above, seen = parents[name], [name]
            while above in parents and above not in seen:
                seen.append(above)
                above = parents[above]
            if above == name:
                self.wrong(("classes", name, "subclass_of"), f"a circle: {' < '.join(seen)}")
                parents.pop(name)
        for name, of in fields.items():
            for key in ("key", "name"):
                if key in of and "table" not in of:
                    self.wrong(("classes", name, key), "is said of a table, which is not given")
        return parents

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
            functional=self.flag(fields, "functional", key),
            column=self.optional(fields, "column", key),
            inverse=self.optional(fields, "inverse", key),
            transitive=self.flag(fields, "transitive", key),
            symmetric=self.flag(fields, "symmetric", key),
            values=self.texts(fields.get("values", []), (*key, "values")),
        )

    def rule(self, name: str, value: Any, relations: Collection[str]) -> Rule:
        key = ("rules", name)
        fields = self.mapping(value, key, ("if", "then"))
        conditions = self.texts(fields.get("if"), (*key, "if"))
        atoms = tuple(
            self.atom(text, (*key, "if", index), relations) for index, text in enumerate(conditions)
        )
        then = self.atom(self.text(fields.get("then"), (*key, "then")), (*key, "then"), relations)
        known = {variable for first, _, last in atoms for variable in (first, last)}
        if not conditions:
            self.wrong((*key, "if"), "expected a condition or more")
        for variable in dict.fromkeys((then[0], then[2])):
            if variable and conditions and variable not in known:
                self.wrong((*key, "then"), f"{variable} stands in no condition")
        return Rule(name, atoms, then)

    def atom(self, text: str, key: Key, relations: Collection[str]) -> Atom:
        words = text.split()
        name = " ".join(words[1:-1])
        if len(words) < 3 or not all(re.fullmatch(r"\?\w+", words[at]) for at in (0, -1)):
            if text:
                self.wrong(key, f"'{text}' should be as '?x made_at ?y'")
            return "", "", ""
        if name not in relations:
            self.wrong(key, f"no relation '{name}'{nearest(name, relations)}")
        return words[0], name, words[-1]

    def phrasing(self, name: str, value: Any) -> Phrasing:
        key, kind, english = ("phrasings", name), KINDS[name], _ENGLISH[name]
        parts = ("questions", "held_out", "answer", "denial")
        wanted = [part for part in parts if getattr(english, part)]
        fields = self.mapping(value, key, wanted)
        patterns = {
            part: self.texts(fields.get(part), (*key, part)) if part in wanted else ()
            for part in parts[:2]
        }
        for part, texts in patterns.items():
            for pattern in texts:
                if kind.asked or part == "held_out" or "{question}" not in pattern:
                    self.slots(pattern, (*key, part), kind.asked or {"{noun}"})
                else:
                    self.slots(pattern, (*key, part), {"{question}"}, {"{noun}"})
            if part in wanted and fields.get(part) == []:
                self.wrong((*key, part), "expected one or more")
        trained, held_out = (set(map(normal, texts)) for texts in patterns.values())
        if both := trained & held_out:
            self.wrong((*key, "held_out"), f"'{min(both)}' is trained too")
        answers = {
            part: self.text(fields.get(part), (*key, part)) for part in parts[2:] if part in wanted
        }
        for part, pattern in answers.items():
            self.slots(pattern, (*key, part), frozenset(), kind.answered)
        verdicts = [normal(without_slots(pattern)) for pattern in answers.values()]
        if (
            name == "yes_no"
            and all(answers.values())
            and not (all(verdicts) and len({*verdicts}) > 1)
        ):
            self.wrong(
                (*key, "denial"), "should say another word than the answer, as No and Yes are"
            )
        return Phrasing(
            patterns["questions"],
            patterns["held_out"],
            answers["answer"],
            answers.get("denial", ""),
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
            other = f"no other slot{' than ' + ' and '.join(sorted(may)) if may else ''}"
            self.wrong(key, f"'{pattern}' should have {slots + ', and ' if slots else ''}{other}")

    def class_name(self, value: Any, key: Key, classes: Sequence[str]) -> str:
        name = self.text(value, key)
        if name and name not in classes:
            self.wrong(key, f"no class '{name}'{nearest(name, classes)}")
        return name

    def ambiguous(self, entities: Sequence[Entity]) -> None:
        owners: dict[str, str] = {}
        for entity in entities:
            for name in (entity.name, *entity.aliases):
                owner = owners.setdefault(normal(name), entity.name)
                if owner != entity.name:
                    self.wrong(("entities", entity.name), f"'{name}' also names {owner}")


def _hold_out(patterns: Sequence[str], kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    candidates = patterns[1:] if kind == "statements" else patterns
    ordered = sorted(candidates, key=lambda p: hashlib.sha256(p.encode()).digest())
    held = set(ordered[-max(1, len(patterns) // 4) :])
    return tuple(p for p in patterns if p not in held), tuple(p for p in patterns if p in held)
