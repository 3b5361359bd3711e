"""Search strategies beside `EvolutiveNAS`, to compare with it, and the names of all of them.

Each is an `EvolutiveNAS` with other operators: histories, checkpoints, limits and duplicates work
as there.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pymoo.algorithms.moo.nsga2 import binary_tournament
from pymoo.core.population import Population
from pymoo.core.survival import Survival
from pymoo.operators.crossover.nox import NoCrossover
from pymoo.operators.selection.tournament import TournamentSelection
from pymoo.operators.survival.rank_and_crowding import RankAndCrowding

from pymoo_nas._machine import whole
from pymoo_nas.errors import SearchError
from pymoo_nas.search._algorithm import EvolutiveNAS
from pymoo_nas.search._given import as_column
from pymoo_nas.search._operators import GenotypeMutation, note_parents
from pymoo_nas.search._survival import RankSumSurvival, log_rank_sum

EVOLUTIVE = "evolutive"
"""The name of the strategy that is taken unless another one is named."""


class RandomSearch(EvolutiveNAS):
    """Draw new genotypes at random in every generation; nothing is learned from the others.

    Without limits of sizes, or with loose ones, the candidates are those of one long draw, however
    they are divided into generations: the first generation stops to make genotypes smaller where
    few of them keep the limits. Survivors are chosen of all that were scored so far. The search
    ends where a hundred draws for each missing candidate bring nothing new.

    Args:
        pop_size: survivors.
        n_offsprings: candidates drawn and scored per generation.
        **kwargs: of `EvolutiveNAS`; selection, crossover and mutation have no effect.

    Raises:
        SearchError: see `EvolutiveNAS`.
    """

    def __init__(self, pop_size: int = 5, n_offsprings: int = 15, **kwargs: Any) -> None:
        super().__init__(pop_size, n_offsprings, **kwargs)
        self.mating = self.new_genotypes

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        self.pop = Population(self.scored)
        super()._advance(infills=infills, **kwargs)

    def _learn(self) -> None:
        """Nothing is mutated."""


class RegularisedEvolution(EvolutiveNAS):
    """Aging evolution (Real 2019): the youngest survive, a tournament chooses each parent.

    A parent is the best of so many that are drawn from the population, by the sum of the logarithms
    of their ranks in the objectives within it; feasible ones go before others. A child is its
    parent after one mutation. Kinds of mutation are learned as in `EvolutiveNAS`.

    Args:
        pop_size: the youngest that are kept.
        n_offsprings: children per generation, all of one population; 1 as in the paper.
        sample_size: competitors for each parent.
        **kwargs: of `EvolutiveNAS`, in place of the operators; gradients are not measured.

    Raises:
        SearchError: see `EvolutiveNAS`; steady=True; or sample_size is no integer of at least 1.
    """

    def __init__(
        self, pop_size: int = 30, n_offsprings: int = 5, *, sample_size: int = 10, **kwargs: Any
    ) -> None:
        pressure = whole("sample_size", sample_size)
        own = {
            "selection": TournamentSelection(fittest, pressure=pressure),
            "crossover": NewChild(),
            "mutation": GenotypeMutation(max_steps=1),
            "survival": YoungestSurvival(),
        }
        if kwargs.get("steady"):
            raise SearchError(
                "steady=True with regularised evolution, where the youngest survive; leave it out"
            )
        super().__init__(pop_size, n_offsprings, **{**own, **kwargs, "steady": False})


def fittest(pop: Any, indices: npt.NDArray[Any], **_: Any) -> npt.NDArray[Any]:
    """The best of each row of competitors by the sum of log ranks in the population.

    Args:
        pop: n evaluated individuals.
        indices: (rows, competitors), places in the population.

    Returns:
        (rows, 1), the places of the best.
    """
    totals = log_rank_sum(np.array([individual.F for individual in pop], dtype=float).T)
    violations = np.array([float(individual.CV[0]) for individual in pop])
    totals = np.where(violations > 0, totals.max() + 1 + violations, totals)
    best = np.argmin(totals[indices], axis=1)
    return np.take_along_axis(indices, best[:, None], axis=1)


class NewChild(NoCrossover):
    """A child with the genotype of its one parent; pymoo's operator returns the parent itself."""

    def do(self, problem: Any, pop: Any, *args: Any, **kwargs: Any) -> Any:
        """One child for each row of parents."""
        del problem, args, kwargs
        children = Population.new("X", as_column([parent.X[0] for (parent,) in pop]))
        for child, mating in zip(children, pop, strict=True):
            note_parents(child, mating)
        return children


class YoungestSurvival(Survival):
    """The youngest survive, whatever their scores (Real 2019)."""

    def __init__(self) -> None:
        super().__init__(filter_infeasible=False)

    def _do(self, problem: Any, pop: Any, *args: Any, n_survive: int = 0, **kwargs: Any) -> Any:
        del problem, args, kwargs
        births = [individual.get("n_gen") or 0 for individual in pop]
        # Winners of a tournament do not stand in the order of their age.
        return pop[np.argsort(births, kind="stable")[len(pop) - n_survive :]]


class NSGA2Search(EvolutiveNAS):
    """NSGA-II (Deb 2002) with this package's crossover and mutation.

    Survival is by front and crowding distance; a binary tournament by constraint violation,
    dominance and crowding chooses each parent. It takes the course of pymoo's ``NSGA2`` with
    `operators`, and keeps what it has scored. The kinds of mutation are drawn as the search space
    begins with them.

    Args:
        pop_size: survivors.
        n_offsprings: candidates per generation; None takes pop_size.
        **kwargs: of `EvolutiveNAS`, in place of the operators.

    Raises:
        SearchError: see `EvolutiveNAS`.
    """

    def __init__(self, pop_size: int = 15, n_offsprings: int | None = None, **kwargs: Any) -> None:
        own = {
            "selection": TournamentSelection(binary_tournament),
            "survival": RankAndCrowding(),
        }
        n_offsprings = pop_size if n_offsprings is None else n_offsprings
        super().__init__(pop_size, n_offsprings, **{**own, **kwargs})
        self.tournament_type = "comp_by_dom_and_crowding"

    def _prefer_steady(self, problem: Any, space: Any) -> None:
        super()._prefer_steady(problem, space)
        # Dominance would prefer parents that are not steady; pymoo's selection reads this.
        by = "rank" if self.steady else "dom"
        self.tournament_type = f"comp_by_{by}_and_crowding"

    def _learn(self) -> None:
        """The mutations of the beginning stay, as in pymoo's algorithm."""


class Strategy(NamedTuple):
    """A strategy as run folders and the command line know it.

    Attributes:
        make: pop_size, n_offsprings → the algorithm; without them its own.
        generations: the default; every strategy scores 135 candidates by default.
        tournament_every: the default, generations between tournaments; 0 for none.
    """

    make: Callable[..., EvolutiveNAS]
    generations: int
    tournament_every: int = 0


STRATEGIES: Mapping[str, Strategy] = {
    EVOLUTIVE: Strategy(EvolutiveNAS, 9, 3),
    "random": Strategy(RandomSearch, 9),
    "regularised-evolution": Strategy(RegularisedEvolution, 22),
    "nsga2": Strategy(NSGA2Search, 9),
}
"""Name → strategy."""


def strategy_named(name: Any) -> Strategy:
    """The strategy of a name.

    Raises:
        SearchError: an unknown name; offers the nearest one.
    """
    if isinstance(name, str) and name in STRATEGIES:
        return STRATEGIES[name]
    near = difflib.get_close_matches(str(name).lower(), STRATEGIES, n=1, cutoff=0.4)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise SearchError(f"algorithm {name!r}; expected one of {', '.join(STRATEGIES)}{meant}")


def make_strategy(
    name: str,
    pop_size: int | None = None,
    n_offsprings: int | None = None,
    *,
    max_age: int | None = None,
    repair: bool = True,
    steady: bool | None = None,
) -> EvolutiveNAS:
    """The algorithm of a name.

    Args:
        name: one of `STRATEGIES`.
        pop_size: None takes that of the strategy.
        n_offsprings: None takes that of the strategy.
        max_age: see `RankSumSurvival`; for "evolutive" only.
        repair: see `EvolutiveNAS`.
        steady: see `EvolutiveNAS`.

    Raises:
        SearchError: an unknown name, a limit of age for a strategy that has none, or steady ones
            first where survival goes by age.
    """
    sizes = {"pop_size": pop_size, "n_offsprings": n_offsprings}
    options: dict[str, Any] = {size: value for size, value in sizes.items() if value is not None}
    options |= {"repair": repair, "steady": steady}
    make = strategy_named(name).make
    if max_age is not None:
        if name != EVOLUTIVE:
            raise SearchError(
                f"max_age {max_age} with the algorithm {name}, whose survivors have no limit of "
                f"age; leave it out, or take {EVOLUTIVE}"
            )
        options["survival"] = RankSumSurvival(max_age)
    return make(**options)
