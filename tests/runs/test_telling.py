"""A recipe with a teller: what it says is trained, counted and paid for once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorecraft.errors import DataError
from lorecraft.runs import pipeline
from lorecraft.runs.progress import Silent

WriteRecipe = Callable[..., Path]
Server = Any


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.figures: dict[str, Any] = {}

    def note(self, text: str) -> None:
        self.said.append(text.strip())

    def advance(self, amount: int, **figures: Any) -> None:
        self.figures |= figures


@pytest.fixture
def recipe(write_recipe: WriteRecipe, server: Server, tmp_path: Path) -> Callable[..., Path]:
    (tmp_path / "guide").mkdir()
    for name in ("Lumen Pier", "Tern Rock"):
        text = f"# {name}\n{name} is painted red. Its lamp burns rape oil. It was lit in 1931."
        (tmp_path / f"guide/{name}.md").write_text(text)

    def write(stages: Any = None, **changes: Any) -> Path:
        teller = {"endpoint": server.url, "model": "big", "price": [1, 2], "chats": 3}
        knowledge = {"documents": "guide", "teller": teller | changes}
        few = {"data": {"general": "none"}, "exam": {"max_new_tokens": 2, "limit": 1}}
        return write_recipe(knowledge=knowledge, stages=stages, **few)

    return write


def records(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.glob("data/*/*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_texts_and_questions_go_to_their_stages(
    recipe: Callable[..., Path], server: Server
) -> None:
    notes = Notes()
    folder = pipeline.prepare(recipe(), progress=notes).folder
    assert {path.name for path in folder.glob("data/*") if path.is_dir()} == {"cpt", "sft"}
    told = [record for record in records(folder) if record["origin"] == "told"]
    assert {"messages" in record for record in told} == {True, False}
    audit = json.loads((folder / "data/audit.json").read_text())["teller"]
    assert sum(audit["kept"].values()) == len(told) + 3
    asked = len(server.asked)
    assert audit["tokens"] == {"prompt": 100 * asked, "completion": 20 * asked}
    assert audit["cost"] == pytest.approx(asked * 140 / 1e6)
    assert notes.figures["tokens"] == 120 * asked
    assert any(
        f"{120 * asked:,} tokens, cost {asked * 140 / 1e6:.3g}" in line for line in notes.said
    )


def test_a_report_says_what_was_used_and_what_not(
    recipe: Callable[..., Path], server: Server
) -> None:
    well = server.say
    server.say = lambda body: "I cannot." if len(server.asked) < 3 else well(body)
    stages = [{"kind": "cpt", "epochs": 1, "limits": {"steps": 1}}]
    folder = pipeline.run(recipe(stages=stages, at_once=1), progress=Silent()).folder
    report = (folder / "report.md").read_text()
    assert "records from 9 answers, 1,080 tokens, cost 0.00126." in report
    assert "teller: not used: 2 no JSON" in report


def test_a_plan_asks_nobody(recipe: Callable[..., Path], server: Server) -> None:
    with pytest.raises(
        DataError, match=r"9 requests to make, and a plan asks nobody\n.*\n.*prepare"
    ):
        pipeline.plan(recipe(), progress=Silent())
    assert not server.asked
    pipeline.prepare(recipe(), progress=Silent())
    notes = Notes()
    pipeline.plan(recipe(per_passage=3), progress=notes)
    assert len(server.asked) == 9
    assert "teller: 2 of 11 requests are still to be made" in notes.said


def test_a_server_that_goes_away_costs_nothing_twice(
    recipe: Callable[..., Path], server: Server
) -> None:
    path = recipe(at_once=1)
    server.statuses = [200] * 5 + [401]
    with pytest.raises(DataError, match="401"):
        pipeline.prepare(path, progress=Silent())
    notes = Notes()
    server.statuses = [401]
    folder = pipeline.prepare(path, keep_going=True, progress=notes).folder
    assert "left out: 4 requests" in notes.said
    assert len([record for record in records(folder) if record["origin"] == "told"]) > 3
    (folder / "data/prepared.json").unlink()
    pipeline.prepare(path, progress=Silent())
    assert len(server.asked) == 9 + 2


def test_what_is_prepared_needs_no_cache_and_hangs_on_what_is_asked(
    recipe: Callable[..., Path], server: Server, tmp_path: Path
) -> None:
    pipeline.prepare(recipe(), progress=Silent())
    shutil.rmtree(tmp_path / "cache")
    pipeline.prepare(recipe(timeout=7, at_once=1), progress=Silent())
    assert len(server.asked) == 9
    pipeline.prepare(recipe(model="bigger"), progress=Silent())
    assert len(server.asked) == 18


def test_the_key_stands_nowhere_in_the_run_s_folder(
    recipe: Callable[..., Path], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELLER_KEY", "sk-secret")
    folder = pipeline.prepare(recipe(key="$TELLER_KEY"), progress=Silent()).folder
    assert set(server.keys) == {"Bearer sk-secret"}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files and not any(b"sk-secret" in path.read_bytes() for path in files)
    assert "$TELLER_KEY" in (folder / "recipe.yaml").read_text()


def test_the_base_model_itself_may_be_asked(recipe: Callable[..., Path], server: Server) -> None:
    path = recipe(
        endpoint="base", model=None, price=None, depths=[], relations=0, chats=0, max_new_tokens=3
    )
    folder = pipeline.prepare(path, progress=Silent()).folder
    audit = json.loads((folder / "data/audit.json").read_text())["teller"]
    assert not server.asked
    assert audit["answered"] == 4 and sum(audit["failed"].values()) == 4
    assert audit["tokens"]["completion"] > 0
    assert pipeline.plan(path, progress=Silent()).stages  # of what it has said
