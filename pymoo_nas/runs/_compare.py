"""Comparing run folders, or results in Python, with each other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from pymoo_nas.comparison import (
    Comparison,
    Searched,
    common_settings,
    compare_searches,
    searched_in,
)
from pymoo_nas.errors import RunError, SearchError
from pymoo_nas.runs._config import RunConfig
from pymoo_nas.runs._folder import RunFolder
from pymoo_nas.scores import SIZES
from pymoo_nas.spaces import SearchSpace, space_from_settings

SCORING = ("n_images", "n_inits", *(f"max_{name}" for name in SIZES))
"""Arguments of a problem that its scores depend on, but for objectives and seed."""

OF_SPACE = "space "
"""Stands before the settings of a search space, which search settings may share names with."""


def compare(
    runs: Mapping[str, Any] | Iterable[Any],
    *,
    truth: Any = None,
    evaluations: int | None = None,
    space: SearchSpace[Any] | None = None,
) -> Comparison:
    """Compare searches, several seeds of each strategy, by what they have scored.

    All have to have the same objectives, images and settings of scoring; seeds may differ, also
    that of scoring, which the command line sets together with that of the search.

    Args:
        runs: label → list of pymoo's results, algorithms, histories or run folders; or run folders
            alone, which are grouped by strategy, and within it by what differs in their settings
            other than the seed.
        truth: known accuracies: a table with the columns genotype and accuracy, or its CSV file.
        evaluations: candidates of each search that are compared, the first so many; None takes all.
        space: of histories given as frames, to look up known accuracies.

    Raises:
        SearchError: nothing to compare, something else than searches, searches that do not score
            alike, or fewer candidates than `evaluations`.
        RunError: no run in a folder, one given twice, or two of the same settings and seed.
        DatasetError: no table of known accuracies, or one without the columns.

    >>> import pandas as pd
    >>> near = pd.DataFrame({"genotype": ["8", "9"], "ntk": [1.0, 2.0], "activation": [2.0, 1.0]})
    >>> far = near.assign(ntk=[2.0, 3.0])
    >>> compare({"near": [near], "far": [far]}).table["hypervolume"].round(2).tolist()
    [0.41, 0.0]
    """
    with_space = truth is not None
    if isinstance(runs, Mapping):
        listed = {str(label): _listed(given) for label, given in runs.items()}
        if len(listed) < len(runs):
            raise SearchError(f"labels {', '.join(map(repr, runs))}: some are equal as texts")
        _refuse_twice(list(chain(*listed.values())))
        groups = {
            label: [
                _of_folder(folder_of(item), with_space=with_space)
                if is_folder(item)
                else searched_in(item, f"{label}, run {number}", space)
                for number, item in enumerate(given, start=1)
            ]
            for label, given in listed.items()
        }
    else:
        groups = _grouped(_listed(runs), with_space=with_space)
    return compare_searches(groups, truth=truth, evaluations=evaluations)


def _listed(given: Any) -> list[Any]:
    """Several searches, or the one that was given alone."""
    if is_folder(given) or hasattr(given, "columns"):
        return [given]
    return list(given) if isinstance(given, Iterable) else [given]


def is_folder(given: Any) -> bool:
    """Whether this is a run folder or its path."""
    return isinstance(given, str | Path | RunFolder)


def folder_of(given: Any) -> RunFolder:
    """A run folder, which may be given by its path."""
    return given if isinstance(given, RunFolder) else RunFolder(given)


def _of_folder(folder: RunFolder, *, with_space: bool) -> Searched:
    """The search of a run folder; a space of a user's own is imported only where it is needed."""
    config = folder.config()
    arguments = config.arguments()
    scoring = {"objectives": config.objective_names()}
    scoring |= {name: arguments[name] for name in SCORING if name in arguments}
    return Searched(
        name=str(folder.path),
        history=folder.history(),
        seed=config.settings().seed,
        space=space_from_settings(config.get("search_space", {})) if with_space else None,
        common=common_settings(scoring, config.get("data")),
    )


def _grouped(given: Sequence[Any], *, with_space: bool) -> dict[str, list[Searched]]:
    """Run folders, by label.

    Raises:
        SearchError: something else than run folders.
        RunError: one given twice, or two of the same settings and seed.
    """
    for item in given:
        if not is_folder(item):
            raise SearchError(
                f"got a {type(item).__name__} to compare; expected run folders, or label → list of "
                "results"
            )
    folders = [folder_of(item) for item in given]
    _refuse_twice(folders)
    labels = labels_of([folder.config() for folder in folders])
    groups: dict[str, list[Searched]] = {}
    for label, folder in zip(labels, folders, strict=True):
        searched = _of_folder(folder, with_space=with_space)
        for other in groups.setdefault(label, []):
            if other.seed == searched.seed:
                raise RunError(
                    f"{folder.path}: the settings and the seed {other.seed} of {other.name}, so "
                    "the same search; leave one of them out"
                )
        groups[label].append(searched)
    return groups


def labels_of(configs: Sequence[RunConfig]) -> list[str]:
    """How to call each of several runs: its strategy, and what differs from others of it.

    A search space is told where there are several, other settings where they differ among the runs
    of one strategy.
    """
    settings = [_settings_of(config) for config in configs]
    labels = []
    for own in settings:
        alike = [other for other in settings if other["algorithm"] == own["algorithm"]]
        parts = [str(own["algorithm"])]
        for name in dict.fromkeys(chain(*settings)):
            among = settings if name.startswith(OF_SPACE) else alike
            if name != "algorithm" and any(other.get(name) != own.get(name) for other in among):
                parts.append(f"{name.removeprefix(OF_SPACE)} {_in_words(own.get(name))}")
        labels.append(", ".join(parts))
    return labels


def _settings_of(config: RunConfig) -> dict[str, Any]:
    """All settings of a run but its seed, by names in words."""
    settings = {name: value for name, value in asdict(config.settings()).items() if name != "seed"}
    described = config.get("search_space")
    own = described if isinstance(described, Mapping) else {}
    settings |= {f"{OF_SPACE}{name}": value for name, value in own.items()}
    return {name.replace("_", " "): value for name, value in settings.items()}


def _in_words(value: Any) -> str:
    if value is None:
        return "none"
    return ",".join(map(str, value)) if isinstance(value, list | tuple | Mapping) else str(value)


def _refuse_twice(given: Sequence[Any]) -> None:
    """Refuse a search that was given twice.

    Raises:
        RunError: a run folder that is given by two names, or a result that is given twice.
    """
    found = set()
    for item in given:
        path = folder_of(item).path if is_folder(item) else None
        key = id(item) if path is None else os.path.realpath(path)
        if key in found:
            name = f"a {type(item).__name__}" if path is None else str(path)
            raise RunError(f"{name}: given twice; leave one of them out")
        found.add(key)
