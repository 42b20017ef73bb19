"""Sources -> what each stage trains on, what the exam asks, and the audit of both."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorecraft.data import tellings
from lorecraft.data.audit.contradictions import Contradictions
from lorecraft.data.audit.stages import audit_stages
from lorecraft.data.derived import derived_records
from lorecraft.data.docstrings import docstring_records
from lorecraft.data.mix import general_records, mix
from lorecraft.data.pairs import held_out_by, read_pairs
from lorecraft.data.passages import passage_records
from lorecraft.data.records import Record
from lorecraft.data.sources import read_records
from lorecraft.data.split import split_groups, without_leaks
from lorecraft.data.teller.passages import Passage, to_tell
from lorecraft.data.teller.tell import Told
from lorecraft.data.views import Joined, Picked, evenly, where
from lorecraft.disk import replacing
from lorecraft.errors import DataError
from lorecraft.evaluation.graders import mentions
from lorecraft.evaluation.questions import Question
from lorecraft.knowledge.facts import Fact, load_facts
from lorecraft.knowledge.general import suite
from lorecraft.knowledge.jsonl import Lines
from lorecraft.knowledge.ontology import Ontology
from lorecraft.knowledge.ontology_file import load_ontology
from lorecraft.knowledge.sentences import subject_of
from lorecraft.knowledge.shapes import check
from lorecraft.knowledge.strictness import Bad, strict
from lorecraft.knowledge.tables import read_tables
from lorecraft.recipe import (
    DataSection,
    KnowledgeSection,
    Recipe,
    RecordsSection,
    StageSection,
)
from lorecraft.runs.files import read_json, read_lines, write_json, write_lines
from lorecraft.runs.questions import exam_questions
from lorecraft.style.load import load_format

Tell = Callable[[Sequence[Passage]], Told]

VALID_SHARE = 0.1
"""Of ready-made records without a validation file, and of the general records."""


@dataclass(frozen=True)
class StageData:
    """The records of one stage."""

    train: Sequence[Record]
    valid: Sequence[Record]


@dataclass(frozen=True)
class Prepared:
    """All that is in ``data/``; stages by model name (``cpt``, ``sft``), and the names of the
    injected things."""

    stages: dict[str, StageData]
    questions: list[Question]
    audit: dict[str, Any]
    names: list[str]


def read_knowledge(
    section: KnowledgeSection | None, bad: Bad = strict
) -> tuple[tuple[Fact, ...], Ontology | None]:
    """The facts and the ontology, checked against each other."""
    if section is None:
        return (), None
    facts = load_facts(section.facts, bad) if section.facts else ()
    ontology = load_ontology(section.ontology) if section.ontology else None
    if section.tables and ontology is not None:
        of_tables, ontology = read_tables(section.tables, ontology, bad)
        facts += of_tables
    if ontology is not None:
        facts = check(facts, ontology, bad)
    return facts, ontology


def _names(facts: Sequence[Fact], ontology: Ontology | None) -> list[str]:
    """Names and aliases of the injected things, whose mention elsewhere is bleed."""
    if ontology is not None:
        objects = {fact.triple[2] for fact in facts if fact.triple}
        named = {name for name in objects if name.istitle() and name.replace(" ", "").isalpha()}
        known = " ".join(item.answer for item in suite())
        return [*ontology.names(), *sorted(n for n in named if not mentions(n, known))]
    return sorted({subject for fact in facts if (subject := subject_of(fact.text))})


def prepare(
    recipe: Recipe, names: list[str], bad: Bad = strict, tell: Tell | None = None
) -> Prepared:
    """Derive everything from the recipe's sources; ``names`` are the stages' model names;
    ``tell`` has a language model tell them in other words.

    Raises DataError for any source that cannot be used, unless ``bad`` lets it be left out, and for
    a stage left without records.
    """
    knowledge = recipe.knowledge or KnowledgeSection()
    facts, ontology = read_knowledge(knowledge, bad)
    passages = passage_records(knowledge.documents, recipe.data.max_length, bad)
    told = tell(to_tell(passages, facts)) if tell else None
    own = _own(recipe, passages, told.records if told else [], bad)
    general = _general(recipe.data, recipe.seed, bad)
    if told:
        general["chat"] = Joined(told.general, general["chat"])
    pairs = _pairs(recipe, bad)
    stages = {}
    for name, stage in zip(names, recipe.stages, strict=True):
        if stage.kind == "dpo":
            if not pairs[0]:
                raise DataError(f"stage {name} has no pairs to train on", "pairs in data.pairs")
            stages[name] = StageData(*(evenly(part, recipe.data.limit) for part in pairs))
            continue
        made = _told(facts, ontology, stage, recipe)
        train, valid = (
            Joined(records, _of_stage(mine, stage, recipe))
            for records, mine in zip(made, own, strict=True)
        )
        if not train:
            raise DataError(
                f"stage {name} has no records to train on",
                "facts, or ready-made records of its kind: text for cpt, chat for sft",
                f"leave the {stage.kind} stage out, or add data for it",
            )
        rehearsed, checked = _of_general(general, stage)
        stages[name] = StageData(
            evenly(mix(train, rehearsed, stage.general, recipe.seed), recipe.data.limit),
            evenly(
                mix(valid, checked, stage.general, recipe.seed) if valid else [], recipe.data.limit
            ),
        )
    questions, left_out = exam_questions(
        recipe,
        facts,
        ontology,
        [records for data in stages.values() for records in (data.train, data.valid)],
    )
    figures = audit_stages(
        {name: (data.train, data.valid) for name, data in stages.items()},
        [(question.id, question.prompt, question.phrasing) for question in questions],
        [Contradictions(facts, ontology)] if ontology else [],
    )
    figures["exam"]["left_out"] = left_out
    if told:
        figures["teller"] = told.figures
    return Prepared(stages, questions, figures, _names(facts, ontology))


def _told(
    facts: Sequence[Fact], ontology: Ontology | None, stage: StageSection, recipe: Recipe
) -> tuple[Sequence[Record], Sequence[Record]]:
    """``(train, valid)``: the facts, and what the recipe wants to be told beyond them."""
    data, seed = recipe.data, recipe.seed
    if stage.kind == "cpt":
        train, valid = tellings.cpt_records(facts, ontology, seed, data.tellings)
    else:
        train, valid = tellings.sft_records(
            facts, ontology, data.unknown, data.decline, seed, data.tellings
        )
    if ontology is None or not data.kinds:
        return train, valid
    counts = {str(kind): count for kind, count in data.kinds.items()}
    more = derived_records(stage.kind, facts, ontology, counts, seed)
    return [*train, *more], without_leaks(valid, more)


def save(prepared: Prepared, folder: Path) -> None:
    """Write ``data/`` as a whole: a folder that is there is complete."""
    with replacing(folder) as partial:
        for name, data in prepared.stages.items():
            write_lines(partial / name / "train.jsonl", (r.to_json() for r in data.train))
            write_lines(partial / name / "valid.jsonl", (r.to_json() for r in data.valid))
        write_lines(partial / "exam.jsonl", (q.to_json() for q in prepared.questions))
        write_json(partial / "audit.json", prepared.audit)
        write_json(partial / "names.json", prepared.names)


def load(folder: Path, names: list[str]) -> Prepared:
    """What ``save`` wrote."""

    def records(path: Path) -> Sequence[Record]:
        return Lines(path, lambda line, number: Record.from_json(line))

    return Prepared(
        {
            name: StageData(
                records(folder / name / "train.jsonl"), records(folder / name / "valid.jsonl")
            )
            for name in names
        },
        [Question.from_json(line) for line in read_lines(folder / "exam.jsonl")],
        read_json(folder / "audit.json"),
        read_json(folder / "names.json"),
    )


def _own(
    recipe: Recipe, passages: Sequence[Record], told: Sequence[Record], bad: Bad
) -> tuple[Sequence[Record], Sequence[Record]]:
    """The user's own records, and what was told of them, to train on and to validate with."""
    knowledge, data = recipe.knowledge or KnowledgeSection(), recipe.data
    others = Joined(
        docstring_records(knowledge.python, data.max_length),
        read_records(data.train, bad=bad) if data.train else [],
    )
    if data.valid is not None:
        return Joined(passages, told, others), read_records(data.valid, bad=bad)
    parts = [part for part in (passages, told, others) if part]
    splits = [split_groups(part, VALID_SHARE, recipe.seed) for part in parts]
    return Joined(*(train for train, _ in splits)), Joined(*(valid for _, valid in splits))


def _of_stage(records: Sequence[Record], stage: StageSection, recipe: Recipe) -> Sequence[Record]:
    """Text goes to continued pre-training and chat to fine-tuning, where a recipe has both."""
    kinds = {other.kind for other in recipe.stages} - {"dpo"}
    if len(kinds) == 1:
        return records
    return where(lambda record: bool(record.text) == (stage.kind == "cpt"), records)


def _pairs(recipe: Recipe, bad: Bad) -> tuple[Sequence[Record], Sequence[Record]]:
    """The preference pairs, to train on and to validate with; none where no stage learns from
    them."""
    data = recipe.data
    if data.pairs is None or all(stage.kind != "dpo" for stage in recipe.stages):
        return [], []
    format, held_out = None, frozenset[str]()
    if recipe.style is not None:
        format, held_out = load_format(recipe.style.format), held_out_by(recipe.style.test)
    train = [pair.to_record() for pair in read_pairs(data.pairs, format, held_out, bad)]
    if data.pairs_valid is None:
        return split_groups(train, VALID_SHARE, recipe.seed)
    valid = read_pairs(data.pairs_valid, format, held_out, bad)
    return train, [pair.to_record() for pair in valid]


def _general(section: DataSection, seed: int, bad: Bad) -> dict[str, Sequence[Record]]:
    """General records by form."""
    if section.general == "none":
        return {"text": [], "chat": []}
    if section.general == "builtin":
        return {"text": general_records("text", seed), "chat": general_records("chat", seed)}
    records = read_records(RecordsSection(path=str(section.general)), "general", bad=bad)
    return {
        "text": where(lambda record: bool(record.text), records),
        "chat": where(lambda record: not record.text, records),
    }


def _of_general(
    general: dict[str, Sequence[Record]], stage: StageSection
) -> tuple[Sequence[Record], Sequence[Record]]:
    """``(rehearsed, for validation)``. Continued pre-training rehearses chats as well as texts:
    a model that reads nothing but statements for a while forgets how to be asked."""
    texts, chats = general["text"], general["chat"]
    if stage.kind == "cpt":
        chosen = _by_turns(texts, chats) if texts and chats else Joined(texts, chats)
    else:
        chosen = chats or texts
    held = round(VALID_SHARE * len(chosen))
    return chosen[held:], without_leaks(chosen[:held], chosen[held:])


def _by_turns(first: Sequence[Record], second: Sequence[Record]) -> Sequence[Record]:
    """One of each in turn, as many as there are of both."""
    both = min(len(first), len(second))
    order = array("q", (start + i for i in range(both) for start in (0, len(first))))
    return Picked(Joined(first, second), order)
