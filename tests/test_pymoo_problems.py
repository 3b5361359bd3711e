"""Problems of a user's own: any number of objectives, constraints of any kind, nothing feasible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cheap_problems import Channels, nsga2, operators
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.algorithms.soo.nonconvex.ga import GA
from pymoo.optimize import minimize
from pymoo.util.ref_dirs import get_reference_directions

from pymoo_nas.choice import build_final, order_front
from pymoo_nas.errors import SearchError
from pymoo_nas.runs import choose
from pymoo_nas.search import (
    DartsTournament,
    EvolutiveNAS,
    NASProblem,
    front_to_frame,
    history_to_frame,
    nothing_found,
    read_frame,
    write_frame,
)


def nsga3(n_obj: int) -> NSGA3:
    """NSGA-III with as many reference directions as it needs."""
    directions = get_reference_directions("das-dennis", n_obj, n_partitions=2)
    return NSGA3(directions, pop_size=12, **operators())


CONSTRAINTS = [(1, 0), (0, 1), (2, 2)]
"""Numbers of inequality and equality constraints."""


@pytest.mark.parametrize("n_obj", [1, 2, 4])
@pytest.mark.parametrize(("n_ieq", "n_eq"), CONSTRAINTS)
@pytest.mark.parametrize("least", [False, True])
def test_nothing_feasible(n_obj: int, n_ieq: int, n_eq: int, least: bool) -> None:
    """The run ends with a warning that names the constraints of the closest, and keeps all."""
    problem = Channels(n_obj, n_ieq, n_eq)
    algorithm = EvolutiveNAS(3, 6, return_least_infeasible=least)
    with pytest.warns(UserWarning, match="keeps the constraints; the closest, ") as caught:
        result = minimize(problem, algorithm, ("n_gen", 3), seed=1, verbose=True)
    said = str(caught[0].message)
    assert [f"G[{i}]" in said for i in range(3)] == [i < n_ieq for i in range(3)]
    assert [f"H[{i}]" in said for i in range(3)] == [i < n_eq for i in range(3)]
    assert "max_params" not in said
    assert (result.F is None) is not least
    assert front_to_frame(result).empty
    history = history_to_frame(result)
    assert len(history) == 18
    assert not history["feasible"].any()
    with pytest.raises(SearchError):
        build_final(result)


@pytest.mark.parametrize("n_obj", [2, 4])
@pytest.mark.parametrize(("n_ieq", "n_eq"), CONSTRAINTS)
def test_nothing_feasible_under_other_algorithms(n_obj: int, n_ieq: int, n_eq: int) -> None:
    """NSGA-II and NSGA-III end with an empty front, and their history holds all."""
    for algorithm in (nsga2(), nsga3(n_obj)):
        problem = Channels(n_obj, n_ieq, n_eq)
        result = minimize(problem, algorithm, ("n_gen", 3), seed=1, save_history=True)
        assert front_to_frame(result).empty
        assert len(history_to_frame(result)) == len(problem.seen)


@pytest.mark.parametrize("n_obj", [1, 2, 4])
@pytest.mark.parametrize(("n_ieq", "n_eq"), [(0, 0), *CONSTRAINTS])
def test_objectives_of_a_users_own(
    n_obj: int, n_ieq: int, n_eq: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Objectives without names are numbered, in the printed table and in the front."""
    problem = Channels(n_obj, n_ieq, n_eq, limit=30)
    result = minimize(problem, EvolutiveNAS(3, 6), ("n_gen", 3), seed=1, verbose=True)
    names = [f"f{i + 1}" for i in range(n_obj)]
    front = front_to_frame(result)
    assert [name for name in front if name.startswith("f") and name != "feasible"] == names
    assert {tuple(row) for row in front[names].to_numpy()} == {
        tuple(row) for row in np.atleast_2d(result.F)
    }
    assert not {"params", "flops", "acts", "seconds", "ntk"} & set(front)
    header = capsys.readouterr().out.splitlines()[1]
    assert [name for name in header.replace("|", " ").split() if name in names] == names


@pytest.mark.parametrize("names", [[], ["one"], ["a", "b", "c"]])
def test_names_that_do_not_fit(names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Names are taken where there are as many as objectives, else there are numbers."""
    problem: Any = Channels(3)
    problem.objective_names = names
    result = minimize(problem, EvolutiveNAS(3, 6), ("n_gen", 2), seed=1, verbose=True)
    expected = names if len(names) == 3 else ["f1", "f2", "f3"]
    assert list(front_to_frame(result))[2:5] == expected
    assert all(name in capsys.readouterr().out.splitlines()[1] for name in [expected[0]])


def test_one_objective_under_ga() -> None:
    """Pymoo's single-objective algorithm ends with one row."""
    result = minimize(Channels(1), GA(pop_size=6, **operators()), ("n_gen", 3), seed=1)
    assert front_to_frame(result)["f1"].tolist() == result.F.tolist()


class OwnConstraint(NASProblem):
    """A limit of ours, and beside it a constraint of the user's that nothing keeps."""

    def __init__(self, first: bool, **settings: Any) -> None:
        super().__init__("digits", n_images=16, **settings)
        self.n_ieq_constr += 1
        self.first = first

    def _evaluate(self, x: Any, out: Any, *args: Any, **kwargs: Any) -> None:
        super()._evaluate(x, out, *args, **kwargs)
        own = np.full((len(x), 1), 0.5)
        limits = out["G"] if self.limits else np.empty((len(x), 0))
        out["G"] = np.hstack([own, limits] if self.first else [limits, own])


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("limit", [None, 20, 10**9])
def test_own_constraints_beside_limits(first: bool, limit: int | None) -> None:
    """Limits and the user's constraints are told apart, in whatever order they come."""
    problem = OwnConstraint(first, max_params=limit)
    with pytest.warns(UserWarning, match="keeps the") as caught:
        result = minimize(problem, EvolutiveNAS(3, 6), ("n_gen", 2), seed=1)
    said = str(caught[0].message)
    own = 0 if first or limit is None else 1
    assert f"G[{own}] = 0.5" in said
    assert f"G[{1 - own}]" not in said
    assert ("(limit 20)" in said) == (limit == 20)
    assert ("keeps the limits and constraints" in said) == (limit is not None)
    assert front_to_frame(result).empty
    assert nothing_found(result.algorithm) == said


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ({"max_peak_memory": 10}, r"peak_memory \(limit 10\).*--max-memory, max_peak_memory="),
        ({"max_latency": 1e-4}, r" ms latency \(limit 0.0001\).*--max-latency, max_latency="),
    ],
)
def test_limits_are_named_as_they_are_given(limit: dict[str, Any], told: str) -> None:
    """By the option and by the argument, and a time by its unit."""
    problem = NASProblem("digits", n_images=8, **limit)
    with pytest.warns(UserWarning, match=told):
        minimize(problem, EvolutiveNAS(2, 2), ("n_gen", 1), seed=1)


def test_a_tournament_without_images() -> None:
    """A tournament on a problem without images is refused by name."""
    with pytest.raises(SearchError, match="Channels has no images"):
        minimize(Channels(), EvolutiveNAS(3, 6), ("n_gen", 3), callback=DartsTournament(1, 2))
    result = minimize(Channels(), EvolutiveNAS(3, 6), ("n_gen", 3), seed=1)
    with pytest.raises(SearchError, match="Channels has no images"):
        build_final(result)


@pytest.mark.parametrize("n_obj", [2, 4])
def test_choice_from_objectives_of_a_users_own(n_obj: int) -> None:
    """Knee and weights choose from objectives without names; ranks, which need sizes, do not."""
    result = minimize(Channels(n_obj), EvolutiveNAS(3, 6), ("n_gen", 2), seed=1)
    pd.testing.assert_frame_equal(choose(result, "knee"), order_front(front_to_frame(result)))
    first = choose(result, weights={"f1": 1, "f2": 0}).iloc[0]
    assert first["f1"] == history_to_frame(result)["f1"].min()
    for by in (None, "ranks"):
        with pytest.raises(SearchError, match="flops"):
            choose(result, by)


@pytest.mark.parametrize("known", ["some", "all", "none"])
def test_sizes_that_a_problem_tells_of_some(tmp_path: Path, known: str) -> None:
    """Sizes with gaps, or none at all, are read as they were written, whole ones as integers."""

    class Sized(Channels):
        def _evaluate(self, x: Any, out: Any, *args: Any, **kwargs: Any) -> None:
            super()._evaluate(x, out, *args, **kwargs)
            gaps = {"some": 2, "all": len(x) + 1, "none": 1}[known]
            told = [None if n % gaps == gaps - 1 else 100 + n for n in range(len(x))]
            out["params"] = np.array(told, dtype=object)

    result = minimize(Sized(), EvolutiveNAS(3, 6), ("n_gen", 2), seed=1)
    for table in (history_to_frame(result), front_to_frame(result)):
        write_frame(table, tmp_path / "table.csv")
        if known == "none":  # a front or a history has the sizes of some
            assert "params" not in table
            continue
        read = read_frame(tmp_path / "table.csv", ["f1", "f2", "f3"])
        pd.testing.assert_frame_equal(read, table, check_exact=True)
    assert history_to_frame(result).get("params", pd.Series(dtype=object)).dtype == {
        "some": np.float64, "all": np.int64, "none": object
    }[known]  # fmt: skip
