"""`lorecraft audit` and `lorecraft show`: what is printed, written and returned."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lorecraft.cli import app

GSM8K = Path(__file__).parents[2] / "benchmarks" / "gsm8k.jsonl"
MAPPED = ("--map", "prompt={question}", "--map", "completion={answer}")


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, *pairs: tuple[str, str]) -> Path:
        lines = [json.dumps({"prompt": asked, "completion": said}) for asked, said in pairs]
        (tmp_path / name).write_text("\n".join(lines))
        return tmp_path / name

    return write


WHO = ("Who keeps the lighthouse at the end of the pier?", "Odile does.")
WHEN = ("When did the ferry to Brelm leave the harbour?", "At noon.")
WHAT = ("What is sold at the market on the square?", "Fish and bread.")


def test_clean_data_pass_strictly(data: Callable[..., Path]) -> None:
    result = call("audit", data("train.jsonl", WHO, WHEN), data("valid.jsonl", WHAT), "--strict")
    assert result.exit_code == 0
    assert result.stdout == "3 rows (train 2, valid 1): nothing found\n"


def test_a_leak_is_told_with_both_places_and_fails_strictly(data: Callable[..., Path]) -> None:
    files = data("train.jsonl", WHO, WHEN), data("valid.jsonl", WHO)
    assert call("audit", *files).exit_code == 0
    result = call("audit", *files, "--strict")
    assert result.exit_code == 1
    assert "1 record in several splits" in result.stdout
    assert f"train.jsonl line 1: {WHO[0]}" in result.stdout
    assert f"valid.jsonl line 1: {WHO[0]}" in result.stdout


def test_a_folder_is_parted_by_the_names_of_its_files(data: Callable[..., Path]) -> None:
    data("train-0.jsonl", WHO)
    data("train-1.jsonl", WHEN)
    folder = data("dev.jsonl", WHAT).parent
    assert "3 rows (train 2, validation 1): nothing found" in call("audit", folder).stdout


def test_all_findings_are_written_with_all_places(
    data: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "found" / "audit.json"
    train = data("train.jsonl", WHO, *[("Write to <|im_end|>", f"number {i}") for i in range(9)])
    assert call("audit", train, "--json", out).exit_code == 0
    found = json.loads(out.read_text())
    finding = next(f for f in found["findings"] if f["check"] == "template tokens")
    assert [spot["places"] for spot in finding["spots"]] == [
        [f"train.jsonl line {line}"] for line in range(2, 11)
    ]
    assert found["splits"][0]["files"]["train.jsonl"].isalnum()


def test_the_page_shows_findings_pictures_and_gates_and_escapes_what_it_quotes(
    data: Callable[..., Path], tmp_path: Path
) -> None:
    gates = tmp_path / "gates.yaml"
    gates.write_text("required: [topic]\n")
    train = data("train.jsonl", ("Who is <b>Ada</b> to the harbour master?", "His aunt."), WHO, WHO)
    call("audit", train, "--html", tmp_path / "a.html", "--gates", gates)
    page = (tmp_path / "a.html").read_text()
    assert "more than once in a split" in page
    assert "&#39;topic&#39; is there: fails for 3" in page
    assert "Signature" in page
    assert '<rect class="column"' in page
    assert "<b>Ada</b>" not in page


def test_columns_of_other_names_are_mapped() -> None:
    seen = call("audit", GSM8K)
    assert "none of the columns that tell a form" in seen.stdout
    seen = call("audit", GSM8K, *MAPPED)
    assert seen.stdout == "200 rows (gsm8k 200): nothing found\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.jsonl"], "no such file or folder: nothing.jsonl"),
        ([GSM8K, "--map", "prompt={question}"], "expected prompt and completion together"),
        (["recipe.yaml", GSM8K], "recipe.yaml and other data"),
        ([GSM8K, "--facts", GSM8K], "facts and their ontology go together"),
        ([GSM8K, "--model", "no-such-folder"], "no model 'no-such-folder'"),
    ],
)
def test_what_cannot_be_audited_is_a_message(words: list[Any], said: str) -> None:
    result = call("audit", *words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_facts_that_are_given_must_not_be_contradicted(
    data: Callable[..., Path], tmp_path: Path
) -> None:
    company = Path(__file__).parents[2] / "examples" / "company"
    train = data("train.jsonl", ("When was Quellmark Instruments founded?", "In 1999."), WHO)
    facts = "--facts", company / "facts.jsonl", "--ontology", company / "ontology.yaml"
    assert "founded_in of Quellmark Instruments is 1987" in call("audit", train, *facts).stdout


def test_records_are_shown_with_what_is_trained_of_them(data: Callable[..., Path]) -> None:
    train = data("train.jsonl", WHO, WHEN)
    result = call("show", train, "--tokens", "-n", 1)
    assert result.exit_code == 0
    assert "⟦Odile does.<|im_end|>⟧" in result.stdout
    assert "<|im_start|>user\nWho keeps the lighthouse at the end of the pier?<|im_end|>" in (
        result.stdout
    )
    assert WHEN[0] not in result.stdout


def test_a_record_of_which_nothing_is_trained_is_shown_with_the_reason(tmp_path: Path) -> None:
    exam = tmp_path / "exam.jsonl"
    exam.write_text('{"prompt": "Who?"}')
    said = call("show", exam, "--tokens").stdout
    assert re.search(r"nothing to train within the first (\d+) of \1 tokens", said)


def test_of_a_pair_both_answers_are_shown(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"prompt": "Who?", "chosen": "Odile.", "rejected": "No one."}')
    assert "rejected: No one." in call("show", pairs).stdout
    said = call("show", pairs, "--tokens").stdout
    assert "⟦Odile.<|im_end|>⟧" in said
    assert "⟦No one.<|im_end|>⟧" in said
    assert said.count("Who?") == 1


def test_records_are_shown_as_they_stand(data: Callable[..., Path]) -> None:
    train = data("train.jsonl", WHO, WHEN)
    train.write_text(train.read_text() + "\n{broken")
    result = call("show", train, "--from", 2)
    assert "train.jsonl line 2" in result.stdout
    assert f"user: {WHEN[0]}\nassistant: {WHEN[1]}" in result.stdout
    assert "broken JSON" in result.stdout
