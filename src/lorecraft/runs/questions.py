"""What a run's exam asks: of its facts and its style, and nothing in words that were trained."""

from __future__ import annotations

from collections.abc import Sequence

from lorecraft.data.records import Record
from lorecraft.data.sources import read_records
from lorecraft.data.split import asked
from lorecraft.data.unknown import split_absent
from lorecraft.data.views import evenly
from lorecraft.errors import DataError
from lorecraft.evaluation.questions import Question, build_exam
from lorecraft.evaluation.style import style_questions
from lorecraft.knowledge.facts import Fact
from lorecraft.knowledge.ontology import Ontology, normal
from lorecraft.recipe import Recipe, StyleSection


def exam_questions(
    recipe: Recipe,
    facts: Sequence[Fact],
    ontology: Ontology | None,
    trained: Sequence[Sequence[Record]],
) -> tuple[list[Question], int]:
    """The questions, and how many more were left out; ``trained`` are all records that are trained
    or validated on."""
    examined = split_absent(facts, ontology, recipe.seed)[1] if ontology else ()
    exam = build_exam(
        facts, ontology, examined, recipe.exam, recipe.seed, decline=recipe.data.decline
    )
    if recipe.style is not None:
        exam += _style(recipe.style, trained)
    exam = [
        question
        for measure in dict.fromkeys(question.measure for question in exam)
        for question in evenly([q for q in exam if q.measure == measure], recipe.exam.limit)
    ]
    questions = _never_trained(exam, trained)
    return questions, len(exam) - len(questions)


def _style(section: StyleSection, trained: Sequence[Sequence[Record]]) -> list[Question]:
    """The questions of a house style, about nothing that was trained."""
    records = read_records(section.test, tags=section.by)
    wrong = [r.place for r in records if not r.messages or r.messages[-1].role != "assistant"]
    if wrong:
        raise DataError(
            f"records of style.test that do not end with an answer: {', '.join(wrong[:5])}",
            "chats, or prompts with their completions",
        )
    learned = {fact for some in trained for record in some for fact in record.facts}
    if common := sorted(learned & {fact for record in records for fact in record.facts}):
        raise DataError(
            f"style.test is about {len(common)} things that are trained or validated on too: "
            f"{', '.join(common[:10])}",
            "a test about nothing that training tells of: its figures would flatter",
            "split the records by what they are about (the column `facts`)",
        )
    return style_questions(records)


def _never_trained(exam: list[Question], trained: Sequence[Sequence[Record]]) -> list[Question]:
    """The exam less what a record of the user's own happens to ask in the same words."""
    prompts = {normal(question.prompt) for question in exam if question.phrasing}
    known = {
        turn
        for records in trained
        for record in records
        for turn in map(normal, asked(record))
        if turn in prompts
    }
    return [q for q in exam if not q.phrasing or normal(q.prompt) not in known]
