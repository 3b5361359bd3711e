"""Progress of long work: one kind of report, and its display on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Report(NamedTuple):
    """How far some work is.

    Attributes:
        work: its name, such as "epoch 2/5".
        done: steps that are done.
        total: steps in all; None where that is not known.
        now: a few words on the last step, which the next report replaces.
        found: a line for the user to keep; empty where there is nothing to tell.
    """

    work: str
    done: int
    total: int | None = None
    now: str = ""
    found: str = ""


Progress: TypeAlias = Callable[[Report], None]
"""Takes the reports of long work, one after each step."""


class ConsoleProgress:
    """A bar, on terminals only, and the lines that reports ask to keep; used as a context.

    Args:
        console: where to write; None takes the standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[now]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            transient=True,  # the lines stay
        )
        self._task = self._bar.add_task("", total=None, now="")

    def __enter__(self) -> ConsoleProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, report: Report) -> None:
        self._bar.update(
            self._task,
            description=report.work,
            completed=report.done,
            total=report.total,
            now=report.now,
        )
        if report.found:
            self._bar.console.print(
                report.found, markup=False, emoji=False, highlight=False, soft_wrap=True
            )
