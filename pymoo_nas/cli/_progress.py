"""Live progress of a search: generation, best of each score, candidates per second, time left."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from pymoo.core.callback import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pymoo_nas._machine import Report
from pymoo_nas.runs import Search
from pymoo_nas.search import nothing_found


class SearchProgress(Callback):
    """A bar while a generation or a tournament is under way, and a line for every generation.

    Use it as a context, and as the callback that comes after the tournament.

    Args:
        console: where to write; the bar appears on terminals only, the lines everywhere.
        search: the search; an open context uses ``progress`` of its problem and its tournament.

    Attributes:
        stopping: set it to end the search with a KeyboardInterrupt after the current candidate, or
            after the current step of a tournament.
    """

    def __init__(self, console: Console, search: Search) -> None:
        super().__init__()
        self.console = console
        self.problem = search.problem
        self.tournament = search.tournament
        self.n_generations = n_generations = search.settings.generations
        self.before = search.generations_done
        self.stopping = False
        settings = search.settings
        # The first generation scores as many as survive, where that is more.
        more = 0 if self.before else max(0, settings.population - settings.offspring)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task(
            f"generation {self.before + 1}/{n_generations}",
            total=(n_generations - self.before) * settings.offspring + more,
            speed="",
        )
        self.start = time.perf_counter()
        self.scoring_seconds = 0.0
        self.last = self.start

    def __enter__(self) -> SearchProgress:
        self.problem.progress = self._take
        if self.tournament is not None:
            self.tournament.progress = self._step
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.stop()
        self.problem.progress = None
        if self.tournament is not None:
            self.tournament.progress = None

    def _take(self, report: Report) -> None:
        if report.work != "candidates":
            self._step(report)
            return
        now = time.perf_counter()
        self.scoring_seconds += now - self.last
        self.last = now
        self.bar.update(self.task, completed=report.done, speed=self._speed(report.done))
        self._stop_if_asked()

    def _step(self, report: Report) -> None:
        self.last = time.perf_counter()
        self.bar.update(self.task, speed=f"{report.work}, {report.done}/{report.total}")
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self.stopping:
            raise KeyboardInterrupt

    def _speed(self, n_scored: int) -> str:
        return f"{n_scored / max(self.scoring_seconds, 1e-9):.1f} candidates/s"

    def notify(self, algorithm: Any) -> None:
        """Print the line of a generation."""
        done = algorithm.n_iter
        elapsed = time.perf_counter() - self.start
        left = elapsed / (done - self.before) * (self.n_generations - done)
        judged = [i.F for i in algorithm.pop if i.FEAS[0] and not i.get("degenerate")]
        best = ", ".join(
            f"{name} {min(float(row[index]) for row in judged):.4g}"
            for index, name in enumerate(self.problem.objective_names)
            if judged
        )
        rows = [] if self.tournament is None else self.tournament.data["tournaments"]
        held = bool(rows) and rows[-1]["generation"] == done
        self.console.print(
            f"generation {done}/{self.n_generations}: "
            # What binds is told at once: nobody should wait for a search that finds nothing.
            f"{best or f'nothing yet: {nothing_found(algorithm)}'} | "
            f"{self._speed(self.problem.n_scored)} | "
            f"{left:.0f} s left{' | tournament' if held else ''}",
            highlight=False,
            soft_wrap=True,
        )
        self.bar.update(
            self.task,
            description=f"generation {min(done + 1, self.n_generations)}/{self.n_generations}",
        )
        self.last = time.perf_counter()
