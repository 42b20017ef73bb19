"""The command line: help, a start, and errors as messages with exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lorecraft import __version__
from lorecraft.cli import app
from lorecraft.cli.app import Commands
from lorecraft.errors import DataError
from lorecraft.recipe import load_recipe

COMMANDS = (
    "init",
    "plan",
    "run",
    "resume",
    "prepare",
    "train",
    "examine",
    "report",
    "sweep",
    "dashboard",
    "logs",
    "check",
    "graph",
    "extract",
    "ask",
    "chat",
    "runs",
)


def call(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_help_names_every_command() -> None:
    code, out, _ = call("--help")
    assert code == 0
    assert [name for name in COMMANDS if f"  {name} " not in out] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    code, out, _ = call(command, "--help")
    assert code == 0
    assert "Usage:" in out


def test_help_loads_nothing_heavy() -> None:
    seen = subprocess.run(
        [sys.executable, "-c", "import sys, lorecraft.cli; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert not {"torch", "transformers", "numpy", "pydantic", "yaml", "rich.progress"} & set(seen)


def test_version() -> None:
    assert call("--version") == (0, f"lorecraft {__version__}\n", "")


def test_an_unknown_command_is_a_usage_error() -> None:
    code, _, err = call("trian")
    assert code == 2
    assert "No such command" in err


def test_init_writes_a_recipe_that_loads(tmp_path: Path) -> None:
    folder = tmp_path / "lighthouse"
    code, out, _ = call("init", str(folder))
    assert code == 0
    assert out.splitlines()[-1] == f"next: lorecraft run {folder / 'recipe.yaml'}"
    recipe = load_recipe(folder / "recipe.yaml")
    assert recipe.name == "lighthouse"
    assert len((folder / "facts.jsonl").read_text().splitlines()) == 5


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "facts.jsonl").write_text("mine")
    code, _, err = call("init", str(tmp_path))
    assert code == 2
    assert "would be overwritten" in err
    assert [path.name for path in tmp_path.iterdir()] == ["facts.jsonl"]
    assert (tmp_path / "facts.jsonl").read_text() == "mine"


def test_a_bad_recipe_is_a_message_and_exit_code_2(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("adapter: {rnak: 4}\n")
    code, out, err = call("run", str(recipe))
    assert code == 2
    assert out == ""
    assert "nothing to learn from" in err and "did you mean rank?" in err
    assert "Traceback" not in err


def test_no_runs_is_said(tmp_path: Path) -> None:
    assert call("runs")[0] == 0  # without a command, the list
    code, out, _ = call("runs", "list", "--output", str(tmp_path))
    assert code == 0
    assert out.startswith("no runs in")


def test_a_run_that_is_not_there_is_a_message(tmp_path: Path) -> None:
    code, _, err = call("runs", "show", str(tmp_path / "none"))
    assert code == 2
    assert "no run " in err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            DataError("facts.jsonl line 7: broken JSON", "an object"),
            2,
            "line 7: broken JSON\n  exp",
        ),
        (PermissionError(13, "Permission denied", "runs/x"), 2, "Permission denied: runs/x"),
        (KeyboardInterrupt(), 130, "goes on where it was"),
    ],
)
def test_errors_become_exit_codes(error: BaseException, code: int, message: str) -> None:
    failing = typer.Typer(cls=Commands, pretty_exceptions_enable=False)

    @failing.command("run")
    def run() -> None:
        raise error

    failing.command("other")(lambda: None)
    result = CliRunner().invoke(failing, ["run"])
    assert result.exit_code == code
    assert message in result.stderr


def test_a_defect_of_ours_shows_itself() -> None:
    failing = typer.Typer(cls=Commands, pretty_exceptions_enable=False)

    @failing.command("run")
    def run() -> None:
        raise ZeroDivisionError

    failing.command("other")(lambda: None)
    assert isinstance(CliRunner().invoke(failing, ["run"]).exception, ZeroDivisionError)
