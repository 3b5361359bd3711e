"""Survival by which steady individuals come first: what it measures, and what it keeps."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
from cheap_problems import MadeSteadiness
from hypothesis import given
from hypothesis import strategies as st
from pymoo.algorithms.moo.nsga2 import RankAndCrowding
from pymoo.core.individual import Individual
from pymoo.core.population import Population

from pymoo_nas import (
    NSGA2Search,
    RankSumSurvival,
    Steadiness,
    SteadyFirst,
)
from pymoo_nas.search._steady import measured_front

GOOD, BAD, WORSE = Steadiness(0.1, -0.1), Steadiness(1.1, -0.1), Steadiness(2.0, 0.1)


class Told:
    """A problem that knows the steadiness of each genotype, and notes which are asked for."""

    def __init__(self, steadiness: list[Steadiness]) -> None:
        self.search_space = self
        self.known = steadiness
        self.asked: list[int] = []

    def steadiness_of(self, genotypes: list[int]) -> list[Steadiness]:
        self.asked += genotypes
        return [self.known[genotype] for genotype in genotypes]

    def has_constraints(self) -> bool:
        return False


def population(scores: Any, *, infeasible: Any = (), degenerate: Any = ()) -> Population:
    """Evaluated individuals whose genotypes are their places."""
    everyone = []
    for place, row in enumerate(scores):
        one = Individual(X=np.array([place], dtype=object), F=np.atleast_1d(np.array(row, float)))
        one.CV = np.array([float(place in infeasible)])
        one.set("degenerate", "none" if place in degenerate else "")
        everyone.append(one)
    return Population(everyone)


def places(pop: Any) -> list[int]:
    return [one.X[0] for one in pop]


def test_the_next_best_takes_the_place_of_what_is_not_steady() -> None:
    """Of five by one score the second is not steady: 0, 2, 3 survive, and 4 is never measured."""
    problem = Told([GOOD, BAD, GOOD, GOOD, GOOD])
    survivors = SteadyFirst(RankSumSurvival()).do(problem, population([1, 2, 3, 4, 5]), n_survive=3)
    assert places(survivors) == [0, 2, 3]
    assert problem.asked == [0, 1, 2, 3]


def test_too_few_are_steady() -> None:
    """The least unsteady follow, then degenerate and infeasible ones; neither is measured."""
    problem = Told([WORSE, BAD, GOOD, GOOD, GOOD])
    pop = population([1, 2, 3, 4, 5], infeasible=[4], degenerate=[3])
    survivors = SteadyFirst(RankSumSurvival()).do(problem, pop)
    assert places(survivors) == [2, 1, 0, 3, 4]
    assert sorted(problem.asked) == [0, 1, 2]
    assert [one.get("rank") for one in survivors[:3]] == [0, 1, 2]


def test_a_gradient_that_cannot_be_measured_is_not_steady() -> None:
    """Where growth or smoothness is NaN, the individual is measured once and comes last."""
    problem = Told([Steadiness(math.nan, math.nan), Steadiness(-math.inf, math.nan), BAD])
    pop = population([1, 2, 3])
    survival = SteadyFirst(RankSumSurvival())
    assert places(survival.do(problem, pop, n_survive=2)) == [2, 0]
    assert places(survival.do(problem, pop, n_survive=2)) == [2, 0]
    assert sorted(problem.asked) == [0, 1, 2]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([GOOD, BAD, WORSE])), min_size=1),
    st.integers(1, 6),
)
def test_by_one_score_it_is_the_slow_sort(rows: Any, n_survive: int) -> None:
    """Survivors are those of a sort by steadiness, then score, that measures everything."""
    problem = Told([steadiness for _, steadiness in rows])
    pop = population([score for score, _ in rows])
    survivors = SteadyFirst(RankSumSurvival()).do(problem, pop, n_survive=n_survive)
    keys = [
        (not steadiness.steady, 0 if steadiness.steady else steadiness.excess, score)
        for score, steadiness in rows
    ]
    expected = sorted(keys)[:n_survive]
    found = [keys[place] for place in places(survivors)]
    assert [key[:2] for key in found] == [key[:2] for key in expected]
    assert [key for key in found if not key[0]] == [key for key in expected if not key[0]]


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from([GOOD, BAD])), min_size=1
    )
)
def test_the_front_is_that_of_all_steady_ones(rows: Any) -> None:
    """Without a measurement of what is dominated, it is the front that a brute force finds."""
    problem = Told([steadiness for *_, steadiness in rows])
    pop = population([row[:2] for row in rows])
    front = measured_front(pop, problem)
    usable = [place for place, row in enumerate(rows) if row[2].steady] or range(len(rows))
    values = np.array([row[:2] for row in rows])

    def dominated(place: int) -> bool:
        others = values[list(usable)]
        better = (others <= values[place]).all(1) & (others < values[place]).any(1)
        return bool(better.any())

    assert sorted(places(front)) == [place for place in usable if not dominated(place)]
    assert len(problem.asked) == len(set(problem.asked))


def test_what_the_other_survival_lets_die_does_not_come_back() -> None:
    """With a limit of age, an old individual dies, steady or not."""
    problem = Told([BAD, GOOD, GOOD, BAD])
    pop = population([1, 2, 3, 4])
    for one, birth in zip(pop, (1, 1, 8, 8), strict=True):
        one.set("n_gen", birth)
    survival = SteadyFirst(RankSumSurvival(max_age=3))
    found = survival.do(problem, pop, n_survive=3, algorithm=SimpleNamespace(n_iter=8))
    assert places(found) == [2, 3]


def test_parents_of_nsga2_are_steady() -> None:
    """Its tournament of parents goes by the rank that survival gave."""
    problem = Told([BAD, GOOD])
    pop = SteadyFirst(RankAndCrowding()).do(problem, population([[0, 0], [1, 1]]))
    algorithm = NSGA2Search(4, steady=True)
    algorithm.setup(MadeSteadiness(), termination=("n_gen", 1))
    chosen = algorithm.mating.selection.do(
        problem, pop, 20, 1, algorithm=algorithm, random_state=np.random.default_rng(0)
    )
    pairs = [parent.X[0] for row in chosen for parent in row]
    assert pairs.count(0) < 10  # both competitors were the bad one


def test_pymoos_survival_can_be_wrapped() -> None:
    """Rank and crowding of NSGA-II choose among the steady ones."""
    problem = Told([BAD, GOOD, GOOD, GOOD])
    pop = population([[0, 0], [1, 2], [2, 1], [3, 3]])
    survivors = SteadyFirst(RankAndCrowding()).do(problem, pop, n_survive=2)
    assert sorted(places(survivors)) == [1, 2]
