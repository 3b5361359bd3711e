from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from strategies import score_matrices

from pymoo_nas.errors import SearchError
from pymoo_nas.search import EvolutiveNAS, RankSumSurvival
from pymoo_nas.search._survival import order_population, rank_sum, survival_order
from pymoo_nas.spaces import CellSpace


def population(scores: Any, violations: Any = None, births: Any = None) -> Population:
    """Evaluated individuals."""
    individuals = []
    for index, row in enumerate(scores):
        individual = Individual(X=np.array([index], dtype=object), F=np.array(row, dtype=float))
        individual.CV = np.array([0.0 if violations is None else violations[index]])
        individual.set("n_gen", 1 if births is None else births[index])
        individuals.append(individual)
    return Population(individuals)


def dominates(a: Any, b: Any) -> bool:
    """Not worse in any objective, better in one."""
    return bool(np.all(a <= b) and np.any(a < b))


def test_rank_sum_by_hand() -> None:
    """Dense ranks: equal scores share one, and no rank is left out after them."""
    # Column 1: 5 → 2, 1 → 1, 5 → 2, 9 → 3; column 2: 0 → 1, 0 → 1, 3 → 2, 4 → 3.
    scores = np.array([[5.0, 0], [1, 0], [5, 3], [9, 4]])
    assert rank_sum(scores).tolist() == [3, 2, 4, 6]


@given(score_matrices())
def test_fronts_equal_a_brute_force_pareto_filter(scores: Any) -> None:
    """Each front is what nothing that is left dominates."""
    left = list(range(len(scores)))
    for front in survival_order(scores):
        expected = [i for i in left if not any(dominates(scores[j], scores[i]) for j in left)]
        assert sorted(front.tolist()) == expected
        left = [i for i in left if i not in expected]
    assert not left


@given(score_matrices())
def test_order_within_a_front_is_by_rank_sum_then_position(scores: Any) -> None:
    """An obvious loop over the front's ranks gives the same order."""
    for front in survival_order(scores):
        members = sorted(front.tolist())
        sums = {}
        for i in members:
            sums[i] = sum(
                sorted({scores[j][m] for j in members}).index(scores[i][m]) + 1
                for m in range(scores.shape[1])
            )
        assert front.tolist() == sorted(members, key=lambda i: (sums[i], i))


@given(score_matrices(min_rows=1), st.integers(1, 14))
def test_survivors_are_the_head_of_the_order(scores: Any, n_survive: int) -> None:
    """As many survive as are asked for, the best ones, never none."""
    pop = population(scores)
    survivors = RankSumSurvival().do(None, pop, n_survive=n_survive)
    order = np.concatenate(survival_order(scores)).tolist()
    assert [ind.X[0] for ind in survivors] == order[: min(n_survive, len(scores))]
    assert [ind.get("rank") for ind in survivors] == sorted(ind.get("rank") for ind in survivors)


def test_paper_faults_are_not_repeated() -> None:
    """(1, 2, 3) does not stay beside (1, 1, 1), nor does the best in one objective alone."""
    survivors = RankSumSurvival().do(None, population([[1, 2, 3], [1, 1, 1]]), n_survive=1)
    assert survivors[0].F.tolist() == [1, 1, 1]


def test_feasible_come_first_then_the_smallest_violation() -> None:
    """However good its scores, an infeasible candidate follows every feasible one."""
    pop = population([[0, 0], [9, 9], [1, 1], [2, 2]], violations=[2.0, 0.0, 0.5, 0.0])
    assert [ind.X[0] for ind in order_population(pop)] == [3, 1, 2, 0]
    assert len(RankSumSurvival().do(None, pop[[0, 2]], n_survive=1)) == 1


def test_max_age_lets_old_parents_die() -> None:
    """A parent of max_age generations dies whatever its scores; with nobody else it stays."""

    class Now:
        n_iter = 4

    pop = population([[0, 0], [5, 5]], births=[1, 4])
    survival = RankSumSurvival(max_age=3)
    assert [i.X[0] for i in survival.do(None, pop, n_survive=2, algorithm=Now())] == [1]
    assert [i.X[0] for i in survival.do(None, pop[:1], n_survive=1, algorithm=Now())] == [0]
    assert len(RankSumSurvival().do(None, pop, n_survive=2, algorithm=Now())) == 2


@pytest.mark.parametrize(("reason", "left"), [("", [1]), ("no ReLU", [0])])
def test_old_parents_outlive_worthless_children(reason: str, left: list[int]) -> None:
    """A parent that is too old dies for a child that can be judged, not for a degenerate one."""

    class Now:
        n_iter = 4

    pop = population([[0, 0], [5, 5]], births=[1, 4])
    pop[1].set("degenerate", reason)
    survivors = RankSumSurvival(max_age=3).do(None, pop, n_survive=1, algorithm=Now())
    assert [i.X[0] for i in survivors] == left


def test_max_age_below_one_is_refused() -> None:
    """Nothing could survive its own birth."""
    with pytest.raises(SearchError, match="max_age"):
        RankSumSurvival(max_age=0)


class Limited(Problem):
    """Channels against nodes, with a limit on the channels that nothing at first meets."""

    def __init__(self, limit: int) -> None:
        super().__init__(n_var=1, n_obj=2, n_ieq_constr=1)
        self.search_space = CellSpace(channel_step=1, max_channels=9)
        self.limits = {"channels": limit}

    def _evaluate(self, x: Any, out: Any, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        out["F"] = np.array([[g.n_channels, -g.n_nodes] for (g,) in x], dtype=float)
        out["G"] = np.array([[g.n_channels - self.limits["channels"]] for (g,) in x], dtype=float)


@pytest.mark.parametrize("max_age", [1, 2, 4])
def test_nobody_is_older_than_max_age(max_age: int) -> None:
    """In a run of pymoo's, whoever is left after a generation was born in the last max_age."""
    ages: list[int] = []

    def note(algorithm: Any) -> None:
        ages.extend(algorithm.n_iter - ind.get("n_gen") for ind in algorithm.pop)

    algorithm = EvolutiveNAS(4, 6, survival=RankSumSurvival(max_age))
    minimize(Limited(1000), algorithm, ("n_gen", 8), seed=1, callback=note)
    assert max(ages) == max_age - 1


def test_feasible_ones_take_over() -> None:
    """Under a limit the search closes in on it, and once somebody keeps it, that stays so."""
    best: list[float] = []

    def note(algorithm: Any) -> None:
        best.append(min(float(ind.CV[0]) for ind in algorithm.pop))

    result = minimize(
        Limited(4), EvolutiveNAS(4, 6, survival=RankSumSurvival()), ("n_gen", 12), seed=1,
        callback=note,
    )  # fmt: skip
    assert best == sorted(best, reverse=True)
    assert best[-1] == 0
    assert all(ind.FEAS[0] for ind in result.opt)
