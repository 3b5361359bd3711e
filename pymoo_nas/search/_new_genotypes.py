"""Random genotypes as an infill of pymoo's, in place of children or beside them."""

from __future__ import annotations

from typing import Any

from pymoo.core.infill import InfillCriterion
from pymoo.core.population import Population
from pymoo.core.repair import Repair

from pymoo_nas.search._given import as_column, space_of


class NewGenotypes(InfillCriterion):
    """Random genotypes in place of children.

    Args:
        once: the repair of each genotype. Pymoo would repair a second time, and all at once.
        **kwargs: of pymoo's ``InfillCriterion``.
    """

    def __init__(self, once: Repair, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._once = once

    def _do(
        self, problem: Any, pop: Any, n_offsprings: int, random_state: Any = None, **kwargs: Any
    ) -> Any:
        del pop, kwargs
        space = space_of(problem)
        drawn = Population.create()
        # One by one, so that the candidates are the same however they are divided.
        for _ in range(n_offsprings):
            one = Population.new("X", as_column([space.sample(random_state)]))
            one = self._once.do(problem, one, random_state=random_state)
            drawn = Population.merge(drawn, one)
        return drawn
