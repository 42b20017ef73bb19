"""`lorecraft graph`: counts, ways, queries, pictures and files of the knowledge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lorecraft.cli import app

COMPANY = Path(__file__).parents[2] / "examples" / "company"


def graph(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["graph", *map(str, words)])
    return result.exit_code, result.stdout, result.stderr


def facts(folder: Path, *triples: tuple[str, str, str]) -> Path:
    path = folder / "facts.jsonl"
    path.write_text("\n".join(json.dumps({"text": " ".join(t), "triple": t}) for t in triples))
    return path


def test_counts_are_shown() -> None:
    code, out, _ = graph(COMPANY)
    assert code == 0
    assert "29 things, 64 values, 85 facts" in out
    assert "most facts: Harrow Quay 6" in out


def test_facts_alone_are_a_graph_too(tmp_path: Path) -> None:
    code, out, _ = graph(facts(tmp_path, ("A", "by", "B"), ("B", "by", "C")), "--path", "a", "C")
    assert (code, out) == (0, "A -- by --> B    f001\nB -- by --> C    f002\n")


def test_a_way_names_every_step_and_its_source() -> None:
    code, out, _ = graph(COMPANY, "--path", "otterline", "Maren Oskalde")
    assert code == 0
    assert [line.split("    ")[0] for line in out.splitlines()] == [
        "Otterline -- made_at --> Harrow Quay",
        "Harrow Quay <-- office_at -- Yusra Bellamine",
        "Yusra Bellamine -- reports_to --> Maren Oskalde",
    ]
    assert out.splitlines()[0].endswith("f026 catalogue.md#otterline")
    code, out, _ = graph(COMPANY, "--path", "otterline", "Otterline")
    assert (code, out) == (0, "otterline and Otterline are one: Otterline\n")
    code, out, _ = graph(COMPANY, "--path", "Copper Annex", "Piet Solvander")
    assert (code, out) == (0, "nothing that is told links Copper Annex and Piet Solvander\n")


def test_a_query_is_answered_in_columns() -> None:
    code, out, err = graph(COMPANY, "--query", "SELECT ?who ?town { ?who r:held_in ?town }")
    assert (code, err) == (0, "")
    assert sorted(out.splitlines()) == [
        "Ebb Day\tScallowick",
        "Project Saltmarsh\tMerrin Sound",
        "who\ttown",
    ]
    code, out, err = graph(COMPANY, "--query", "SELECT ?who { ?who r:hold_in ?town }")
    assert (code, out) == (0, "who\n")
    assert "no relation 'hold_in'; did you mean 'held_in'?" in err


def test_what_commands_a_terminal_is_shown_escaped(tmp_path: Path) -> None:
    path = facts(tmp_path, ("A", "is", "\x1b[2J\nred"))
    for words in (("--query", "SELECT ?x { ?s r:is ?x }"), ("--path", "A", "\x1b[2J\nred"), ()):
        code, out, _ = graph(path, *words)
        assert code == 0
        assert "\x1b" not in out
    assert "\\x1b[2J\\nred" in graph(path, "--query", "SELECT ?x { ?s r:is ?x }")[1]


@pytest.mark.parametrize("name", ["out.svg", "out.html", "out.ttl", "out.jsonld", "out.graphml"])
def test_a_picture_or_a_file_is_written_and_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    option = "--picture" if path.suffix in (".svg", ".html") else "--export"
    code, out, _ = graph(COMPANY, option, path)
    assert (code, out) == (0, f"{path}\n")
    assert "Otterline" in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--path", "Oterline", "Vessmouth"], "nothing is called 'Oterline'; did you mean"),
        (["--query", "SELECT"], "the query is no SPARQL, line 1"),
        (["--picture", "out.png"], "no picture ends in '.png'"),
        (["--export", "out.csv"], "no form ends in '.csv'"),
        (["--ontology", "ontology.yaml"], "a recipe names its own ontology"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = graph(COMPANY, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert not list(tmp_path.iterdir())


def test_facts_without_triples_are_no_graph(tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text('{"text": "It rains."}')
    code, out, err = graph(path, "--picture", tmp_path / "out.svg")
    assert (code, out) == (2, "")
    assert "none of 1 facts has a triple" in err
    assert not (tmp_path / "out.svg").exists()


def test_facts_that_break_the_ontology_are_named_and_nothing_is_drawn(tmp_path: Path) -> None:
    path = facts(tmp_path, ("Pell Tower", "located_in", "X"), ("Pell Tower", "located_in", "Y"))
    code, _, err = graph(
        path, "--ontology", COMPANY / "ontology.yaml", "--picture", tmp_path / "out.svg"
    )
    assert code == 2
    assert "located_in of Pell Tower is Y here and X before (facts.jsonl line 1)" in err
    assert not (tmp_path / "out.svg").exists()
