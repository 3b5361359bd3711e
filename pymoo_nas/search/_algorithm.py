"""EvolutiveNAS: the paper's genetic algorithm, put together from its operators."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any, overload

from pymoo.algorithms.base.genetic import GeneticAlgorithm
from pymoo.core.callback import Callback
from pymoo.core.population import Population
from pymoo.operators.selection.rnd import RandomSelection
from pymoo.util.display.output import Output
from pymoo.util.optimum import filter_optimum

from pymoo_nas._machine import whole
from pymoo_nas.errors import SearchError
from pymoo_nas.search._adoption import adopt
from pymoo_nas.search._duplicates import GenotypeDuplicates
from pymoo_nas.search._ending import NASOutput, NothingFoundWarning, nothing_found
from pymoo_nas.search._given import space_of
from pymoo_nas.search._new_genotypes import NewGenotypes
from pymoo_nas.search._operators import (
    GenotypeCrossover,
    GenotypeMutation,
    GenotypeSampling,
    MutationShares,
)
from pymoo_nas.search._repair import repair_of
from pymoo_nas.search._steady import SteadyFirst, measured_front, preferred, steady_front
from pymoo_nas.search._survival import RankSumSurvival
from pymoo_nas.search._tournament import (
    CallbackChain,
    check_callback,
    merge_distinct,
    tournaments_in,
)

NEW_DRAWS = 20
"""Draws for each missing child where parents have no new children left. Beneath hopeless limits the
repair makes the same few genotypes of all."""


class EvolutiveNAS(GeneticAlgorithm):
    """A (μ+λ) genetic algorithm over genotypes (Reolon 2021).

    The first generation samples `n_offsprings` candidates, or `pop_size` where that is more. A
    tournament given here as `callback` is kept when ``minimize`` gets another callback: both are
    called. Where parents have no new children left, new genotypes are drawn in their place; the
    search ends where that brings nothing new either.

    Args:
        pop_size: μ, survivors per generation.
        n_offsprings: λ, candidates scored per generation.
        sampling: default `GenotypeSampling`; or the genotypes to start from, in any form that
            `read_genotypes` takes.
        selection: selection of parents; default pymoo's ``RandomSelection``.
        crossover: default `GenotypeCrossover`.
        mutation: default `GenotypeMutation`, with probabilities learned in ``data["mutation"]``.
        survival: default `RankSumSurvival`.
        eliminate_duplicates: default `GenotypeDuplicates`.
        repair: whether genotypes over a limit of a size are made smaller before scoring, see
            `GenotypeRepair` (studies/limits.py); or a repair of your own.
        steady: whether candidates with steady gradients survive first, see `SteadyFirst`; what
            survives, and all that is not dominated, is measured. None takes the answer of the
            search space, ``chosen_by_gradients`` (studies/rivals.py).
        callback: for example a `DartsTournament`.
        output: columns printed with ``verbose=True``; default `NASOutput`.
        **kwargs: further arguments of pymoo's ``GeneticAlgorithm``.

    Attributes:
        generation: parents and offspring of the current generation, before survival.
        scored: every individual scored in this run, in order; entries of pymoo's history hold a
            view of this list. Each individual has its place here, from 1, as ``number``.
        steady: see above; a truth value after `setup`.

    Raises:
        SearchError: pop_size or n_offsprings is no integer of at least 1; no genotypes to start
            from; a class in place of an operator or a callback; steady is no truth value.
    """

    def __init__(
        self,
        pop_size: int = 5,
        n_offsprings: int = 15,
        *,
        sampling: Any = None,
        selection: Any = None,
        crossover: Any = None,
        mutation: Any = None,
        survival: Any = None,
        eliminate_duplicates: Any = None,
        repair: Any = True,
        steady: bool | None = None,
        callback: Callback | None = None,
        output: Output | None = None,
        **kwargs: Any,
    ) -> None:
        given = {"sampling": sampling, "selection": selection, "survival": survival}
        for name, value in {**given, "eliminate_duplicates": eliminate_duplicates}.items():
            if isinstance(value, type):
                raise SearchError(f"{name}={value.__name__}: a class; expected an instance of it")
        if callback is not None:
            check_callback(callback)
        if steady is not None and not isinstance(steady, bool):
            raise SearchError(f"steady={steady!r}; expected True, False, or None")
        super().__init__(
            pop_size=whole("pop_size", pop_size),
            n_offsprings=whole("n_offsprings", n_offsprings),
            sampling=sampling if callable(sampling) else GenotypeSampling(sampling),
            selection=RandomSelection() if selection is None else selection,
            crossover=GenotypeCrossover() if crossover is None else crossover,
            mutation=GenotypeMutation() if mutation is None else mutation,
            survival=RankSumSurvival() if survival is None else survival,
            eliminate_duplicates=(
                GenotypeDuplicates() if eliminate_duplicates is None else eliminate_duplicates
            ),
            repair=repair_of(repair),
            callback=callback,
            output=NASOutput() if output is None else output,
            advance_after_initial_infill=True,
            **kwargs,
        )
        self.new_genotypes = NewGenotypes(
            self.repair, eliminate_duplicates=self.eliminate_duplicates
        )
        self.steady = self._asked = steady
        self.survival: Any
        self._wrapped: SteadyFirst | None = None
        self.generation: Any = None
        self.scored: list[Any] = []
        self._n_tournaments = 0

    def setup(self, problem: Any, **kwargs: Any) -> Any:
        """Prepare a run; called by ``minimize``.

        Raises:
            SearchError: no termination (pymoo's default ends late on genotypes), a problem without
                search_space, operators that do not know genotypes, or an algorithm that has run.
        """
        if self.is_initialized:
            raise SearchError(
                "this algorithm has run already; make another EvolutiveNAS for another run, or go "
                "on with it: set algorithm.termination and call algorithm.run()"
            )
        if kwargs.get("termination", self.termination) is None:
            raise SearchError(
                'no termination given; expected one such as ("n_gen", 30): '
                "pymoo's default ends late on genotypes, after hundreds of generations"
            )
        given = kwargs.pop("callback", None)
        if given is not None:
            check_callback(given)
            replaces = tournaments_in(self.callback) and not tournaments_in(given)
            kwargs["callback"] = CallbackChain(self.callback, given) if replaces else given
        # Only the number is kept: pymoo copies the algorithm for its history, not the callback.
        self._n_tournaments = len(tournaments_in(kwargs.get("callback", self.callback)))
        super().setup(problem, **kwargs)
        space = space_of(problem)
        adopt(self, space)
        self._prefer_steady(problem, space)
        return self

    def _prefer_steady(self, problem: Any, space: Any) -> None:
        """Let steady ones survive first, where that is asked for.

        Raises:
            SearchError: it is asked for, and the problem cannot measure.
        """
        can = hasattr(problem, "steadiness_of")
        if self._wrapped is not None and self.survival is self._wrapped:
            self.survival = self._wrapped.survival  # by an earlier setup, for another problem
        self._wrapped = None
        given = isinstance(self.survival, SteadyFirst)
        self.steady = self._asked
        if self.steady is None:
            wanted = given or bool(getattr(space, "chosen_by_gradients", False))
            self.steady = can and wanted
        if not self.steady or given:
            return
        if not can:
            raise SearchError(
                f"steady=True: {type(problem).__name__} has no images to measure gradients with; "
                "expected a NASProblem; leave steady out"
            )
        self.survival = self._wrapped = SteadyFirst(self.survival)

    def __deepcopy__(self, memo: dict[int, Any]) -> EvolutiveNAS:
        """Copy the algorithm, as pymoo does for every entry of its history.

        Pymoo removes the history before it copies. All entries share one list of the scored
        individuals, so that a history grows with the number of generations, not with its square.
        """
        other = object.__new__(type(self))
        memo[id(self)] = other
        if self.history is None:
            memo[id(self.scored)] = _Head(self.scored, len(self.scored))
        other.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return other

    def _initialize_infill(self) -> Any:
        return self.initialization.do(
            self.problem,
            max(self.pop_size, self.n_offsprings),
            algorithm=self,
            random_state=self.random_state,
        )

    def _infill(self) -> Any:
        infill = {"algorithm": self, "random_state": self.random_state}
        children = self.mating.do(self.problem, self.pop, self.n_offsprings, **infill)
        missing = self.n_offsprings - len(children)
        if missing and not isinstance(self.mating, NewGenotypes):
            # Everything near the parents has been scored.
            known = Population.merge(self.pop, children)
            drawn = self.new_genotypes.do(
                self.problem, known, missing, n_max_iterations=NEW_DRAWS, **infill
            )
            children = Population.merge(children, drawn)
        if len(children):
            return children
        self.termination.force_termination = True
        return None

    def _initialize_advance(self, infills: Any = None, **kwargs: Any) -> None:
        self.pop = infills[:0]
        self._advance(infills=infills, **kwargs)

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        self.generation = merge_distinct(self.pop, infills if infills is not None else [])
        self.scored += list(infills) if infills is not None else []
        number_scored(self.scored)
        super()._advance(infills=infills, **kwargs)
        if self.steady:
            measured_front(self.scored, self.problem)

    def _set_optimum(self) -> None:
        self.opt = filter_optimum(preferred(self.pop), least_infeasible=True)

    def front_of_all(self) -> Any:
        """A population: all non-dominated candidates that were scored, best rank sum first.

        Degenerate and infeasible candidates are left out, and those that are not steady, where that
        was measured and any steady one is there.
        """
        return steady_front(self.scored)

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
        """Learn which mutations gave children that survived the generation and its tournament."""
        shares = MutationShares.of(self, self.problem.search_space)
        children = self.off if self.off is not None else []
        shares.learn((child.get("mutation"), child.get("survived")) for child in children)
        self.data["mutation"] = shares.as_data()

    def result(self) -> Any:
        """Pymoo's result, with an ``archive``.

        ``F`` and ``X`` are those of the survivors; ``archive`` is what `front_of_all` returns.
        """
        found = super().result()
        found.algorithm = self  # as minimize does
        if found.archive is None:
            found.archive = self.front_of_all()
        return found

    def _finalize(self) -> None:
        failure = nothing_found(self)
        if failure:
            warnings.warn(failure, NothingFoundWarning, stacklevel=2)


def number_scored(scored: Sequence[Any]) -> None:
    """Note on all individuals their places, from 1, by which children name their parents."""
    for number, individual in enumerate(scored, 1):
        individual.set("number", number)


class _Head(Sequence[Any]):
    """The first `length` items of a list that only grows, without a copy."""

    def __init__(self, items: Sequence[Any], length: int) -> None:
        self._items = items
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        places = range(self._length)[index]
        if isinstance(places, range):
            return [self._items[place] for place in places]
        return self._items[places]
