"""Quality gates: a row passes all of them, or is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lorecraft.data.audit.gates import Gates, GatesSection, load_gates
from lorecraft.errors import DataError
from lorecraft.knowledge.ontology import normal

from .conftest import Look
from .planted import Row, clean

GATES = """
id: id
required: [topic]
values:
  level: [1, 2]
hash: sha256
"""


def sound() -> list[Row]:
    return [
        row
        | {
            "id": f"n{i}",
            "topic": "sea",
            "level": 1 + i % 2,
            "sha256": hashlib.sha256(normal(row["messages"][0]["content"]).encode()).hexdigest(),
        }
        for i, row in enumerate(clean())
    ]


@pytest.fixture
def gates(tmp_path: Path) -> GatesSection:
    (tmp_path / "gates.yaml").write_text(GATES)
    return load_gates(tmp_path / "gates.yaml")


def failed(look: Look, gates: GatesSection, *splits: list[Row]) -> dict[str, int]:
    counts = look(*splits, more=[Gates(gates)]).figures["gates"]
    return {gate: count for gate, count in counts.items() if count}


def test_sound_rows_pass(look: Look, gates: GatesSection) -> None:
    seen = look(sound(), more=[Gates(gates)])
    assert seen.clean
    assert list(seen.figures["gates"].values()) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("column", "value", "gate"),
    [
        ("id", "n1", "'id' is there and comes once"),
        ("id", None, "'id' is there and comes once"),
        ("topic", " ", "'topic' is there"),
        ("level", 3, "'level' has one of its values"),
        ("level", None, "'level' has one of its values"),
        ("sha256", "0" * 64, "'sha256' is the SHA-256 of the normalised input"),
    ],
)
def test_a_row_that_fails_is_counted(
    look: Look, gates: GatesSection, column: str, value: object, gate: str
) -> None:
    rows = sound()
    rows[7][column] = value
    assert failed(look, gates, rows) == {gate: 1}


def test_an_id_may_not_come_again_in_another_split(look: Look, gates: GatesSection) -> None:
    rows = sound()
    other = [row | {"id": f"m{i}"} for i, row in enumerate(sound()[:3])]
    other[1]["id"] = "n39"
    assert failed(look, gates, rows, other) == {"'id' is there and comes once": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("requires: [topic]", ":1: requires: no such key; did you mean required?"),
        ("required: 3", ":1: required: expected"),
        ("- topic", ":1: expected keys such as required:"),
    ],
)
def test_gates_that_cannot_be_read_are_told_with_their_line(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "gates.yaml").write_text(text)
    with pytest.raises(DataError, match=r"gates\.yaml") as error:
        load_gates(tmp_path / "gates.yaml")
    assert said in str(error.value)
