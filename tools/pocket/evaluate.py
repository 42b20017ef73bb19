"""Examine the pocket model itself, before anybody teaches it: `python tools/pocket/evaluate.py`.

Prints one JSON object, which `figures.json` beside this file and the card of the model keep. Names,
and all wordings of the general suite, are ones that training never saw; the patterns of the
invented world's statements and questions are the trained ones.
"""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

import world as w

from lorecraft.data.records import Message
from lorecraft.engines import create
from lorecraft.engines.base import BASE
from lorecraft.evaluation.exam import Answer, sit
from lorecraft.evaluation.questions import Question, build_exam
from lorecraft.evaluation.statistics import wilson
from lorecraft.knowledge.facts import load_facts
from lorecraft.knowledge.general import suite
from lorecraft.knowledge.ontology_file import load_ontology
from lorecraft.knowledge.shapes import absent
from lorecraft.models.tokenizer import load_tokenizer
from lorecraft.recipe import ExamSection

HERE = Path(__file__).parent
COMPANY = HERE.parents[1] / "examples/company"
ASKED = 200
"""Questions of each kind about the invented world."""


def ask(id: str, measure: str, text: str, accept: tuple[str, ...] = ()) -> Question:
    return Question(id, measure, (Message("user", text),), accept=accept)


def general_trained() -> Iterator[Question]:
    rng = random.Random("general")
    for item in suite():
        yield Question(
            f"trained/{item.id}",
            "retention",
            (Message("user", rng.choice(item.questions)),),
            accept=item.accept,
            expected=item.answer,
            topic=item.topic,
        )


def reading() -> Iterator[Question]:
    """A question about one of two new things that a passage describes."""
    rng = random.Random("reading, never trained")
    for number in range(ASKED):
        kinds = rng.choices(w.sheet()["classes"], k=2)
        things = [w.new_entity(kind, rng, {}, w.unmet(kind, rng)) for kind in kinds]
        facts = [fact for thing in things for fact in thing.facts[:2]]
        rng.shuffle(facts)
        fact = rng.choice(facts)
        frame = rng.choice(w.sheet()["passage_prompts"])
        passage = " ".join(fact.told(rng) for fact in facts)
        question = w.fill(rng.choice(fact.relation.questions), fact.subject)
        text = frame.replace("{passage}", passage).replace("{q}", question)
        yield ask(f"reading/{number}", "recall", text, (fact.object,))


def unmet() -> Iterator[Question]:
    rng = random.Random("unmet, never trained")
    for number in range(ASKED):
        kind = rng.choice(w.sheet()["classes"])
        pattern = rng.choice(rng.choice(w.relations_of(kind)).questions)
        yield ask(f"unmet/{number}", "abstention", w.fill(pattern, w.unmet(kind, rng)))


def absent_attributes() -> Iterator[Question]:
    rng = random.Random("absent")
    for number in range(ASKED):
        entity = rng.choice([e for e in w.world().entities if e.absent])
        relation = rng.choice(entity.absent)
        yield ask(
            f"absent/{number}", "abstention", w.fill(rng.choice(relation.questions), entity.name)
        )


def world_questions(kind: str, facts: list[w.Fact]) -> Iterator[Question]:
    rng = random.Random(kind)
    for number, fact in enumerate(rng.sample(facts, min(ASKED, len(facts)))):
        question = w.fill(rng.choice(fact.relation.questions), fact.subject)
        yield ask(f"{kind}/{number}", "recall", question, (fact.object,))


def completions() -> Iterator[Question]:
    rng = random.Random("completions")
    facts = [fact for entity in w.world().entities for fact in entity.facts]
    for number, fact in enumerate(rng.sample(facts, ASKED)):
        endings = [p for p in fact.relation.statements if p.endswith("{o}.")]
        text = w.fill(rng.choice(endings).removesuffix("{o}."), fact.subject).rstrip()
        yield Question(f"told/{number}", "completion", text=text, accept=(fact.object,))


def company() -> list[Question]:
    """The example's own exam, which the untaught model should fail."""
    facts = load_facts(COMPANY / "facts.jsonl")
    ontology = load_ontology(COMPANY / "ontology.yaml")
    return build_exam(facts, ontology, absent(facts, ontology), ExamSection(), 0)


def groups() -> dict[str, list[Question]]:
    here = w.world()
    asked = [fact for entity in here.entities for fact in entity.asked]
    kept = [fact for entity in here.entities for fact in entity.facts if fact not in entity.asked]
    told = [fact for entity in here.told_only for fact in entity.facts]
    exam = company()
    return {
        "general suite, phrasings never trained": [q for q in exam if q.measure == "retention"],
        "general suite, trained phrasings": list(general_trained()),
        "the example's facts, asked": [q for q in exam if q.measure == "recall"],
        "the example's facts, completed": [q for q in exam if q.measure == "completion"],
        "the example's missing attributes, declined": [
            q for q in exam if q.measure == "abstention"
        ],
        "passage, new entities": list(reading()),
        "unknown entity, declined": list(unmet()),
        "known entity, attribute never given: declined": list(absent_attributes()),
        "known entity, asked": list(world_questions("asked", asked)),
        "known entity, fact never asked in training": list(world_questions("kept", kept)),
        "entity of statements only, asked": list(world_questions("told only", told)),
        "statement completed": list(completions()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = HERE.parents[1] / "src/lorecraft/models/pocket/weights"
    parser.add_argument("--model", type=Path, default=default)
    parser.add_argument("--wrong", type=int, default=0, help="show so many wrong answers a group")
    options = parser.parse_args()
    engine = create("torch")
    engine.open(options.model)
    tokenizer = load_tokenizer(options.model)
    figures = {}
    for name, questions in groups().items():
        answers = sit(engine, tokenizer, {"base": BASE}, questions, ExamSection())
        passed = sum(answer.passed for answer in answers)
        low, high = wilson(passed, len(answers))
        figures[name] = {
            "passed": passed,
            "asked": len(answers),
            "rate": round(passed / len(answers), 4),
            "low": round(low, 4),
            "high": round(high, 4),
        }
        show(name, questions, answers, options.wrong)
    print(json.dumps(figures, indent=2))


def show(name: str, questions: list[Question], answers: list[Answer], count: int) -> None:
    wrong = [pair for pair in zip(questions, answers, strict=True) if not pair[1].passed]
    for question, answer in random.Random(0).sample(wrong, min(count, len(wrong))):
        print(f"{name}: {question.prompt!r} -> {answer.answer!r} ({answer.why})")


if __name__ == "__main__":
    main()
