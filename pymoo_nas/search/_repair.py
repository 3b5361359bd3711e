"""Repair: children over a limit are made smaller before they cost an evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import numpy as np
from pymoo.core.repair import Repair

from pymoo_nas._machine import whole
from pymoo_nas.errors import SearchError
from pymoo_nas.networks import Counts
from pymoo_nas.search._given import as_column, parsed, space_of
from pymoo_nas.search._limits import Limits
from pymoo_nas.search._steps import MutationStep, MutationSteps

STEPS_PER_DOUBLING = 1.5
"""Steps before the next count, for each factor of two over a limit."""

STALLED = 8
"""Tries without a smaller excess, after which a genotype is taken to be as small as can be."""

SETTLED = "settled"
"""Mark of an individual that is left as it is: given by the user, or fitted when it was drawn."""

FIT = "fit"
"""Kind of the step that a repair notes on a child."""


class GenotypeRepair(Repair):
    """Shrinks genotypes over the limits of sizes, step by step (see `SearchSpace.shrink`).

    Sizes are counted without memory and remembered. A step that makes the excess larger is taken
    back. The individual keeps a step "fit" in its ``mutation``. A latency is not known before it is
    measured, so that a limit of it repairs nothing.

    Args:
        max_steps: largest number of steps for one genotype; what is still too large then is left to
            the constraints.

    Raises:
        SearchError: max_steps is no integer of at least 1.
    """

    def __init__(self, max_steps: int = 100) -> None:
        super().__init__()
        self.max_steps = whole("repair: max_steps", max_steps)

    def do(self, problem: Any, pop: Any, *, random_state: Any = None, **kwargs: Any) -> Any:
        """Repair the genotypes of a population, in place."""
        del kwargs
        if not limits_sizes(problem):
            return pop
        space = space_of(problem)
        for individual in pop:
            if individual.get(SETTLED):
                continue
            genotype = parsed(space, individual.X[0])
            fitting = self.fitting(problem, genotype, random_state)
            if fitting != genotype:
                individual.X = as_column([fitting])[0]
                steps = individual.get("mutation") or ()
                individual.set("mutation", MutationSteps([*steps, MutationStep(FIT)]))
        return pop

    def fitting(self, problem: Any, genotype: Any, rng: np.random.Generator) -> Any:
        """A genotype within the limits, by steps from the given one; itself where it fits.

        Args:
            problem: with the method ``excess``, as `NASProblem` has it.
            genotype: of the problem's search space.
            rng: the only source of randomness.
        """
        space, left, stalled = space_of(problem), self.max_steps, 0
        # Parameters are counted much faster than all sizes.
        for excess_of in (partial(problem.excess, sizes=("params",)), problem.excess):
            excess = excess_of(genotype)
            while excess > 0 and left > 0 and stalled < STALLED:
                smaller = genotype
                for _ in range(min(left, 1 + int(STEPS_PER_DOUBLING * math.log2(1 + excess)))):
                    smaller = space.shrink(smaller, rng)
                    left -= 1
                rest = excess_of(smaller)
                stalled = 0 if rest < excess else stalled + 1
                if math.isfinite(rest) and rest <= excess:
                    genotype, excess = smaller, rest
        return genotype


def limits_sizes(problem: Any) -> bool:
    """Whether a problem can tell the excess of a genotype over its limits, and has any."""
    return hasattr(problem, "excess") and bool(getattr(problem, "limits", None))


def fitting_of(algorithm: Any, problem: Any) -> Callable[[Any, Any], Any] | None:
    """How an algorithm fits a drawn genotype to the limits: (genotype, rng) → another.

    None without a `GenotypeRepair`, or without limits of sizes.
    """
    repair = getattr(algorithm, "repair", None)
    if not isinstance(repair, GenotypeRepair) or not limits_sizes(problem):
        return None
    return partial(repair.fitting, problem)


def repair_of(given: Any) -> Repair | None:
    """The repair that an algorithm is given: true stands for `GenotypeRepair`, false for none.

    Raises:
        SearchError: something else than a repair, true or false.
    """
    if given is None or given is False:
        return None
    if given is True:
        return GenotypeRepair()
    if not isinstance(given, Repair):
        raise SearchError(f"repair={given!r}; expected true, false, or a Repair of pymoo")
    return given


class Sizes:
    """The sizes of networks, counted once for each; see `CandidateScorer.sizes`.

    Args:
        scorer: counts, and holds the limits; see `CandidateScorer`.
    """

    def __init__(self, scorer: Any) -> None:
        self._scorer = scorer
        self._known: dict[Any, Counts | None] = {}
        self._params: dict[Any, int | None] = {}

    def excess(self, genotype: Any, sizes: Collection[str]) -> float:
        """See `NASProblem.excess`."""
        limits = {name: most for name, most in self._scorer.limits.items() if name in sizes}
        if not limits:
            return -math.inf
        found = self._counted(genotype, params_only=set(limits) == {"params"})
        shares = Limits(**limits).excess(found) if found else {}
        return max(shares.values(), default=-math.inf)

    def counts(self, genotype: Any) -> Counts | None:
        """The counts of a network that was counted before; None of one that was not."""
        return self._known.get(self._key(genotype))

    def _key(self, genotype: Any) -> str:
        # Genotypes of one canonical form may have different sizes, as in NAS-Bench-201.
        return str(self._scorer.search_space.format(genotype))

    def _counted(self, genotype: Any, *, params_only: bool) -> dict[str, int]:
        """Size → number; empty for what cannot be built."""
        key = self._key(genotype)
        if params_only:
            if key not in self._params:
                self._params[key] = self._scorer.params_without_memory(genotype)
            params = self._params[key]
            return {} if params is None else {"params": params}
        if key not in self._known:
            self._known[key] = self._scorer.counts_without_memory(genotype)
        counts = self._known[key]
        return {} if counts is None else counts._asdict()
