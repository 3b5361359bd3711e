"""The configuration of a run: the content of ``config.json``, read once and asked by name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pymoo_nas._machine import NUMBER, Kinds, check_kinds, in_shell, whole
from pymoo_nas.datasets import DATASET_NAMES
from pymoo_nas.errors import DatasetError, RunError, SearchError
from pymoo_nas.runs._earlier import config_of_today
from pymoo_nas.scores import OBJECTIVES, PAPER_OBJECTIVES
from pymoo_nas.search import EVOLUTIVE, EvolutiveNAS, NASProblem, make_strategy, strategy_named
from pymoo_nas.spaces import space_from_settings, space_settings

CONFIG = "config.json"

PLACES = ("dataset", "data_dir", "memory")
"""Settings that may change when a run is continued: the place of its images."""

OF_STRATEGY: Any = None
"""The value of a setting that is left to the strategy."""

MAY_BE_LEFT_OUT = (
    "generations",
    "population",
    "offspring",
    "tournament_every",
    "max_age",
    "steady",
)
"""Settings that may have no value of their own."""

TRUTHS = ("repair", "steady")
"""Settings that are true or false."""


RENAMED = {
    "images": "n_images",
    "inits": "n_inits",
    "cells": "n_cells",
    "max_memory": "max_peak_memory",
}
"""Option of the command line → setting, where the names differ."""


@dataclass(frozen=True)
class SearchSettings:
    """The settings that decide the course of a search, besides its problem.

    Attributes:
        generations: number of generations.
        population: survivors per generation.
        offspring: candidates scored per generation; the first one scores as many as survive, where
            that is more.
        max_age: generations after which a parent dies; None lets it live.
        tournament_every: generations between tournaments; 0 for none.
        tournament_size: contenders per slot.
        seed: seed of the operators and the tournaments.
        algorithm: "evolutive", "random", "regularised-evolution" or "nsga2". The strategy decides
            generations, population, offspring and tournament_every where these are left out: 9, 5,
            15, 3; 9, 5, 15, 0; 22, 30, 5, 0; 9, 15, 15, 0. So 135 candidates are scored by each.
        repair: whether candidates over a limit of a size are made smaller before they are scored.
        steady: whether candidates with steady gradients survive first; None leaves it to the search
            space, see `EvolutiveNAS`.

    Raises:
        SearchError: a setting that is no integer, or too small; an unknown algorithm, or one
            without a limit of age where there is a max_age; a repair or steady that is not true or
            false.
    """

    generations: int = OF_STRATEGY
    population: int = OF_STRATEGY
    offspring: int = OF_STRATEGY
    max_age: int | None = None
    tournament_every: int = OF_STRATEGY
    tournament_size: int = 4
    seed: int = 0
    algorithm: str = EVOLUTIVE
    repair: bool = True
    steady: bool | None = None

    def __post_init__(self) -> None:
        """Check the settings, and turn numbers into Python's, which `config.json` can hold."""
        least = {"tournament_every": 0, "seed": 0}
        strategy = strategy_named(self.algorithm)
        for name in TRUTHS:
            given = getattr(self, name)
            if not isinstance(given, bool) and not (given is None and name in MAY_BE_LEFT_OUT):
                raise SearchError(f"{name}={given!r}; expected true or false")
        for name, value in vars(self).copy().items():
            left_out = value is None and name in MAY_BE_LEFT_OUT
            if name not in ("algorithm", *TRUTHS) and not left_out:
                self._set(name, whole(name, value, least.get(name, 1)))
        for name in ("generations", "tournament_every"):
            if getattr(self, name) is OF_STRATEGY:
                self._set(name, getattr(strategy, name))
        made = self.made()
        self._set("population", made.pop_size)
        self._set("offspring", made.n_offsprings)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def made(self) -> EvolutiveNAS:
        """A new algorithm of these settings, not set up."""
        return make_strategy(
            self.algorithm,
            self.population,
            self.offspring,
            max_age=self.max_age,
            repair=self.repair,
            steady=self.steady,
        )


KINDS: Kinds = {
    **dict.fromkeys(("problem", "search_space", "algorithm", "data", "versions"), dict),
    "generations_done": int,
    "seconds": NUMBER,
}
"""What a configuration holds."""

OF_PROBLEM: Kinds = {"dataset": (str, type(None)), "data_dir": str, "objectives": list}
"""What its part "problem" holds, among else."""

OF_SPACE: Kinds = {"space": (str, type(None)), "operations": list}
"""What its part "search_space" holds, among else."""


class RunConfig(dict[str, Any]):
    """The settings and the state of a run, as the last generation left them.

    Args:
        folder: the run folder.
        values: content of its ``config.json``, in the form of this version or an earlier version.

    Raises:
        RunError: a value is of another kind than a search writes.
    """

    def __init__(self, folder: Path, values: dict[str, Any]) -> None:
        super().__init__(config_of_today(values))
        self.folder = folder
        self.path = folder / CONFIG
        check_kinds(self.path, self, KINDS, "search again")
        check_kinds(self.path, self.get("problem", {}), OF_PROBLEM, "search again")
        check_kinds(self.path, self.get("search_space", {}), OF_SPACE, "search again")

    def threads(self) -> int | None:
        """The number of torch's threads in the search; None where it is not known.

        Raises:
            RunError: a damaged value.
        """
        threads = self.get("threads")
        return None if threads is None else whole(f"{self.path}: threads", threads, error=RunError)

    def objectives(self) -> list[str]:
        """The objectives of the search, in their order in F; imported ones as ``module:name``."""
        described = self.get("problem")
        given = described.get("objectives") if isinstance(described, dict) else None
        return [str(name) for name in given or PAPER_OBJECTIVES]

    def objective_names(self) -> list[str]:
        """The names of the objectives, in their order in F."""
        return [name.rpartition(":")[2] for name in self.objectives()]

    def settings(self) -> SearchSettings:
        """The settings of the search.

        Raises:
            RunError: damaged settings.
        """
        try:
            known = {field.name for field in fields(SearchSettings)}
            given = {name: value for name, value in self["algorithm"].items() if name in known}
            return SearchSettings(**given)
        except (KeyError, TypeError, ValueError, AttributeError, SearchError) as error:
            raise self._damaged(error) from error

    def arguments(self) -> dict[str, Any]:
        """A copy of the arguments of the problem, as config.json holds them.

        Raises:
            RunError: damaged settings.
        """
        try:
            return dict(self.get("problem", {}))
        except (TypeError, ValueError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> RunError:
        return RunError(f"{self.folder}: damaged configuration ({error}); search again")

    def problem(self, **changes: Any) -> NASProblem:
        """Build the problem of the search.

        Args:
            **changes: keyword arguments of `NASProblem` to replace, such as ``device``.

        Raises:
            RunError: settings are missing, or the search space, its operations or the objectives
                are a user's own and cannot be imported.
            DatasetError: the images are not where they were.
        """
        try:
            arguments = {**self["problem"], "objectives": self.objectives()}
            space = space_from_settings(self["search_space"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{self.path}: the problem cannot be rebuilt ({error}); what is "
                "of your own can be rebuilt in Python: build_final(genotypes, problem=...)"
            ) from error
        arguments |= {"search_space": space, **changes}
        asked = [] if "objectives" in changes else self.objectives()
        own = [name for name in asked if name not in OBJECTIVES and ":" not in name]
        if own:
            raise RunError(
                f"{self.path}: objectives of a user's own ({', '.join(own)}); continue "
                "the run in Python: resume(folder, problem=NASProblem(..., objectives=[...]))"
            )
        try:
            return NASProblem(**arguments)
        except DatasetError as error:
            place = arguments.get("dataset") or ""
            if "dataset" in changes or place in DATASET_NAMES or os.path.exists(place):
                raise
            raise DatasetError(
                f"{error}; where the images of {self.folder} have moved to PATH: pymoo-nas search "
                f"PATH --resume {in_shell(self.folder)}, or train --dataset PATH"
            ) from error
        except TypeError as error:
            raise RunError(
                f"{self.path}: settings that NASProblem does not take ({error}); search again"
            ) from error

    def refuse_changes(self, given: Sequence[str], asked: Mapping[str, Any]) -> None:
        """Refuse options that differ from the settings of the run.

        Args:
            given: names of the options that the user has set.
            asked: option → value.

        Raises:
            SearchError: options differ; the message names them.
        """
        kept = space_settings(space_from_settings(self.get("search_space", {})))
        for part in ("problem", "algorithm"):
            kept |= self.get(part, {})
        differences = []
        for option in given:
            key = RENAMED.get(option, option)
            if option in PLACES:
                continue  # the images have to be the same, wherever they are
            if option in ("out", "overwrite"):
                differences.append(f"--{option} makes a new run")
            elif key in asked and option != "generations" and asked[key] != kept.get(key):
                differences.append(f"{option} {asked[key]!r} (the run has {kept.get(key)!r})")
        if differences:
            raise SearchError(
                f"--resume {self.folder}: {'; '.join(differences)}; leave them out, or begin a new "
                "run without --resume"
            )
