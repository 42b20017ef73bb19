"""Rows become facts as the ontology maps them, each with the row that it comes from."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from lorecraft.errors import DataError
from lorecraft.knowledge.ontology import Ontology
from lorecraft.knowledge.ontology_file import load_ontology
from lorecraft.knowledge.shapes import check
from lorecraft.knowledge.tables import read_tables

RELATION = """
    noun: {0}
    statements: ["The {0} of {{subject}} is {{object}}.", "{{subject}} has the {0} {{object}}."]
    questions: ["What is the {0} of {{subject}}?", "{{subject}}: which {0}?"]
    answer: "{{object}}."
"""
ONTOLOGY = (
    """
classes:
  Lamp: {table: lamps, name: title}
  Maker: {table: makers, key: code}
  Town:
entities:
  Ostrin: {class: Town}
  Gull Lamps: {class: Maker, aliases: [Gull]}
relations:
  price:
    domain: Lamp
    range: Money
    functional: true"""
    + RELATION.format("price")
    + "  maker:\n    domain: Lamp\n    range: Maker\n    column: maker_code"
    + RELATION.format("maker")
    + "  town:\n    domain: Maker\n    range: Town"
    + RELATION.format("town")
    + "  elsewhere:\n    domain: Maker\n    range: Text"
    + RELATION.format("told in facts.jsonl")
)
LAMPS: list[tuple[Any, ...]] = [
    (2, "Beacon", 12.5, "tern"),
    (1, "Harbour  Light", 40.0, "gull"),
    (10, "Spark", None, None),
]
MAKERS = [("gull", "Gull Lamps", "Ostrin"), ("tern", "Tern", None)]
TOLD = [
    ("lamps:1:price", "The price of Harbour Light is 40."),
    ("lamps:2:price", "The price of Beacon is 12.5."),
    ("lamps:1:maker", "The maker of Harbour Light is Gull Lamps."),
    ("lamps:2:maker", "The maker of Beacon is Tern."),
    ("makers:gull:town", "The town of Gull Lamps is Ostrin."),
]


@pytest.fixture
def ontology(tmp_path: Path) -> Ontology:
    path = tmp_path / "ontology.yaml"
    path.write_text(ONTOLOGY)
    return load_ontology(path)


def database(folder: Path, lamps: Any = LAMPS, makers: Any = MAKERS) -> Path:
    path = folder / "shop.db"
    with sqlite3.connect(path) as shop:
        shop.execute("CREATE TABLE lamps (id, title, price, maker_code)")
        shop.execute("CREATE TABLE makers (code, name, town)")
        shop.executemany("INSERT INTO lamps VALUES (?, ?, ?, ?)", lamps)
        shop.executemany("INSERT INTO makers VALUES (?, ?, ?)", makers)
    shop.close()
    return path


def tables(folder: Path) -> Path:
    (folder / "tables").mkdir()
    lines = ["id,title,price,maker_code", "1,Harbour  Light,40,gull", "2,Beacon,12.5,Tern"]
    (folder / "tables/lamps.csv").write_text("\n".join([*lines, "10,Spark,,"]))
    lines = ["code,name,town", "gull,Gull Lamps,Ostrin", "tern,Tern,"]
    (folder / "tables/makers.csv").write_text("\n".join(lines))
    return folder / "tables"


def told(source: Path | str, ontology: Ontology) -> list[tuple[str, str]]:
    facts, filled = read_tables(str(source), ontology)
    check(facts, filled)
    assert {fact.source for fact in facts} == {fact.id.rpartition(":")[0] for fact in facts}
    assert {"Harbour Light", "Beacon", "Spark", "Tern", "Ostrin"} < set(filled.entities)
    assert filled.entities["Gull Lamps"].aliases == ("Gull",)
    return [(fact.id, fact.text) for fact in facts]


def test_an_sqlite_database_and_a_folder_of_tables_tell_the_same(
    tmp_path: Path, ontology: Ontology
) -> None:
    assert told(database(tmp_path), ontology) == TOLD
    assert told(tables(tmp_path), ontology) == TOLD


def test_any_database_is_read_by_its_url(
    tmp_path: Path, ontology: Ontology, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("SHOP", str(database(tmp_path)))
    assert told("sqlite:///$SHOP", ontology) == TOLD


@pytest.mark.parametrize(
    ("lamps", "makers", "said"),
    [
        ([*LAMPS, (2, "Other", 1, None)], MAKERS, "lamps row 3: key 2 stands twice"),
        ([*LAMPS, (3, "beacon", 1, None)], MAKERS, "lamps:3: 'beacon' also names lamps:2"),
        ([(3, "Gull", 1, None)], MAKERS, "lamps:3: 'Gull' also names Gull Lamps"),
        ([(3, "Ostrin", 1, None)], MAKERS, "lamps:3: 'Ostrin' also names Ostrin"),
        ([(3, None, 1, None)], MAKERS, "lamps row 1: no text in 'title'"),
        ([(3, "X", b"\0", None)], MAKERS, r"lamps:3: price is b'\\x00', no text"),
        ([(3, "X", 1, "gul")], MAKERS, "lamps:3: maker_code is 'gul', neither a key nor a name of"),
        (LAMPS, [("tern", "Tern", "Brelm")], "makers:tern: town is 'Brelm', neither"),
    ],
)
def test_rows_that_cannot_be_meant_are_named(
    tmp_path: Path, ontology: Ontology, lamps: Any, makers: Any, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        read_tables(str(database(tmp_path, lamps, makers)), ontology)


def test_all_that_is_missing_is_told_at_once(tmp_path: Path, ontology: Ontology) -> None:
    folder = tables(tmp_path)
    (folder / "makers.csv").rename(folder / "maker.csv")
    (folder / "lamps.csv").write_text("id,title,maker\n1,Beacon,gull\n")
    with pytest.raises(DataError) as refused:
        read_tables(str(folder), ontology)
    assert refused.value.seen.splitlines() == [
        "no table 'makers'; did you mean 'maker'?",
        "lamps: no column 'maker_code'; did you mean 'maker'?",
    ]
    (folder / "lamps.csv").write_text("id,name\n1,Beacon\n")
    with pytest.raises(DataError, match="lamps: no column 'title'; there is id, name"):
        read_tables(str(folder), ontology)


def test_a_broken_database_is_named(tmp_path: Path, ontology: Ontology) -> None:
    path = database(tmp_path)
    path.write_bytes(path.read_bytes()[:100] + b"x" * 5000)
    with pytest.raises(DataError, match=r"shop.db: cannot be read \("):
        read_tables(str(path), ontology)


@pytest.mark.parametrize("prefix", ["", "sqlite:///"])
def test_a_database_that_goes_away_while_it_is_read_is_named(
    tmp_path: Path, ontology: Ontology, prefix: str
) -> None:
    pytest.importorskip("sqlalchemy")
    path = database(tmp_path)
    with sqlite3.connect(path) as shop:
        shop.execute("ALTER TABLE makers RENAME TO gone")
        shop.execute("CREATE VIEW makers AS SELECT * FROM gone")
        shop.execute("PRAGMA legacy_alter_table = ON")
        shop.execute("DROP TABLE gone")
    with pytest.raises(DataError, match=r"shop.db: cannot be read \(.*no such table"):
        read_tables(f"{prefix}{path}", ontology)


def test_a_database_that_does_not_answer_is_named_without_its_password(
    tmp_path: Path, ontology: Ontology
) -> None:
    pytest.importorskip("sqlalchemy")
    for url in (f"sqlite:///{tmp_path}/none/shop.db", "nodb://me:secret@host/shop"):
        with pytest.raises(DataError, match="cannot be read") as refused:
            read_tables(url, ontology)
        assert "secret" not in str(refused.value)


def test_an_ontology_that_maps_no_table_is_refused(tmp_path: Path, ontology: Ontology) -> None:
    bare = Ontology(ontology.classes, ontology.entities, ontology.relations)
    with pytest.raises(DataError, match="no class of the ontology has a table"):
        read_tables(str(database(tmp_path)), bare)
