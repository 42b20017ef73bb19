"""The exam of a run: every model sits it over one copy of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lorecraft.evaluation.exam import read_texts, sit
from lorecraft.evaluation.graders import mentions
from lorecraft.evaluation.measures import verdict
from lorecraft.knowledge.general import suite
from lorecraft.knowledge.sentences import subject_of
from lorecraft.recipe import Recipe
from lorecraft.runs.files import write_json, write_lines
from lorecraft.runs.prepare import Prepared, load_knowledge
from lorecraft.runs.progress import Progress
from lorecraft.runs.workbench import Workbench


def sit_exam(
    bench: Workbench,
    recipe: Recipe,
    prepared: Prepared,
    *,
    adapters: Mapping[str, Path],
    folder: Path,
    progress: Progress,
) -> None:
    """Examine the base and every adapter; write ``answers.jsonl`` and ``verdict.json``."""
    slots = bench.attach_all(adapters)
    questions = prepared.questions
    with progress.stage("exam", len(questions) * len(slots), "answers") as bar:
        answers = sit(
            bench.engine, bench.tokenizer, slots, questions, recipe.exam, on_progress=bar.advance
        )
    texts = [item.statements[0] for item in suite() if item.statements]
    surprises = read_texts(bench.engine, bench.tokenizer, slots, texts)
    write_lines(folder / "answers.jsonl", (answer.to_json() for answer in answers))
    write_json(
        folder / "verdict.json", verdict(questions, answers, entity_names(recipe), surprises)
    )


def entity_names(recipe: Recipe) -> list[str]:
    """Names and aliases of the injected things, whose mention elsewhere is bleed."""
    facts, ontology = load_knowledge(recipe.knowledge)
    if ontology is not None:
        objects = {fact.triple[2] for fact in facts if fact.triple}
        named = {name for name in objects if name.istitle() and name.replace(" ", "").isalpha()}
        known = " ".join(item.answer for item in suite())
        return [*ontology.names(), *sorted(n for n in named if not mentions(n, known))]
    return sorted({subject for fact in facts if (subject := subject_of(fact.text))})
