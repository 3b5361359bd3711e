"""Survival of the paper: feasible individuals first, front by front, by TE-NAS's rank sum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pymoo.core.population import Population
from pymoo.core.survival import Survival
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from pymoo_nas._machine import whole

BEFORE_EQUALS = "crowding"
"""The attribute that pymoo's selections compare where ranks are equal; they prefer the larger."""

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def rank_sum(scores: Matrix) -> Indices:
    """Add the dense ranks of all objectives (Chen 2021, TE-NAS); smaller is better.

    Args:
        scores: (n, m), minimised. Equal scores share a rank.

    Returns:
        (n,) integers, at least m.

    >>> rank_sum(np.array([[1.0, 9.0], [1.0, 7.0], [4.0, 8.0]])).tolist()
    [4, 2, 4]
    """
    if len(scores) == 0:
        return np.empty(0, dtype=np.int64)
    columns = [np.unique(column, return_inverse=True)[1] + 1 for column in scores.T]
    total: Indices = np.sum(columns, axis=0, dtype=np.int64)
    return total


def log_rank_sum(columns: Iterable[Any]) -> Vector:
    """Sum of the logarithms of the ranks in several columns, smaller is better.

    Args:
        columns: m columns of n numbers, minimised. Equal numbers share their mean rank.

    Returns:
        (n,) numbers, at least 0.

    >>> log_rank_sum([[1.0, 9.0, 4.0], [2.0, 8.0, 1.0]]).round(2).tolist()
    [0.69, 2.2, 0.69]
    """
    from scipy.stats import rankdata  # noqa: PLC0415 - heavy

    total: Vector = np.sum([np.log(rankdata(column)) for column in columns], axis=0)
    return total


def survival_order(scores: Matrix) -> list[Indices]:
    """Sort into fronts, best first, and each front by ascending rank sum, ties by position.

    Ranks are taken within one front, because survival has to reduce one front.

    Args:
        scores: (n, m), minimised, without NaN.
    """
    fronts = NonDominatedSorting().do(scores)
    return [
        front[np.argsort(rank_sum(scores[front]), kind="stable")] for front in map(_sorted, fronts)
    ]


def _sorted(front: Any) -> Indices:
    """Sort a front by position: pymoo's order within a front depends on the sorting method."""
    return np.sort(np.asarray(front, dtype=np.int64))


class RankSumSurvival(Survival):
    """Keeps the best: feasible individuals first, front by front, the last front by rank sum.

    Every individual gets ``rank`` (its front, from 0). Its attribute `BEFORE_EQUALS` holds minus
    the rank sum, so that pymoo's selections prefer the smaller sum. Infeasible individuals follow
    by ascending constraint violation. There is always a survivor.

    Args:
        max_age: generations after which a parent dies, whatever its scores; None lets it live.
            Parents stay where no younger individual is feasible and not degenerate.

    Raises:
        SearchError: max_age is no integer of at least 1.
    """

    def __init__(self, max_age: int | None = None) -> None:
        super().__init__(filter_infeasible=False)
        self.max_age = None if max_age is None else whole("max_age", max_age)

    def _do(
        self,
        problem: Any,
        pop: Any,
        *args: Any,
        n_survive: int | None = None,
        random_state: Any = None,
        algorithm: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Return the survivors, best first."""
        del problem, args, random_state, kwargs
        order = order_population(self._young(pop, algorithm))
        return order[: len(pop) if n_survive is None else n_survive]

    def _young(self, pop: Any, algorithm: Any) -> Any:
        now = getattr(algorithm, "n_iter", None)
        if self.max_age is None or now is None:
            return pop
        births = [individual.get("n_gen") for individual in pop]
        young = np.array(
            [birth is None or now - birth < self.max_age for birth in births], dtype=bool
        )
        return pop[young] if any(map(is_usable, pop[young])) else pop


def is_usable(individual: Any) -> bool:
    """Whether an individual keeps the limits and is not degenerate."""
    return bool(individual.FEAS[0]) and not individual.get("degenerate")


class Standing(NamedTuple):
    """Where an individual stands in a population.

    Attributes:
        place: in the population.
        rank: its front, from 0; infeasible ones share one behind all fronts.
        before_equals: minus its rank sum, or minus its constraint violation.
    """

    place: int
    rank: int
    before_equals: float


def standings_of(pop: Any) -> list[Standing]:
    """The standings of evaluated individuals, best first; nothing is noted on them."""
    feasible = np.array([bool(individual.FEAS[0]) for individual in pop], dtype=bool)
    found: list[Standing] = []
    where = np.flatnonzero(feasible)
    fronts: list[Indices] = []
    if len(where):
        scores = np.array([pop[index].F for index in where], dtype=float)
        fronts = survival_order(scores)
        for rank, front in enumerate(fronts):
            sums = rank_sum(scores[front])
            found += [
                Standing(int(where[position]), rank, -float(total))
                for position, total in zip(front, sums, strict=True)
            ]
    infeasible = np.flatnonzero(~feasible)
    violations = np.array([float(pop[index].CV[0]) for index in infeasible])
    found += [
        Standing(int(infeasible[position]), len(fronts), -float(violations[position]))
        for position in np.argsort(violations, kind="stable")
    ]
    return found


def order_population(pop: Any) -> Any:
    """Sort a population in survival order, and set ``rank`` and `BEFORE_EQUALS`.

    Args:
        pop: evaluated individuals.
    """
    if len(pop) == 0:
        return pop
    standings = standings_of(pop)
    for place, rank, before_equals in standings:
        pop[place].set("rank", rank)
        pop[place].set(BEFORE_EQUALS, before_equals)
    return Population([pop[standing.place] for standing in standings])


def non_dominated(individuals: Iterable[Any]) -> Population:
    """The first front of evaluated individuals, best rank sum first.

    Infeasible and degenerate individuals are left out.
    """
    sound = list(filter(is_usable, individuals))
    if not sound:
        return Population()
    front = survival_order(np.array([one.F for one in sound], dtype=float))[0]
    return Population([sound[index] for index in front])
