"""EvolutiveNAS: the paper's genetic algorithm, put together from its operators."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
from pymoo.algorithms.base.genetic import GeneticAlgorithm
from pymoo.core.callback import Callback
from pymoo.operators.selection.rnd import RandomSelection
from pymoo.util.display.column import Column
from pymoo.util.display.output import Output

from pymoo_nas.errors import SearchError
from pymoo_nas.operators import (
    GenotypeCrossover,
    GenotypeDuplicates,
    GenotypeMutation,
    GenotypeSampling,
    MutationShares,
)
from pymoo_nas.survival import RankSumSurvival
from pymoo_nas.tournament import CallbackChain, merge_distinct, tournaments_in


class EvolutiveNAS(GeneticAlgorithm):
    """A (μ+λ) genetic algorithm over genotypes (Reolon 2021).

    The first generation samples as many candidates as there are offspring. A tournament given here
    as `callback` is kept when ``minimize`` gets another callback: both are called.

    Args:
        pop_size: μ, survivors per generation.
        n_offsprings: λ, candidates scored per generation.
        sampling: default `GenotypeSampling`.
        selection: of parents; default pymoo's ``RandomSelection``.
        crossover: default `GenotypeCrossover`.
        mutation: default `GenotypeMutation`, with probabilities learned in ``data["mutation"]``.
        survival: default `RankSumSurvival`.
        eliminate_duplicates: default `GenotypeDuplicates`.
        callback: for example a `DartsTournament`.
        output: columns printed with ``verbose=True``; default `NASOutput`.
        **kwargs: whatever pymoo's ``GeneticAlgorithm`` takes.

    Attributes:
        generation: parents and offspring of the generation, as they were before survival.
        scored: every individual scored in this run, in order.

    Raises:
        SearchError: pop_size or n_offsprings below 1; a run without termination.
    """

    def __init__(
        self,
        pop_size: int = 5,
        n_offsprings: int = 30,
        *,
        sampling: Any = None,
        selection: Any = None,
        crossover: Any = None,
        mutation: Any = None,
        survival: Any = None,
        eliminate_duplicates: Any = None,
        callback: Callback | None = None,
        output: Output | None = None,
        **kwargs: Any,
    ) -> None:
        for name, value in (("pop_size", pop_size), ("n_offsprings", n_offsprings)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SearchError(f"{name}={value!r}; expected an integer of at least 1")
        super().__init__(
            pop_size=pop_size,
            n_offsprings=n_offsprings,
            sampling=GenotypeSampling() if sampling is None else sampling,
            selection=RandomSelection() if selection is None else selection,
            crossover=GenotypeCrossover() if crossover is None else crossover,
            mutation=GenotypeMutation() if mutation is None else mutation,
            survival=RankSumSurvival() if survival is None else survival,
            eliminate_duplicates=(
                GenotypeDuplicates() if eliminate_duplicates is None else eliminate_duplicates
            ),
            callback=callback,
            output=NASOutput() if output is None else output,
            advance_after_initial_infill=True,
            **kwargs,
        )
        self.generation: Any = None
        self.scored: list[Any] = []
        self._n_tournaments = 0

    def setup(self, problem: Any, **kwargs: Any) -> Any:
        """Prepare a run; called by ``minimize``.

        Raises:
            SearchError: no termination (pymoo's default never ends on genotypes).
        """
        if kwargs.get("termination", self.termination) is None:
            raise SearchError(
                'no termination given; expected one such as ("n_gen", 30): '
                "pymoo's default never ends on genotypes"
            )
        given = kwargs.get("callback")
        if given is None:
            kwargs.pop("callback", None)
        elif tournaments_in(self.callback) and not tournaments_in(given):
            kwargs["callback"] = CallbackChain(self.callback, given)
        # Their number only: pymoo copies the algorithm for its history, but not the callback.
        self._n_tournaments = len(tournaments_in(kwargs.get("callback", self.callback)))
        return super().setup(problem, **kwargs)

    def _initialize_infill(self) -> Any:
        return self.initialization.do(
            self.problem,
            max(self.pop_size, self.n_offsprings),
            algorithm=self,
            random_state=self.random_state,
        )

    def _initialize_advance(self, infills: Any = None, **kwargs: Any) -> None:
        self.pop = infills[:0]
        self._advance(infills=infills, **kwargs)

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        self.generation = merge_distinct(self.pop, infills if infills is not None else [])
        self.scored += list(infills) if infills is not None else []
        super()._advance(infills=infills, **kwargs)

    def _post_advance(self) -> None:
        n_tournaments = len(tournaments_in(self.callback))
        if n_tournaments < self._n_tournaments:
            self._n_tournaments = n_tournaments
            warnings.warn(
                "the tournament is lost: algorithm.callback was replaced after set-up; "
                "use CallbackChain(tournament, your_callback)",
                stacklevel=2,
            )
        super()._post_advance()
        survivors = {id(individual) for individual in self.pop}
        for individual in self.off if self.off is not None else []:
            individual.set("survived", id(individual) in survivors)
        self._learn()

    def _learn(self) -> None:
        """Once a generation: which mutations gave children that survived it and its tournament."""
        shares = MutationShares.of(self, self.problem.search_space)
        children = self.off if self.off is not None else []
        shares.learn((child.get("mutation") or "", child.get("survived")) for child in children)
        self.data["mutation"] = shares.as_data()

    def _finalize(self) -> None:
        failure = nothing_found(self)
        if failure:
            warnings.warn(failure, stacklevel=2)


def nothing_found(algorithm: EvolutiveNAS) -> str:
    """Why a search ends without any architecture worth having; empty where it has one."""
    feasible = [individual for individual in algorithm.pop if individual.FEAS[0]]
    if not feasible:
        return _nothing_feasible(algorithm.problem, algorithm.scored)
    reasons = Counter(individual.get("degenerate") for individual in feasible)
    if not all(reasons):
        return ""
    found = [f"{n} × {reason}" for reason, n in reasons.most_common()]
    over = [individual for individual in algorithm.scored if not individual.FEAS[0]]
    if over:
        found.append(f"{len(over)} over the limits, {_closest(algorithm.problem, over)}")
    return (
        f"none of {len(algorithm.scored)} candidates is left that could be judged "
        f"({', '.join(found)}); raise the limits (max_params, max_flops, max_acts), search another "
        "space, or score on fewer images"
    )


def _nothing_feasible(problem: Any, scored: Any) -> str:
    """What to say when no candidate kept the limits."""
    return (
        f"none of {len(scored)} candidates keeps the limits; {_closest(problem, scored)}; "
        "raise the limits (max_params, max_flops, max_acts), or search a smaller space"
    )


def _closest(problem: Any, over: Any) -> str:
    """Which of the candidates over the limits is least so, and by how much."""
    closest = min(over, key=lambda individual: float(individual.CV[0]))
    counts = ", ".join(
        f"{int(closest.get(name)):,} {name} (limit {limit:,})"
        for (name, limit), excess in zip(problem.limits.items(), closest.G, strict=True)
        if excess > 0
    )
    return f"the closest, {problem.search_space.format(closest.X[0])}, has {counts}"


class NASOutput(Output):
    """Columns of a run: size of the front, and the best of each objective in the population."""

    def __init__(self) -> None:
        super().__init__()
        self.front = Column("n_nds", width=6)
        self.columns += [self.front]
        self.best: list[Column] = []

    def initialize(self, algorithm: Any) -> None:
        """One column per objective of the problem."""
        names = getattr(algorithm.problem, "objective_names", None)
        self.best = [Column(name) for name in names or range(algorithm.problem.n_obj)]
        self.columns += self.best

    def update(self, algorithm: Any) -> None:
        """Read the generation's values."""
        super().update(algorithm)
        self.front.set(len(algorithm.opt))
        scores = np.array([individual.F for individual in algorithm.opt])
        for column, value in zip(self.best, scores.min(0), strict=True):
            column.set(float(value))
