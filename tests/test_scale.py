"""Ideal, nadir and reference points, and the archive of a search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pymoo.indicators.hv import Hypervolume

from pymoo_nas import NASProblem, front_to_frame, history_to_frame
from pymoo_nas.errors import SearchError
from pymoo_nas.search._scale import Scale

SCORES = np.array([[0.0, 9.0], [4.0, 1.0], [8.0, 8.0], [2.0, 20.0]])


def test_scale_by_hand() -> None:
    """The worst of the non-dominated is the nadir, the worst of all is not."""
    scale = Scale.of(SCORES)
    assert scale.ideal.tolist() == [0, 1]
    assert scale.nadir.tolist() == [4, 9]
    np.testing.assert_allclose(scale.reference, [4.4, 9.8])
    np.testing.assert_allclose(scale.normalised(SCORES)[:2], [[0, 1], [1, 0]])


def test_one_candidate_has_an_extent() -> None:
    """Where ideal and nadir are equal the extent is 1."""
    scale = Scale.of(SCORES[:1])
    assert scale.normalised(SCORES[:1]).tolist() == [[0, 0]]
    assert np.isfinite(scale.reference).all()


@given(arrays(float, st.tuples(st.integers(1, 8), st.just(3)), elements=st.integers(-5, 5)))
def test_the_front_is_within_the_box(scores: Any) -> None:
    """Every non-dominated candidate is between 0 and 1, whatever the rest is."""
    scale = Scale.of(scores)
    normalised = scale.normalised(scores)
    dominated = [(np.all(s <= t) and np.any(s < t)) for t in scores for s in scores]
    front = ~np.array(dominated).reshape(len(scores), -1).any(axis=1)
    assert (normalised[front] >= 0).all()
    assert (normalised[front] <= 1).all()


@pytest.mark.parametrize("scores", [np.empty((0, 3)), [[np.nan]], [1.0, 2.0]])
def test_no_scale(scores: Any) -> None:
    """Nothing, NaN, or one row that is no table: refused."""
    with pytest.raises(SearchError, match="scale"):
        Scale.of(scores)


def test_a_problem_knows_its_scale() -> None:
    """Degenerate and infeasible candidates play no part; a copy has its own."""
    problem = NASProblem("digits", n_images=8, max_params=60_000)
    with pytest.raises(SearchError, match="scale"):
        problem.ideal_point()
    out = problem.evaluate(["8,0,0,0", "0,8,0,0", "0,0,0,8", "64,0,0,0"], return_as_dictionary=True)
    sound = (out["degenerate"] == "") & (out["G"] <= 0).all(axis=1)
    assert sound.tolist() == [True, True, False, False]
    F = out["F"][sound]
    np.testing.assert_array_equal(problem.ideal_point(), F.min(axis=0))
    np.testing.assert_array_equal(problem.nadir_point(), Scale.of(F).nadir)
    assert (problem.normalise(F) <= 1).any(axis=1).all()
    volume = Hypervolume(ref_point=problem.reference_point()).do(F)
    assert volume > 0
    np.testing.assert_array_equal(problem.ideal_point(F[:1]), F[0])


class Small(NASProblem):
    """With a constraint of the user's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.n_ieq_constr += 1

    def _evaluate(self, x: Any, out: Any, *args: Any, **kwargs: Any) -> None:
        super()._evaluate(x, out, *args, **kwargs)
        own = np.array([[count - 20_000] for count in out["params"]], dtype=float)
        out["G"] = np.hstack([*([out["G"]] if out.get("G") is not None else []), own])


@pytest.mark.parametrize("limits", [{}, {"max_flops": 10**7}])
def test_the_scale_keeps_constraints_of_a_subclass(limits: dict[str, int]) -> None:
    """What breaks them plays no part, as what breaks a limit."""
    problem = Small("digits", n_images=8, **limits)
    out = problem.evaluate(["8000", "8,8,8,8", "0,8,0,0"], return_as_dictionary=True)
    kept = (out["G"] <= 0).all(axis=1)
    assert 0 < kept.sum() < 3
    np.testing.assert_array_equal(problem.ideal_point(), out["F"][kept].min(axis=0))


def test_the_archive_is_the_front_of_all(result: Any) -> None:
    """It holds what no scored candidate dominates; F is that of the survivors."""
    history = history_to_frame(result)
    sound = history[(history["degenerate"] == "") & history["feasible"]]
    F = sound[["ntk", "activation", "correlation"]].to_numpy()
    expected = [
        text
        for text, row in zip(sound["genotype"], F, strict=True)
        if not any(np.all(other <= row) and np.any(other < row) for other in F)
    ]
    archive = front_to_frame(result.archive, result.problem)
    assert set(archive["genotype"]) == set(expected)
    assert archive.attrs["objectives"] == result.problem.objective_names
