"""The commands put together, and what becomes of their errors.

Exit codes: 0 done, 1 a text that `check` refuses or data that
`audit --strict` finds something in, 2 something the user can mend, 3 a requirement
that was not met, 130 stopped by the keyboard. A traceback means a defect of ours.
"""

from __future__ import annotations

import errno
import shlex
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lorecraft import __version__
from lorecraft.cli import (
    ask,
    audit,
    chat,
    check,
    dashboard,
    examine,
    extract,
    graph,
    init,
    logs,
    plan,
    prepare,
    report,
    resume,
    run,
    runs,
    show,
    sweep,
    train,
)
from lorecraft.errors import LorecraftError

STOPPED = 130
RESUMABLE = ("run", "resume", "prepare", "train", "examine", "sweep")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EIO)


class Commands(TyperGroup):
    """Turns errors into messages and exit codes, in one place for all commands."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LorecraftError as error:
            typer.echo(f"lorecraft: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            if error.errno not in (*FULL, *CLOSED):
                raise
            typer.echo(f"lorecraft: {_of_the_disk(error)}", err=True)
            raise typer.Exit(LorecraftError.exit_code) from None
        except KeyboardInterrupt:
            again = f"; `lorecraft {shlex.join(_again(sys.argv[1:]))}` goes on where it was"
            typer.echo("stopped" + (again if ctx.invoked_subcommand in RESUMABLE else ""), err=True)
            raise typer.Exit(STOPPED) from None


def _of_the_disk(error: OSError) -> LorecraftError:
    seen = f"{error.strerror}: {error.filename or 'the disk'}"
    if error.errno in FULL:
        return LorecraftError(
            seen,
            "room for it; what was finished before is whole",
            "free some space there, then the same command goes on where it was",
        )
    return LorecraftError(
        seen,
        "a file that can be read, or a folder that can be written",
        "look at its permissions and its disk, or take another folder (`output` in a recipe)",
    )


def _again(arguments: list[str]) -> list[str]:
    """The command less what would begin anew."""
    kept = [word for word in arguments if word != "--force" and not word.startswith("--from=")]
    if "--from" in kept:
        at = kept.index("--from")
        del kept[at : at + 2]
    return kept


app = typer.Typer(
    cls=Commands,
    help="Teach an open language model your knowledge with LoRA, and prove what it learned and "
    "forgot.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich's help takes longer to import than everything else
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lorecraft {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


app.command("init")(init.init)
app.command("plan")(plan.plan)
app.command("run")(run.run)
app.command("resume")(resume.resume)
app.command("prepare")(prepare.prepare)
app.command("train")(train.train)
app.command("examine")(examine.examine)
app.command("extract")(extract.extract)
app.command("report")(report.report)
app.command("sweep")(sweep.sweep)
app.command("dashboard")(dashboard.dashboard)
app.command("logs")(logs.logs)
app.command("audit")(audit.audit)
app.command("show")(show.show)
app.command("check")(check.check)
app.command("graph")(graph.graph)
app.command("ask")(ask.ask)
app.command("chat")(chat.chat)
app.add_typer(runs.app, name="runs")


def main() -> None:
    """Entry point of the console command."""
    app()
