"""The searches of a comparison: what each has scored, and what all have to have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pymoo_nas.errors import SearchError
from pymoo_nas.scores import PAPER_OBJECTIVES, is_sound, objectives_in
from pymoo_nas.search import history_to_frame
from pymoo_nas.spaces import SearchSpace

Matrix = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Searched:
    """One search of a comparison.

    Attributes:
        name: how messages and tables call it.
        history: every candidate, in the order of scoring, see `history_to_frame`.
        seed: of the search; None where nothing tells.
        space: reads the genotypes; None where nothing tells.
        common: setting → value, of images and scoring, which all searches of a comparison have to
            share as far as they tell.
    """

    name: str
    history: pd.DataFrame
    seed: int | None = None
    space: SearchSpace[Any] | None = None
    common: Mapping[str, Any] = field(default_factory=dict)

    @property
    def objectives(self) -> list[str]:
        """The columns of the objectives, all minimised."""
        return objectives_in(self.history)

    def head(self, evaluations: int | None) -> pd.DataFrame:
        """The first so many candidates; None takes all.

        Raises:
            SearchError: there are not so many.
        """
        if evaluations is None:
            return self.history
        if evaluations > len(self.history):
            raise SearchError(
                f"{self.name}: {len(self.history)} candidates are scored, {evaluations} are to be "
                "compared; expected fewer evaluations, or a search that goes on"
            )
        return self.history.iloc[:evaluations]


def scores_of(history: pd.DataFrame) -> tuple[Matrix, Mask]:
    """The objectives (n, m), and which rows count: sound and within the limits (n,)."""
    values = history[objectives_in(history)].to_numpy(dtype=float)
    counts = is_sound(history)
    if "feasible" in history:
        counts &= history["feasible"].to_numpy(dtype=bool)
    return values, counts


def searched_in(given: Any, name: str, space: SearchSpace[Any] | None = None) -> Searched:
    """The search that a result, an algorithm or a history is of.

    Args:
        given: pymoo's result, an algorithm, pymoo's ``result.history``, or the frame of a history.
        name: for messages and tables.
        space: of a frame, which does not tell its own.

    Raises:
        SearchError: something else, or a frame without objectives.
    """
    if isinstance(given, pd.DataFrame):
        return Searched(name=name, history=given, space=space)
    try:
        history = history_to_frame(given)
    except SearchError as error:
        raise SearchError(f"{name}: {error}") from error
    last = given[-1] if isinstance(given, Sequence) else given
    algorithm: Any = getattr(last, "algorithm", last)
    problem = algorithm.problem
    common: dict[str, Any] = {}
    if hasattr(problem, "scoring_settings"):
        common = common_settings(problem.scoring_settings(), problem.dataset.fingerprint)
    return Searched(
        name=name,
        history=history,
        seed=algorithm.seed,
        space=getattr(problem, "search_space", space),
        common=common,
    )


def common_settings(scoring: Mapping[str, Any], images: Any) -> dict[str, Any]:
    """What searches have to share: the images and the settings of scoring, but for the seed."""
    settings = {name: value for name, value in scoring.items() if name != "seed"}
    # Folders and results may name the module of an objective of the user's own, or may not.
    if "objectives" in settings:
        settings["objectives"] = [name.rpartition(":")[2] for name in settings["objectives"]]
    return {"images": images, **settings}


def check_groups(groups: Mapping[str, Sequence[Searched]]) -> None:
    """Refuse searches that cannot be compared.

    Raises:
        SearchError: none; a group without any; one without objectives; or one whose objectives,
            images or settings of scoring are other than those of the first.
    """
    if not groups:
        raise SearchError("no searches to compare; expected at least one")
    for label, searches in groups.items():
        if not searches:
            raise SearchError(f"{label}: no searches to compare; expected at least one")
    first, *others = chain(*groups.values())
    if not first.objectives:
        raise SearchError(
            f"{first.name}: a table without objectives, such as {', '.join(PAPER_OBJECTIVES)}; "
            "expected a history, see history_to_frame(result)"
        )
    told = dict(first.common)
    for search in others:
        _check_same("objectives", search.objectives, first.objectives, search.name, first.name)
        for setting, value in search.common.items():
            expected = told.setdefault(setting, value)
            _check_same(setting, value, expected, search.name, first.name)


def _check_same(what: str, found: Any, expected: Any, name: str, first: str) -> None:
    if found != expected:
        raise SearchError(
            f"{name}: other {what} than {first}: {found}, expected {expected}; compare searches "
            "that score alike, or leave it out"
        )
