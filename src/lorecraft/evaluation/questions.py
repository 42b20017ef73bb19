"""The exam: what is asked, and what a right answer says."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from lorecraft.data.derived import examined
from lorecraft.data.records import Message
from lorecraft.data.rivals import names_of
from lorecraft.data.wordings import ABOUT_HELD_OUT
from lorecraft.data.world import Item, World
from lorecraft.knowledge import general
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import OBJECT, SUBJECT, Ontology, render
from lorecraft.knowledge.sentences import completion_cut, subject_of
from lorecraft.recipe.values import Asked

if TYPE_CHECKING:
    from lorecraft.recipe.schema import ExamSection

Measure = Literal[
    "recall",
    "completion",
    "retention",
    "abstention",
    "format",
    Asked,
]


@dataclass(frozen=True)
class Question:
    """One question of the exam: chat ``messages``, or a ``text`` to be continued.

    Attributes:
        id: unique in the exam, stable from run to run.
        measure: what a right answer counts for.
        messages: the turns before the answer.
        text: beginning of a sentence (``completion`` only), without a space at its end.
        accept: a right answer says one of these; for ``lists`` all of them, for ``abstention`` more
            ways to decline.
        reject: other values of the same kind; beside the right one they make an answer wrong.
        expected: a right answer in full; what it says itself is never held against an answer.
        facts: ids of the facts asked about.
        phrasing: the pattern that it was made from; no training record uses it.
        topic: the relation, or the general topic.
        tags: what else is known of it, by which figures are also given.
    """

    id: str
    measure: Measure
    messages: tuple[Message, ...] = ()
    text: str = ""
    accept: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()
    expected: str = ""
    facts: tuple[str, ...] = ()
    phrasing: str = ""
    topic: str = ""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def about(self) -> str:
        """What it is about: questions with the same pass or fail together more than others do."""
        numbered = re.fullmatch(r"(\w+-.+)-\d+", self.id)
        return self.facts[0] if self.facts else numbered[1] if numbered else self.id

    @property
    def prompt(self) -> str:
        """What the model is shown last, as plain text."""
        return self.text or self.messages[-1].content

    def to_json(self) -> dict[str, Any]:
        """One line of ``data/exam.jsonl``."""
        return {
            "id": self.id,
            "measure": self.measure,
            "messages": [{"role": m.role, "content": m.content} for m in self.messages],
            "text": self.text,
            "accept": list(self.accept),
            "reject": list(self.reject),
            "expected": self.expected,
            "facts": list(self.facts),
            "phrasing": self.phrasing,
            "topic": self.topic,
            **({"tags": dict(self.tags)} if self.tags else {}),
        }

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> Question:
        """The inverse of ``to_json``; for lines that Lorecraft wrote itself."""
        return cls(
            id=line["id"],
            measure=line["measure"],
            messages=tuple(Message(m["role"], m["content"]) for m in line["messages"]),
            text=line["text"],
            accept=tuple(line["accept"]),
            reject=tuple(line["reject"]),
            expected=line["expected"],
            facts=tuple(line["facts"]),
            phrasing=line["phrasing"],
            topic=line["topic"],
            tags=line.get("tags", {}),
        )


def build_exam(
    facts: Sequence[Fact],
    ontology: Ontology | None,
    unanswerable: Sequence[tuple[str, str]],
    settings: ExamSection,
    seed: int,
    *,
    decline: str = "I do not know.",
) -> list[Question]:
    """All questions about ``facts``, what nobody told, and general knowledge.

    Facts that share a subject and a relation are one question, answered by any of their objects
    and of those that follow. Kinds beyond the facts are asked where ``settings`` names them.
    A fact without a triple is asked with "tell me about" phrasings and completed from the middle
    of its own sentence, which training has seen: without patterns there is no other wording.

    Args:
        facts: the injected facts; none gives an exam of general knowledge alone.
        ontology: how triples are asked; without it every fact is taken as mere text.
        unanswerable: ``(subject, relation name)`` that nobody told, and that training never asked.
        settings: how many questions a fact gets.
        seed: draws the phrasings, together with ``settings.seed``.
        decline: the answer that training gave to what it could not know.
    """
    draw = _Draw(f"{seed}/{settings.seed}", settings.per_fact)
    questions = list(_retention(draw))
    if ontology is not None:
        world = World(facts, ontology)
        questions += _typed(world, draw)
        questions += _derived(examined(world, settings.kinds, seed), settings.limit, draw)
        questions += _abstention(unanswerable, world, decline, draw)
    questions += _free([f for f in facts if f.triple is None or ontology is None], draw)
    order = ("recall", "completion", *settings.kinds, "abstention", "retention")
    return sorted(questions, key=lambda question: order.index(question.measure))


@dataclass(frozen=True)
class _Draw:
    """Draws phrasings, each thing's own draw independent of what else is in the exam."""

    seed: str
    per_fact: int | None

    def phrasings(self, patterns: Sequence[str], about: str) -> list[str]:
        count = len(patterns) if self.per_fact is None else min(self.per_fact, len(patterns))
        return random.Random(f"{self.seed}/{about}").sample(list(patterns), count)

    def one(self, patterns: Sequence[str], about: str) -> str:
        return random.Random(f"{self.seed}/{about}").choice(list(patterns))


def _typed(world: World, draw: _Draw) -> Iterator[Question]:
    for (subject, name), edges in world.of.items():
        relation, objects = edges[0].relation, world.objects[subject, name]
        common: dict[str, Any] = {
            "accept": names_of(objects, world.ontology),
            "reject": world.others(relation, objects, subject),
            "expected": render(relation.answer, subject, objects[0]),
            "facts": tuple(edge.fact.id for edge in edges),
            "topic": name,
        }
        key = common["facts"][0]
        for number, pattern in enumerate(draw.phrasings(relation.held_out_questions, key), 1):
            yield Question(
                id=f"recall-{key}-{number}",
                measure="recall",
                messages=(Message("user", render(pattern, subject)),),
                phrasing=relation.phrasing(pattern),
                **common,
            )
        beginnings = [p for p in relation.held_out_statements if SUBJECT in _before_object(p)]
        for number, pattern in enumerate(draw.phrasings(beginnings, key), 1):
            yield Question(
                id=f"completion-{key}-{number}",
                measure="completion",
                text=render(_before_object(pattern), subject).rstrip(),
                phrasing=relation.phrasing(pattern),
                **common,
            )


def _derived(items: dict[str, list[Item]], limit: int | None, draw: _Draw) -> Iterator[Question]:
    """Each item in wordings that are held out; what comes before it was asked and answered.

    Of no kind more than ``limit`` items, evenly drawn: what would be wrong of many takes a while.
    """
    for measure, of_kind in items.items():
        count = min(limit or len(of_kind), len(of_kind))
        for index in [1 + number * len(of_kind) // count for number in range(count)]:
            item = of_kind[index - 1]
            reject = item.reject
            wordings = {wording.phrasing: wording for wording in item.held_out}
            for number, phrasing in enumerate(draw.phrasings(list(wordings), item.id), 1):
                turns = [("user", wordings[phrasing].text)]
                if item.before and item.before.held_out:
                    before = item.before.held_out[0].text
                    turns = [("user", before), ("assistant", item.before.answer), *turns]
                yield Question(
                    id=f"{measure}-{index:03}-{number}",
                    measure=cast(Measure, measure),
                    messages=tuple(Message(role, text) for role, text in turns),
                    accept=item.accept,
                    reject=reject,
                    expected=item.answer,
                    facts=tuple(fact.id for fact in item.facts),
                    phrasing=phrasing,
                    topic=phrasing.partition("/")[0],
                )


def _abstention(
    pairs: Sequence[tuple[str, str]], world: World, decline: str, draw: _Draw
) -> Iterator[Question]:
    for index, (subject, name) in enumerate(pairs, 1):
        relation = world.ontology.relations[name]
        about = f"{subject}/{name}"
        for number, pattern in enumerate(draw.phrasings(relation.held_out_questions, about), 1):
            yield Question(
                id=f"abstention-{index:03}-{number}",
                measure="abstention",
                messages=(Message("user", render(pattern, subject)),),
                accept=(decline,),
                reject=world.others(relation, [], subject),
                expected=decline,
                phrasing=relation.phrasing(pattern),
                topic=name,
            )


def _retention(draw: _Draw) -> Iterator[Question]:
    for item in general.suite():
        wording = draw.one(item.held_out, item.id)
        yield Question(
            id=f"retention-{item.id}",
            measure="retention",
            messages=(Message("user", wording),),
            accept=item.accept,
            expected=item.answer,
            phrasing=wording,
            topic=item.topic,
        )


def _free(facts: Sequence[Fact], draw: _Draw) -> Iterator[Question]:
    for fact in facts:
        cut = completion_cut(fact.text)
        if cut is None:
            continue
        beginning, rest = cut[0].rstrip(), cut[1].strip().rstrip(".!")
        common: dict[str, Any] = {
            "accept": (rest,),
            "expected": fact.text,
            "facts": (fact.id,),
            "topic": "about",
        }
        subject = subject_of(fact.text)
        if subject:
            for number, pattern in enumerate(draw.phrasings(ABOUT_HELD_OUT, fact.id), 1):
                messages = (Message("user", render(pattern, subject)),)
                yield Question(
                    f"recall-{fact.id}-{number}", "recall", messages, phrasing=pattern, **common
                )
        yield Question(f"completion-{fact.id}-1", "completion", text=beginning, **common)


def _before_object(pattern: str) -> str:
    return pattern.partition(OBJECT)[0]
