"""Searches that can be continued: a run folder holds all their state after every generation."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pymoo.core.callback import Callback
from pymoo.core.result import Result
from pymoo.termination.max_gen import MaximumGenerationTermination

from pymoo_nas._machine import threads_set
from pymoo_nas.errors import RunError
from pymoo_nas.runs._checkpoint import has_checkpoint, last_good, restore
from pymoo_nas.runs._config import RunConfig, SearchSettings
from pymoo_nas.runs._folder import RunFolder
from pymoo_nas.search import (
    CallbackChain,
    DartsTournament,
    NASProblem,
    NothingFoundWarning,
    nothing_found,
)
from pymoo_nas.spaces import space_settings


class Search:
    """One search in one folder.

    Args:
        folder: the folder that keeps the state of the search.
        problem: the problem that is searched.
        settings: the settings of the search.
        config: plain values for ``config.json``: "problem" holds the arguments of `NASProblem` that
            the problem itself does not tell, such as the data set's name or path.
        replaces: whether the search is to replace the run that the folder holds. This one stays
            until a generation has found a usable candidate: a search that finds none, fails or is
            interrupted before destroys nothing.

    Attributes:
        algorithm: algorithm of the strategy that the settings name, set up; in a continued search,
            with its last state.
        tournament: the `DartsTournament`, or None.
        waits: whether the folder still holds the earlier run that is to be replaced.
    """

    def __init__(
        self,
        folder: RunFolder,
        problem: NASProblem,
        settings: SearchSettings,
        config: Mapping[str, Any],
        *,
        replaces: bool = False,
    ) -> None:
        self.folder = folder
        self.waits = replaces and folder.holds_run()
        self.problem = problem
        self.settings = settings
        self.config = {
            **config,
            "search_space": space_settings(problem.search_space),
            "problem": {**config.get("problem", {}), **problem.scoring_settings()},
            "data": problem.dataset.fingerprint,
            "algorithm": asdict(settings),
        }
        self.algorithm = settings.made()
        self.tournament = (
            DartsTournament(settings.tournament_every, settings.tournament_size)
            if settings.tournament_every
            else None
        )
        self._chain: list[Callback] = [] if self.tournament is None else [self.tournament]
        self.algorithm.setup(
            problem,
            termination=MaximumGenerationTermination(settings.generations),
            callback=CallbackChain(*self._chain),
            seed=settings.seed,
        )
        # What the search space decides is kept: a later version may decide otherwise.
        self.config["algorithm"]["steady"] = self.algorithm.steady

    @classmethod
    def continued(
        cls,
        folder: RunFolder,
        *,
        generations: int | None = None,
        problem: NASProblem | None = None,
        config: RunConfig | None = None,
        places: Mapping[str, Any] | None = None,
        download: bool = False,
    ) -> Search:
        """Restore a search from its run folder.

        Args:
            folder: the folder of the run, which was interrupted or had finished.
            generations: total number; None keeps the number that the run was started with.
            problem: needed where the run had objectives of a user's own, or a search space or
                operations that cannot be imported by name.
            config: configuration of the run, where it has been read; None reads it.
            places: new places of the run's images, where they have moved: ``dataset`` and
                ``data_dir``.
            download: fetch a data set that is not there.

        Raises:
            RunError: no such run, damaged files, fewer generations than are done, or images,
                objectives or settings of scoring that differ from the run's.
        """
        config = config if config is not None else folder.config()
        settings = config.settings()
        state = last_good(folder.path) if _has_begun(folder, config) else None
        done = 0 if state is None else int(state["n_iter"]) - 1
        if generations is not None:
            settings = replace(settings, generations=generations)
        if settings.generations < done:
            raise RunError(
                f"{folder.path}: {done} generations are done, {settings.generations} asked for; "
                f"expected at least {done}"
            )
        described = {**config.arguments(), **(places or {})}
        if problem is None:
            problem = config.problem(**(places or {}), download=download)
        _check_same("images", config.get("data"), problem.dataset.fingerprint, folder)
        found = problem.scoring_settings()
        kept = {name: described.get(name, found[name]) for name in found}
        kept["objectives"] = config.objectives()
        _check_same("settings of scoring", kept, found, folder)
        search = cls(folder, problem, settings, {**config, "problem": described})
        if state is not None:
            restore(search.algorithm, state)
        return search

    def run(self, callback: Callback | None = None, *, seconds: float = math.inf) -> Result:
        """Run generation by generation; each generation is kept when it is done.

        Args:
            callback: called after each generation and its tournament.
            seconds: time after which no further generation begins; the run can be resumed.

        Returns:
            pymoo's result.

        Raises:
            KeyboardInterrupt: the user stopped the search; the run folder holds the last whole
                generation.
            RunError: the folder cannot be written to; it holds the last whole generation.
        """
        algorithm = self.algorithm
        told = [] if callback is None else [callback]
        # The earlier run goes before the callback writes anything, such as curves.
        algorithm.callback = CallbackChain(*self._chain, *([_Clear(self)] * self.waits), *told)
        unsaved = False
        try:
            if not algorithm.is_initialized:
                if not self.waits:  # else nothing of the earlier run changes yet
                    # A search that stops in its first generation can be resumed too.
                    self.folder.save_config(algorithm, self.config)
            elif not algorithm.has_next():
                # The search was killed between the last checkpoint and its tables.
                self.folder.save_tables(algorithm, self.config)
            started = time.perf_counter()
            while algorithm.has_next():
                algorithm.next()
                if not self.waits:
                    unsaved = True
                    self.folder.save(algorithm, self.config)
                    unsaved = False
                if time.perf_counter() - started >= seconds:
                    break
        except KeyboardInterrupt:
            if unsaved:
                # Saving was interrupted: the files would disagree on the number of generations.
                self.folder.save(algorithm, self.config)
            raise
        except OSError as error:
            again = (
                "its checkpoint is whole: make room and resume"
                if has_checkpoint(self.folder.path)
                else "make room and search again with --overwrite"
            )
            raise RunError(
                f"folder {self.folder.path} cannot be written to ({error}); {again}"
            ) from error
        return algorithm.result()

    @property
    def generations_done(self) -> int:
        """Number of whole generations so far."""
        return max(0, (self.algorithm.n_iter or 1) - 1)


class _Clear(Callback):
    """Removes the earlier run of a folder once there is something to replace it."""

    def __init__(self, search: Search) -> None:
        super().__init__()
        self._search = search

    def notify(self, algorithm: Any) -> None:
        """Look whether the generation has found anything."""
        if self._search.waits and not nothing_found(algorithm):
            self._search.folder.clear()
            self._search.waits = False


def resume(
    path: str | Path, generations: int | None = None, *, problem: NASProblem | None = None
) -> Result:
    """Continue an interrupted search, or a finished search with more generations.

    The interruption changes no bit of the front, the history and the figures.

    Args:
        path: run folder of ``pymoo-nas search``.
        generations: total number; None keeps the number that the run was started with.
        problem: needed where the run had a search space or operations of a user's own that
            cannot be imported by name.

    Returns:
        pymoo's result.

    Raises:
        RunError: see `Search.continued`; or another process works on the folder.
    """
    folder = RunFolder(path)
    # The last bits depend on the number of threads.
    with folder.continuing() as config, threads_set(config.threads()):
        search = Search.continued(folder, generations=generations, problem=problem, config=config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NothingFoundWarning)
            result = search.run()
        folder.draw()
    return result


def _has_begun(folder: RunFolder, config: RunConfig) -> bool:
    """Whether a generation was kept, or should have been kept."""
    return has_checkpoint(folder.path) or config.get("generations_done", 1) != 0


def _check_same(what: str, expected: Any, found: Any, folder: RunFolder) -> None:
    if expected != found:
        raise RunError(
            f"{folder.path}: other {what} than the run was started with: {found}, expected "
            f"{expected}; restore them, or start a new run"
        )
