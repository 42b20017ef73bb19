"""The notes: what their README promises of the records, the split and the pairs."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lorecraft.data.pairs import read_pairs
from lorecraft.data.similar import Similar
from lorecraft.data.sources import read_records
from lorecraft.knowledge.ontology import normal
from lorecraft.recipe import DatasetSection, RecordsSection
from lorecraft.style.check import check, count_words
from lorecraft.style.load import load_format
from lorecraft.style.near_misses import FLAWS

NOTES = Path(__file__).parents[2] / "examples" / "notes"
FORMAT = load_format(NOTES / "format.yaml")
CONTENT = ("unsupported_claim", "generic_limitation")

Lines = dict[str, list[dict[str, Any]]]


def lines_of(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (NOTES / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def records() -> Lines:
    return {name: lines_of(f"{name}.jsonl") for name in ("train", "valid", "test")}


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notes_make", NOTES / "make.py")
    assert spec and spec.loader
    module = sys.modules["notes_make"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def everything(records: Lines) -> list[dict[str, Any]]:
    return [record for some in records.values() for record in some]


def paragraph(record: dict[str, Any]) -> str:
    return str(record["messages"][0]["content"])


def answer(record: dict[str, Any]) -> str:
    return str(record["messages"][1]["content"])


def test_the_files_are_what_the_script_makes(make: ModuleType, records: Lines) -> None:
    splits = make.split(make.load_concepts())
    made = {name: [r for c in some for r in make.records_of(c)] for name, some in splits.items()}
    assert made == records
    pairs = make.pairs_of(records["train"], splits["train"], FORMAT)
    assert [pair.to_json() for pair in pairs] == lines_of("pairs.jsonl")


def test_there_are_as_many_as_promised(records: Lines) -> None:
    assert {name: len(some) for name, some in records.items()} == {
        "train": 400,
        "valid": 75,
        "test": 125,
    }
    every = everything(records)
    for key, count in (("id", 600), ("sha256", 600), ("topic", 8), ("difficulty", 3)):
        assert len({record[key] for record in every}) == count
    assert len({record["facts"][0] for record in every}) == 120
    assert sum(record["source"] == "written" for record in every) == 64
    for name in records:
        assert len({record["topic"] for record in records[name]}) == 8
        assert len({record["difficulty"] for record in records[name]}) == 3


def test_the_hash_is_that_of_the_normal_paragraph(records: Lines) -> None:
    for record in everything(records):
        digest = hashlib.sha256(normal(paragraph(record)).encode()).hexdigest()
        assert record["sha256"] == digest


def test_every_answer_keeps_to_the_format(records: Lines) -> None:
    broken = {record["id"]: check(FORMAT, answer(record)) for record in everything(records)}
    assert {id_: found for id_, found in broken.items() if found} == {}


def test_a_small_model_can_hold_them(records: Lines) -> None:
    for record in everything(records):
        assert 35 <= count_words(paragraph(record)) <= 90
        assert 45 <= count_words(answer(record)) <= 90


def test_no_concept_of_the_test_stands_in_training(records: Lines) -> None:
    rest = records["train"] + records["valid"]
    told = normal(" ".join(paragraph(record) + answer(record) for record in rest))
    tested = {record["facts"][0] for record in records["test"]}
    assert len(tested) == 25
    assert tested.isdisjoint(record["facts"][0] for record in rest)
    assert [name for name in sorted(tested) if normal(name) in told] == []


def test_no_concept_stands_on_two_sides(records: Lines) -> None:
    sides = {name: {record["facts"][0] for record in some} for name, some in records.items()}
    assert {name: len(side) for name, side in sides.items()} == {
        "train": 80,
        "valid": 15,
        "test": 25,
    }
    assert len(set.union(*sides.values())) == 120


def test_no_paragraph_is_nearly_another(records: Lines) -> None:
    test = Similar([paragraph(record) for record in records["test"]])
    rest = [(record["id"], paragraph(record)) for record in records["train"] + records["valid"]]
    assert max((score for _, _, score in test.matches(rest)), default=0.0) < 0.3
    assert list(Similar([paragraph(record) for record in everything(records)]).pairs()) == []


def test_lorecraft_reads_them(records: Lines) -> None:
    for name, some in records.items():
        assert len(read_records(RecordsSection(path=str(NOTES / f"{name}.jsonl")))) == len(some)


@pytest.mark.parametrize(
    ("file", "side"), [("pairs.jsonl", "train"), ("pairs-valid.jsonl", "valid")]
)
def test_each_pair_has_one_known_flaw(records: Lines, file: str, side: str) -> None:
    held_out = {record["id"] for record in records["test"]}
    pairs = read_pairs(DatasetSection(path=str(NOTES / file)), FORMAT, held_out)
    answers = {record["id"]: answer(record) for record in records[side]}
    assert len({pair.id for pair in pairs}) == len(pairs) == 2 * len(answers)
    counts = Counter(pair.flaw for pair in pairs)
    assert set(counts) == {*FLAWS, *CONTENT}
    assert max(counts.values()) - min(counts.values()) <= 3
    for pair in pairs:
        assert pair.chosen == answers[pair.source]
        wanted = [] if pair.flaw in CONTENT else [FLAWS[pair.flaw][0]]
        assert [broken.rule for broken in check(FORMAT, pair.rejected)] == wanted
        assert pair.rule == "".join(wanted)


def test_an_unsupported_claim_is_nowhere_in_the_paragraph() -> None:
    for pair in read_pairs(DatasetSection(path=str(NOTES / "pairs.jsonl"))):
        if pair.flaw == "unsupported_claim":
            (claim,) = set(pair.rejected.splitlines()) - set(pair.chosen.splitlines())
            assert normal(claim) not in normal(pair.prompt[0].content)
