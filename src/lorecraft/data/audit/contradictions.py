"""Answers and sentences that contradict the facts, or what follows from them.

Only what can be told for certain: a question or a sentence in one of the ontology's own phrasings,
held-out ones included, about a relation that has one object a subject.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from lorecraft.data.audit.check import Mark, Marks
from lorecraft.data.audit.finding import Severity
from lorecraft.data.audit.rows import Entry
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import OBJECT, SUBJECT, Ontology, normal, render
from lorecraft.knowledge.reasoning import infer

_WRONG = "contradicts the facts"
_SILENT = "answers a question about a fact, and does not say it"
_S, _O = "\x02", "\x03"
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
Words = tuple[str, ...]
Object = tuple[str, tuple[str, ...]]
"""An object, and all its names in their normal form."""


class Contradictions(Marks):
    """What the data say otherwise than the facts."""

    name = "contradictions"
    severity = "error"

    def __init__(self, facts: Sequence[Fact], ontology: Ontology) -> None:
        super().__init__()
        aliases = {e.name: (e.name, *e.aliases) for e in ontology.entities.values()}
        one = {name for name, relation in ontology.relations.items() if relation.functional}
        self._objects: dict[tuple[str, str], Object] = {}
        self._kinds: dict[str, set[str]] = {}
        stated = [fact.triple for fact in facts if fact.triple]
        for subject, name, object_ in (*stated, *(i.triple for i in infer(facts, ontology))):
            if name in one and (subject, name) not in self._objects:
                said = tuple(map(normal, aliases.get(object_, (object_,))))
                self._objects[subject, name] = object_, said
                self._kinds.setdefault(name, set()).update(said)
        told = {subject for subject, _ in self._objects}
        self._subjects = {normal(n): e for e in told for n in aliases.get(e, (e,))}
        self._longest = max((name.count(" ") + 1 for name in self._subjects), default=0)
        self._questions: dict[Words, str] = {}
        self._statements: dict[Words, list[tuple[Words, str]]] = {}
        for relation in ontology.relations.values():
            if relation.name not in one:
                continue
            of_kind = ontology.of_class(relation.range)
            kinds = self._kinds.setdefault(relation.name, set())
            kinds.update(normal(n) for e in of_kind for n in aliases[e.name])
            for pattern in (*relation.questions, *relation.held_out_questions):
                self._questions[_words(pattern)] = relation.name
            for pattern in (*relation.statements, *relation.held_out_statements, relation.answer):
                words = _words(pattern)
                if SUBJECT in pattern and OBJECT in pattern:
                    at = words.index(_O)
                    self._statements.setdefault(words[:at], []).append(
                        (words[at + 1 :], relation.name)
                    )

    def marks(self, entry: Entry) -> Iterable[Mark]:
        record = entry.record
        if record is None:
            return
        turns = [(m.role, m.content) for m in record.messages] or [("assistant", record.text)]
        asked: list[tuple[str, str]] = []
        for role, text in turns:
            if role != "assistant":
                asked = list(self._asked(text))
                continue
            if wrong := self._wrong_answer(asked, text):
                yield wrong
                return
            if said := self._wrong_sentence(text):
                yield _WRONG, said
                return

    def severity_of(self, kind: str) -> Severity:
        return "warning" if kind == _SILENT else self.severity

    def _asked(self, text: str) -> Iterator[tuple[str, str]]:
        """The subjects and relations that a question asks about."""
        for subject, words in self._named(normal(text).split()):
            relation = self._questions.get(words)
            if relation and (subject, relation) in self._objects:
                yield subject, relation

    def _wrong_answer(self, asked: Iterable[tuple[str, str]], text: str) -> Mark | None:
        plain = f" {normal(text)} "
        for subject, relation in asked:
            object_, names = self._objects[subject, relation]
            if not any(f" {name} " in plain for name in names):
                others = (*self._kinds[relation], *filter(str.isdigit, plain.split()))
                wrong = any(f" {o} " in plain and self._rivals(relation, o, names) for o in others)
                said = f"{relation} of {subject} is {object_}, not '{_short(text)}'"
                return _WRONG if wrong else _SILENT, said
        return None

    def _wrong_sentence(self, text: str) -> str:
        for sentence in _SENTENCE.split(text):
            told = list(self._told(normal(sentence).split()))
            if told and not any(said in names for _, said, (_, names) in told):
                for what, said, (object_, names) in told:
                    if self._rivals(what[1], said, names):
                        return f"{what[1]} of {what[0]} is {object_}: '{_short(sentence)}'"
        return ""

    def _told(self, words: list[str]) -> Iterator[tuple[tuple[str, str], str, Object]]:
        """What a sentence may say: a subject and its relation, an object, and the right one."""
        for subject, marked in self._named(words):
            for at in range(len(marked)):
                for after, relation in self._statements.get(marked[:at], ()):
                    end = len(marked) - len(after)
                    said = marked[at:end]
                    right = self._objects.get((subject, relation))
                    if right and said and _S not in said and marked[end:] == after:
                        yield (subject, relation), " ".join(said), right

    def _rivals(self, relation: str, said: str, names: Iterable[str]) -> bool:
        """Whether what is said could be the object at all: another thing of the kind, or a number
        in the place of a number. Otherwise a pattern fits by chance."""
        if said in self._kinds[relation]:
            return True
        return said.isdigit() and any(name.isdigit() for name in names)

    def _named(self, words: list[str]) -> Iterator[tuple[str, Words]]:
        """Each known subject, and the words with a mark in its place."""
        for size in range(min(self._longest, len(words)), 0, -1):
            for at in range(len(words) - size + 1):
                subject = self._subjects.get(" ".join(words[at : at + size]))
                if subject:
                    yield subject, (*words[:at], _S, *words[at + size :])


def _words(pattern: str) -> Words:
    marked = normal(render(pattern, "lorecraftsubject", "lorecraftobject")).split()
    return tuple({"lorecraftsubject": _S, "lorecraftobject": _O}.get(word, word) for word in marked)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:77] + "…"
