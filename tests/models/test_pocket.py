"""The embedded model: what it must be good for, and what it must not have seen."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from lorecraft.engines import create
from lorecraft.engines.base import BASE, Engine, Request
from lorecraft.evaluation.exam import sit
from lorecraft.evaluation.questions import Question
from lorecraft.knowledge.general import suite
from lorecraft.knowledge.ontology_file import load_ontology
from lorecraft.models.find import find
from lorecraft.models.tokenizer import HFTokenizer, load_tokenizer
from lorecraft.recipe import ExamSection

ROOT = Path(__file__).parents[2]
COMPANY = ROOT / "examples/company"


@pytest.fixture(scope="module")
def evaluate() -> Iterator[ModuleType]:
    """tools/pocket/evaluate.py, with the invented world beside it."""
    sys.path.insert(0, str(ROOT / "tools/pocket"))
    try:
        import evaluate

        yield evaluate
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def pocket() -> tuple[Engine, HFTokenizer]:
    folder = find("pocket")
    engine = create("torch")
    engine.open(folder)
    return engine, load_tokenizer(folder)


def share(pocket: tuple[Engine, HFTokenizer], questions: list[Question]) -> float:
    answers = sit(*pocket, {"base": BASE}, questions, ExamSection())
    return sum(answer.passed for answer in answers) / len(answers)


def test_it_fits_into_the_repository() -> None:
    files = [path for path in find("pocket").iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12_000_000


def test_it_answers_general_questions_in_words_never_trained(
    pocket: tuple[Engine, HFTokenizer], evaluate: ModuleType
) -> None:
    questions = [q for q in evaluate.company() if q.measure == "retention"]
    assert len(questions) == len(suite()) >= 200
    assert share(pocket, questions) >= 0.9


def test_it_knows_nothing_of_the_example(
    pocket: tuple[Engine, HFTokenizer], evaluate: ModuleType
) -> None:
    assert share(pocket, [q for q in evaluate.company() if q.measure == "recall"]) <= 0.05


def test_it_answers_from_a_passage_about_things_it_never_met(
    pocket: tuple[Engine, HFTokenizer], evaluate: ModuleType
) -> None:
    assert share(pocket, list(evaluate.reading())[:100]) >= 0.8


def test_it_says_that_it_does_not_know_what_it_never_met(
    pocket: tuple[Engine, HFTokenizer], evaluate: ModuleType
) -> None:
    assert share(pocket, list(evaluate.unmet())[:100]) >= 0.8


def test_it_ends_its_turn(pocket: tuple[Engine, HFTokenizer]) -> None:
    from lorecraft.data.records import Message

    engine, tokenizer = pocket
    prompt = tokenizer.chat([Message("user", "Hello!")], add_generation_prompt=True)
    said = list(engine.generate([Request(prompt, max_new_tokens=64, stop=tokenizer.stop_ids)]))
    assert 1 < len(said) < 64
    assert said[-1][1] in tokenizer.stop_ids


def form(pattern: str) -> str:
    """A pattern by which two are the same: slots alike, lower case, no punctuation."""
    alike = re.sub(r"\{\w+\}", " @ ", pattern).lower()
    return " ".join(re.sub(r"[^a-z0-9@]+", " ", alike).split())


def test_no_phrasing_of_the_example_s_exam_is_a_phrasing_of_the_corpus(
    evaluate: ModuleType,
) -> None:
    world, page = evaluate.w, evaluate.w.sheet()
    ontology = load_ontology(COMPANY / "ontology.yaml")
    nouns = {row["noun"] for row in (*page["relations"], *page["nouns"])}
    nouns |= {relation.noun for relation in ontology.relations.values()}
    generic = (*page["generic_statements"], *page["generic_questions"])
    trained = {form(p.replace("{noun}", noun)) for noun in nouns for p in generic}
    for relation in world.relations():
        trained |= {form(pattern) for pattern in (*relation.statements, *relation.questions)}
    examined = {
        form(pattern)
        for relation in ontology.relations.values()
        for pattern in (*relation.held_out_questions, *relation.held_out_statements)
    }
    assert len(trained) > 10_000 and len(examined) > 100
    assert examined & trained == set()


def test_no_name_of_the_example_can_be_made_by_the_corpus(evaluate: ModuleType) -> None:
    world = evaluate.w.world()
    names = {entity.name for entity in (*world.entities, *world.told_only)}
    ontology = yaml.safe_load((COMPANY / "ontology.yaml").read_text("utf-8"))
    assert names & set(ontology["entities"]) == set()
    parts = evaluate.w.sheet()["names"]
    words = {*parts["words"], *parts["first_names"]}
    for kind in ("surname", "place", "brand"):
        words |= {a + b for a in parts[f"{kind}_starts"] for b in parts[f"{kind}_ends"]}
    last_words = {
        name.split()[-1]
        for name, e in ontology["entities"].items()
        if e["class"] in ("Person", "Product")
    }
    assert last_words & words == set()
