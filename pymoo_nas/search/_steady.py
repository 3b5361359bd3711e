"""Steady gradients in a search: what could survive is measured, and steady ones survive first."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pymoo.core.population import Population
from pymoo.core.survival import Survival

from pymoo_nas.errors import SearchError
from pymoo_nas.search._given import parsed
from pymoo_nas.search._steadiness import Steadiness
from pymoo_nas.search._survival import BEFORE_EQUALS, is_usable, non_dominated


def steadiness_noted(individual: Any) -> Steadiness | None:
    """The steadiness that has been measured of an individual; None where it has not."""
    growth, smoothness = individual.get("growth"), individual.get("smoothness")
    return None if growth is None or smoothness is None else Steadiness(growth, smoothness)


def preferred(individuals: Iterable[Any]) -> Population:
    """The individuals without those that are not steady, where others remain that can be used.

    What has not been measured counts as steady.

    Args:
        individuals: evaluated.
    """
    everyone = list(individuals)
    steady = [one for one in everyone if not _is_unsteady(one)]
    return Population(steady if any(map(is_usable, steady)) else everyone)


def known_to_be_steady(individuals: Iterable[Any]) -> list[Any]:
    """Those that have been measured and are steady."""
    return [one for one in individuals if (noted := steadiness_noted(one)) and noted.steady]


def steady_front(individuals: Iterable[Any]) -> Population:
    """The first front of those that are `preferred`, best rank sum first."""
    return non_dominated(preferred(individuals))


def measure(individuals: Iterable[Any], problem: Any) -> int:
    """Measure the individuals that can be used and have not been measured; note growth, smoothness.

    Args:
        individuals: evaluated.
        problem: a `NASProblem`.

    Returns:
        the number that was measured.
    """
    unknown = [one for one in individuals if is_usable(one) and steadiness_noted(one) is None]
    space = problem.search_space
    found = problem.steadiness_of([parsed(space, one.X[0]) for one in unknown])
    for one, steadiness in zip(unknown, found, strict=True):
        for name, value in vars(steadiness).items():
            # NaN stands for what has not been measured.
            one.set(name, math.inf if math.isnan(value) else value)
    return len(unknown)


class SteadyFirst(Survival):
    """A survival by which individuals with steady gradients come before all others.

    Another survival chooses among the individuals that are steady as far as is known. Those that it
    chooses are measured; where one turns out not to be steady, it chooses again. So only what could
    survive costs a measurement. Where too few are steady, the least unsteady ones follow, and after
    them degenerate and infeasible ones.

    Args:
        survival: the other survival, such as `RankSumSurvival` or pymoo's ``RankAndCrowding``.

    Raises:
        SearchError: something that is no survival.
    """

    def __init__(self, survival: Any) -> None:
        super().__init__(filter_infeasible=False)
        if not isinstance(survival, Survival):
            raise SearchError(
                f"survival={survival!r}; expected a survival of pymoo's, such as RankSumSurvival()"
            )
        self.survival = survival

    def _do(
        self, problem: Any, pop: Any, *args: Any, n_survive: int | None = None, **kwargs: Any
    ) -> Any:
        """Return the survivors, best first."""
        wanted = len(pop) if n_survive is None else n_survive
        while True:
            hopeful = Population([one for one in pop if not _is_unsteady(one)])
            chosen = self.survival.do(problem, hopeful, *args, n_survive=wanted, **kwargs)
            if not measure(chosen, problem):
                break
        usable = [one for one in chosen if is_usable(one)]
        if len(usable) == wanted:
            return chosen
        # Of all, as the other survival may let some die whatever comes.
        accepted = self.survival.do(problem, pop, *args, n_survive=len(pop), **kwargs)
        unsteady = sorted(filter(_is_unsteady, accepted), key=_excess)
        chosen = self.survival.do(problem, hopeful, *args, n_survive=wanted, **kwargs)
        usable = [one for one in chosen if is_usable(one)]
        behind = max((one.get("rank") or 0 for one in usable), default=-1) + 1
        for place, one in enumerate(unsteady):
            one.set("rank", behind + place)
            one.set(BEFORE_EQUALS, -_excess(one))
        rest = [one for one in chosen if not is_usable(one)]
        # Their ranks are those among the hopeful, before the unsteady ones were put between.
        for place, one in enumerate(rest, start=behind + len(unsteady)):
            one.set("rank", place)
        return Population([*usable, *unsteady, *rest][:wanted])


def measured_front(individuals: Iterable[Any], problem: Any) -> Population:
    """The first front of all steady individuals; its members are measured."""
    everyone = list(individuals)
    while True:
        front = steady_front(everyone)
        if not measure(front, problem):
            return front


def told_of_steadiness(algorithm: Any) -> str:
    """What a search has measured, in a sentence; empty where it does not measure.

    Args:
        algorithm: an `EvolutiveNAS`, or any other of pymoo's.
    """
    if not getattr(algorithm, "steady", False):
        return ""
    noted = [one for individual in algorithm.scored if (one := steadiness_noted(individual))]
    n_steady = sum(one.steady for one in noted)
    told = f"gradients measured of {len(noted)} of {len(algorithm.scored)} candidates, "
    if n_steady:
        return f"{told}{n_steady} steady; the front is of steady ones"
    return f"{told}none steady; the front is of all: search longer for steady ones"


def _is_unsteady(individual: Any) -> bool:
    noted = steadiness_noted(individual)
    return noted is not None and not noted.steady


def _excess(individual: Any) -> float:
    noted = steadiness_noted(individual)
    assert noted is not None
    return noted.excess
