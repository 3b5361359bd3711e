"""Pymoo's wrappers around our problem and algorithm: they work, and change nothing of ours."""

from __future__ import annotations

import copy
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
import pytest
from cheap_problems import Channels, nsga2
from pymoo.constraints.as_obj import ConstraintsAsObjective
from pymoo.constraints.as_penalty import ConstraintsAsPenalty
from pymoo.constraints.eps import AdaptiveEpsilonConstraintHandling
from pymoo.constraints.from_bounds import ConstraintsFromBounds
from pymoo.core.meta import Meta
from pymoo.decomposition.asf import ASF
from pymoo.gradient.automatic import AutomaticDifferentiation
from pymoo.gradient.grad_complex import ComplexNumberGradient
from pymoo.optimize import minimize
from pymoo.parallelization import StarmapParallelization
from pymoo.problems.multi_to_single import MultiToSingleObjective
from pymoo.problems.static import StaticProblem
from pymoo.problems.util import decompose
from pymoo.problems.zero_to_one import ZeroToOne

from pymoo_nas.choice import build_final
from pymoo_nas.errors import SearchError
from pymoo_nas.plots import plot_front
from pymoo_nas.search import (
    DartsTournament,
    EvolutiveNAS,
    NASProblem,
    front_to_frame,
    history_to_frame,
)

EQUAL = np.ones(3) / 3


def single(problem: Any) -> Any:
    """The three objectives as one."""
    return MultiToSingleObjective(problem, ASF(), kwargs={"weights": EQUAL})


WRAPPERS: dict[str, tuple[Any, int]] = {
    "ConstraintsAsObjective": (ConstraintsAsObjective, 4),
    "MultiToSingleObjective": (single, 1),
    "both": (lambda problem: ConstraintsAsObjective(single(problem)), 2),
    # pymoo's penalty is for one objective only.
    "ConstraintsAsPenalty": (lambda problem: ConstraintsAsPenalty(single(problem)), 1),
    "StaticProblem": (lambda p: StaticProblem(p, F=np.zeros((6, 3)), G=np.zeros((6, 1))), 3),
    "AutomaticDifferentiation": (lambda p: AutomaticDifferentiation(p, backend=None), 3),
    "decompose": (lambda problem: decompose(problem, ASF(), EQUAL), 1),
}
"""Name → wrapper, and the objectives that are left."""


@pytest.fixture(scope="module")
def limited() -> NASProblem:
    """Digits, few images, and a limit that few candidates keep."""
    return NASProblem("digits", n_images=16, max_params=9000)


def state(problem: NASProblem) -> dict[str, Any]:
    """Every attribute but the counter."""
    return {name: value for name, value in vars(problem).items() if name != "n_scored"}


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: EvolutiveNAS(3, 6), nsga2], ids=["EvolutiveNAS", "NSGA2"])
@pytest.mark.parametrize("name", [name for name in WRAPPERS if name != "AutomaticDifferentiation"])
def test_a_search_through_a_wrapper(name: str, make: Any, limited: NASProblem) -> None:
    """The search runs, its front and history are tables, and the user's problem is as it was."""
    wrap, n_obj = WRAPPERS[name]
    before = state(limited)
    wrapped = wrap(limited)
    result = minimize(wrapped, make(), ("n_gen", 2), seed=1, verbose=True, save_history=True)
    assert np.atleast_2d(result.F).shape[1] == n_obj
    front, history = front_to_frame(result), history_to_frame(result)
    assert len(front) == len(result.opt)
    assert len(history) == 12
    assert state(limited) == before
    assert "__object__" not in before
    plain = minimize(limited, make(), ("n_gen", 2), seed=1)
    assert plain.F.shape[1] == 3
    if name != "StaticProblem":
        assert (history["params"] > 0).all()
        assert plot_front(result).axes
        assert build_final(result) is not None


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_changes_a_copy(name: str, limited: NASProblem) -> None:
    """Wrapping alone leaves the user's problem as it was, and shares its images and scorer."""
    before = state(limited)
    wrapped = WRAPPERS[name][0](limited)
    assert wrapped is not limited
    assert state(limited) == before
    assert wrapped.dataset is limited.dataset
    assert wrapped.scorer is limited.scorer
    assert wrapped.search_space is limited.search_space


@pytest.mark.parametrize(
    "wrap", [ConstraintsFromBounds, ComplexNumberGradient, ZeroToOne], ids=lambda w: w.__name__
)
def test_wrappers_of_numbers(wrap: Any, limited: NASProblem) -> None:
    """What needs bounds or derivatives fails, in our words where it asks for bounds, unharmed."""
    before = state(limited)
    with (
        pytest.raises(SearchError, match="bounds")
        if wrap is not ComplexNumberGradient
        else (pytest.raises(TypeError))
    ):
        wrap(limited).evaluate(np.array([["8000"]], dtype=object), return_values_of=["F", "G", "H"])
    assert state(limited) == before


def test_original_objectives_beside_the_wrapped(limited: NASProblem) -> None:
    """A wrapped front has the wrapper's objectives, numbered, and the three scores."""
    result = minimize(ConstraintsAsObjective(limited), EvolutiveNAS(3, 6), ("n_gen", 2), seed=1)
    front = front_to_frame(result)
    scores = front[["ntk", "activation", "correlation"]].to_numpy()
    assert np.array_equal(front[["f2", "f3", "f4"]].to_numpy(), scores)
    violation = front["f1"].to_numpy()
    excess = np.maximum(front["params"].to_numpy() - 9000, 0) / 9000
    assert violation == pytest.approx(excess)


def test_a_tournament_through_a_wrapper(limited: NASProblem) -> None:
    """The tournament finds the images of the wrapped problem."""
    tournament = DartsTournament(1, 2, n_steps=1, batch_size=16, n_images=64)
    wrapped = single(NASProblem(limited.dataset, n_images=16))
    result = minimize(wrapped, EvolutiveNAS(3, 6), ("n_gen", 2), seed=1, callback=tournament)
    assert history_to_frame(result)["alpha"].notna().any()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_problem(copied: Any, limited: NASProblem) -> None:
    """A copy has settings of its own, shares what is large, and scores the same."""
    other = copied(limited)
    before = state(limited)
    other.n_obj, other.callback = 7, print
    other.objective_names.append("more")
    assert state(limited) == before
    assert limited.objective_names == ["ntk", "activation", "correlation"]
    for name in ("dataset", "scorer", "probe", "search_space"):
        assert getattr(other, name) is getattr(limited, name)
    assert copied(limited).score_genotype("8000").values == limited.score_genotype("8000").values
    assert isinstance(limited, NASProblem)
    assert not isinstance(limited, Meta)


def test_a_copy_of_a_subclass() -> None:
    """A user's subclass is copied as what it is, with its own attributes."""

    class Own(NASProblem):
        def __init__(self) -> None:
            super().__init__("digits", n_images=16)
            self.seen = ["8000"]

    problem = Own()
    other = copy.deepcopy(problem)
    assert type(other) is Own
    other.seen.append("0800")
    assert problem.seen == ["8000"]


@pytest.mark.parametrize("make", [lambda: EvolutiveNAS(3, 6), nsga2], ids=["EvolutiveNAS", "NSGA2"])
def test_a_wrapped_algorithm(make: Any) -> None:
    """Pymoo's constraint handling around an algorithm runs, and nothing is scored twice."""
    problem = Channels(3, n_ieq_constr=1, limit=12)
    algorithm = AdaptiveEpsilonConstraintHandling(make())
    result = minimize(problem, algorithm, ("n_gen", 5), seed=1)
    assert len(problem.seen) == len(set(problem.seen)) == 30
    assert len(front_to_frame(result)) == len(result.F)


@pytest.mark.slow
def test_a_runner_of_threads(limited: NASProblem) -> None:
    """With pymoo's runner the scores are those without it, though threads share a generator."""
    elementwise = copy.copy(limited)
    elementwise.elementwise = True
    with ThreadPool(3) as pool:
        elementwise.elementwise_runner = StarmapParallelization(pool.starmap)
        result = minimize(elementwise, EvolutiveNAS(3, 6), ("n_gen", 3), seed=1)
    expected = minimize(limited, EvolutiveNAS(3, 6), ("n_gen", 3), seed=1)
    frames = [history_to_frame(r).drop(columns="seconds") for r in (result, expected)]
    assert frames[0].equals(frames[1])
