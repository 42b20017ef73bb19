"""`lorecraft plan`: what a run will take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lorecraft.cli.targets import TARGET_HELP, locate

if TYPE_CHECKING:
    from rich.table import Table

    from lorecraft.runs.plan import Plan


def plan(target: Annotated[str, typer.Argument(help=TARGET_HELP)]) -> None:
    """Show what a run will take: steps, tokens, time, memory, disk and downloads; start nothing.

    Ends with exit code 2 when it cannot fit.
    """
    from rich.console import Console

    from lorecraft.cli.progress import TerminalProgress
    from lorecraft.runs import pipeline

    found = pipeline.plan(locate(target), progress=TerminalProgress())
    console = Console()
    console.print(_work(found))
    console.print(_room(found))
    found.check()


def _work(plan: Plan) -> Table:
    from rich.table import Table

    from lorecraft.runs.plan import duration

    def shown(figure: int | None) -> str:
        return "-" if figure is None else f"{figure:,}"

    def about(seconds: float | None) -> str:
        return "-" if seconds is None else duration(seconds)

    names = ("", "records", "validated", "steps", "tokens", "longest", "cut", "split", "time")
    table = Table(*names, title=_model(plan), title_justify="left")
    for stage in plan.stages:
        counts = (stage.records, stage.valid, stage.steps, stage.tokens)
        lengths = (stage.longest, stage.cut, stage.split)
        table.add_row(stage.name, *map(shown, counts + lengths), about(stage.seconds))
    asked = f"{plan.exam.questions:,} questions"
    table.add_row("exam", asked, *[""] * 6, about(plan.exam.seconds))
    table.add_row("all", *[""] * 7, about(plan.seconds))
    return table


def _model(plan: Plan) -> str:
    if plan.parameters is None:
        return f"{plan.model}: not here, and the hub is out of reach"
    return (
        f"{plan.model}: {plan.parameters:,} parameters, {plan.trained:,} trained; "
        f"{plan.dtype} on {plan.device}"
    )


def _room(plan: Plan) -> Table:
    from rich.table import Table

    from lorecraft.runs.memory import gigabytes

    table = Table("", "needed", "there", "of which")

    def row(name: str, needed: int, there: int | None, parts: dict[str, int]) -> None:
        made_of = ", ".join(f"{part} {gigabytes(size)}" for part, size in parts.items() if size)
        table.add_row(name, gigabytes(needed), "-" if there is None else gigabytes(there), made_of)

    memory = plan.memory
    if memory is not None:
        row(f"memory, {memory.during}", memory.peak, memory.available, memory.parts)
    for disk in plan.disks:
        row(f"disk, {disk.folder}", disk.needed, disk.free, disk.parts)
    if plan.download is None:
        table.add_row("download", "not known", "", "")
    elif plan.download:
        row("download", sum(plan.download.values()), None, plan.download)
    return table
