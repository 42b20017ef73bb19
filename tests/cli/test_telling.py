"""What commands print while they work and when they are done."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from rich.console import Console

from lorecraft.cli.chat import _converse
from lorecraft.cli.outcome import tell
from lorecraft.cli.progress import TerminalProgress
from lorecraft.cli.targets import locate, locate_run
from lorecraft.data.records import Message


def outcome(**changes: object) -> SimpleNamespace:
    verdict = {"claims": [{"text": "It knows 95% of the facts."}], "models": {}}
    default = {"folder": Path("runs/x"), "report": None, "unmet": (), "verdict": verdict}
    return SimpleNamespace(**(default | changes))


def test_the_verdict_comes_first_and_the_report_last(capsys: pytest.CaptureFixture[str]) -> None:
    tell(outcome(report=Path("runs/x/report.html")))
    assert capsys.readouterr().out == "It knows 95% of the facts.\nruns/x/report.html\n"


def test_an_unmet_requirement_ends_with_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        tell(outcome(unmet=("recall is 0.80, 0.90 is required",)))
    assert ended.value.exit_code == 3
    told = capsys.readouterr()
    assert told.err == "not met: recall is 0.80, 0.90 is required\n"
    assert told.out.splitlines()[-1] == "runs/x"


def test_without_a_terminal_a_line_is_printed_now_and_then() -> None:
    written, seconds = io.StringIO(), iter([0.0, 4.0, 12.0, 14.0, 30.0, 31.0])
    progress = TerminalProgress(Console(file=written, width=200), clock=lambda: next(seconds))
    progress.note("two stages [of 2]")
    with progress.stage("cpt", 40, "steps") as bar:
        for _ in range(4):
            bar.advance(10, loss=1.23456, tokens_per_second=2000.0)
    assert written.getvalue().splitlines() == [
        "two stages [of 2]",
        "cpt: 20/40 steps, 0:12 left, loss 1.235, tokens/s 2000",
        "cpt: 40/40 steps, took 0:31, loss 1.235, tokens/s 2000",
    ]


def test_on_a_terminal_a_bar_shows_the_figures() -> None:
    written = io.StringIO()
    progress = TerminalProgress(Console(file=written, force_terminal=True, width=120))
    with progress.stage("exam", 2, "questions") as outer:
        with progress.stage("inner", 1, "steps") as inner:
            inner.advance(1)
        outer.advance(2, loss=0.5)
    assert "2/2 questions" in written.getvalue()
    assert "loss 0.5" in written.getvalue()


def test_a_run_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "company").mkdir(parents=True)
    assert locate("company") == Path("runs/company")
    assert locate("company.yaml") == Path("company.yaml")
    (tmp_path / "company").mkdir()
    assert locate("company") == Path("company")


def test_a_recipe_s_folder_does_not_hide_the_run_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("company", "runs/company"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "company" / "recipe.yaml").touch()
    assert locate("company") == Path("company/recipe.yaml")
    assert locate_run("company") == tmp_path / "runs" / "company"
    for name in ("recipe.yaml", "manifest.json"):
        (tmp_path / "runs" / "company" / name).touch()
    assert locate("runs/company") == Path("runs/company")
    assert locate_run("runs/company") == tmp_path / "runs" / "company"


class Echo:
    """Answers with its name, the last question and the number of turns."""

    def ask(self, messages: Sequence[Message], model: str) -> Iterator[str]:
        yield f"{model} heard "
        yield f"{messages[-1].content} ({len(messages)})"


def test_a_chat_remembers_switches_and_resets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ["one", "two", "/base", "three", "/base", "/reset", "", "/what", "four", "/quit", "no"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(said)))
    _converse(Echo().ask, "base", "sft")
    out = capsys.readouterr().out
    answers = [line.split("> ")[-1] for line in out.splitlines() if "heard" in line]
    assert answers == [
        "sft heard one (1)",
        "sft heard two (3)",
        "base heard three (5)",
        "sft heard four (1)",
    ]
    assert "/reset  start anew" in out
