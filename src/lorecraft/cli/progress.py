"""Progress on the terminal: bars where there is one, a plain line now and then where not.

It goes to standard error, so that standard output holds results alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

PLAIN_SECONDS = 10.0

Figure = float | str


class TerminalProgress:
    """The ``Progress`` of runs/progress.py for people.

    Args:
        console: where to write; standard error if not given.
        clock: seconds that never go back; given by tests.
    """

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[figures]}", style="dim"),
            console=self._console,
        )

    def note(self, text: str) -> None:
        """Say something once."""
        self._console.print(Text(text), soft_wrap=True)

    def stage(self, name: str, total: int, unit: str) -> BarStage | PlainStage:
        """A piece of work of ``total`` units, to be entered with ``with``."""
        if self._console.is_terminal:
            return BarStage(self._bars, name, total, unit)
        return PlainStage(self.note, self._clock, name, total, unit)


class BarStage:
    """A bar that moves."""

    def __init__(self, bars: Progress, name: str, total: int, unit: str) -> None:
        self._bars = bars
        self._task: TaskID = bars.add_task(name, total=total, unit=unit, figures="", start=False)

    def __enter__(self) -> BarStage:
        self._bars.start()
        self._bars.start_task(self._task)
        return self

    def advance(self, amount: int, **figures: Figure) -> None:
        """``amount`` more units are done; ``figures`` are shown until newer ones come."""
        self._bars.advance(self._task, amount)
        if figures:
            self._bars.update(self._task, figures=_written(figures))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop_task(self._task)
        if all(task.stop_time is not None for task in self._bars.tasks):
            self._bars.stop()
            for task in self._bars.task_ids:
                self._bars.remove_task(task)


class PlainStage:
    """A line every ten seconds, and one at the end."""

    def __init__(
        self,
        say: Callable[[str], None],
        clock: Callable[[], float],
        name: str,
        total: int,
        unit: str,
    ) -> None:
        self._say, self._clock = say, clock
        self._name, self._total, self._unit = name, total, unit
        self._done = 0
        self._figures: dict[str, Figure] = {}

    def __enter__(self) -> PlainStage:
        self._began = self._said = self._clock()
        return self

    def advance(self, amount: int, **figures: Figure) -> None:
        """``amount`` more units are done; ``figures`` are shown until newer ones come."""
        self._done += amount
        self._figures |= figures
        now = self._clock()
        if now - self._said >= PLAIN_SECONDS and self._done < self._total:
            self._said = now
            left = (now - self._began) * (self._total - self._done) / max(self._done, 1)
            self._line(f"{_duration(left)} left")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._line(f"took {_duration(self._clock() - self._began)}")

    def _line(self, when: str) -> None:
        parts = [f"{self._done}/{self._total} {self._unit}", when, _written(self._figures)]
        self._say(f"{self._name}: " + ", ".join(filter(None, parts)))


def _written(figures: dict[str, Figure]) -> str:
    return ", ".join(
        f"{name.replace('_per_second', '/s').replace('_', ' ')} "
        + (figure if isinstance(figure, str) else f"{figure:.4g}")
        for name, figure in figures.items()
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
