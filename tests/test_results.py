import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paper_objectives import FRONT_TYPES, HISTORY_TYPES
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.optimize import minimize
from torch import nn

from pymoo_nas.errors import RunError, SearchError
from pymoo_nas.search import (
    EvolutiveNAS,
    GenotypeCrossover,
    GenotypeDuplicates,
    GenotypeMutation,
    GenotypeSampling,
    NASProblem,
    front_to_frame,
    history_to_frame,
    read_frame,
    write_frame,
)
from pymoo_nas.spaces import CellSpace

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.fixed_dictionaries(
    {
        "generation": st.integers(1, 1000),
        "genotype": st.sampled_from(["0804", "5000", "5000|0001|0800", "16,0|0,4|4,4", "16,"]),
        "ntk": FLOATS,
        "activation": FLOATS,
        "correlation": FLOATS,
        "params": st.integers(0, 2**40),
        "flops": st.integers(0, 2**50),
        "acts": st.integers(0, 2**50),
        "peak_memory": st.integers(0, 2**50),
        "seconds": st.floats(0, 1e6),
        "degenerate": st.sampled_from(["", "no ReLU", 'said "NaN", twice', "nan", "a\nb"]),
        "feasible": st.booleans(),
        "mutation": st.sampled_from(["", "grow:conv3x3", "grow:skip;swap:conv3x3"]),
        "parents": st.sampled_from(["", "3", "12;7"]),
        "survived": st.booleans(),
        "alpha": st.one_of(st.just(math.nan), st.floats(0, 1)),
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, max_size=8))
def test_csv_round_trip_is_exact(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """Every float comes back to the bit, every genotype as text, every reason as it was."""
    frame = pd.DataFrame(rows, columns=list(HISTORY_TYPES)).astype(HISTORY_TYPES)
    write_frame(frame, tmp_path / "history.csv")
    pd.testing.assert_frame_equal(read_frame(tmp_path / "history.csv"), frame, check_exact=True)


@pytest.fixture(scope="module")
def result() -> Any:
    """A small search without tournament."""
    problem = NASProblem("digits", n_images=16, max_params=20_000)
    return minimize(problem, EvolutiveNAS(3, 8), ("n_gen", 3), seed=1)


def test_front_is_the_results_front(result: Any) -> None:
    """One row per architecture of res.F, best rank sum first, with its size."""
    front = front_to_frame(result)
    assert list(front) == list(FRONT_TYPES)
    rows = {tuple(row) for row in front[["ntk", "activation", "correlation"]].to_numpy()}
    assert rows == {tuple(row) for row in result.F}
    ranks = front[["ntk", "activation", "correlation"]].rank(method="dense").sum(axis=1)
    assert ranks.is_monotonic_increasing
    assert front["alpha"].isna().all()


def test_history_holds_every_candidate(result: Any) -> None:
    """One row per scored candidate, in order, with generation and mutation."""
    history = history_to_frame(result)
    assert list(history) == list(HISTORY_TYPES)
    assert len(history) == result.algorithm.evaluator.n_eval == 24
    assert history["generation"].tolist() == [1] * 8 + [2] * 8 + [3] * 8
    assert (history["mutation"][:8] == "").all()
    assert (history["mutation"][8:] != "").any()
    assert np.isfinite(history[["ntk", "activation", "correlation"]]).all(axis=None)


def test_reasons_stand_on_one_line(tmp_path: Path) -> None:
    """A reason with line breaks of any kind, as libraries give them, survives the CSV."""

    def failing(c_in: int, c_out: int) -> nn.Module:
        raise ValueError(f"cannot\rmake {c_in}\r\n,\n{c_out}")

    space = CellSpace({"failing": failing}, stem=False)
    problem = NASProblem("digits", n_images=16, search_space=space)
    with pytest.warns(UserWarning, match="judged"):
        result = minimize(problem, EvolutiveNAS(2, 4), ("n_gen", 1), seed=1)
    history = history_to_frame(result)
    assert history["degenerate"].str.contains("cannot make 1 , ").all()
    write_frame(history, tmp_path / "history.csv")
    assert read_frame(tmp_path / "history.csv").equals(history)


def test_a_front_without_feasible_candidates_is_empty() -> None:
    """The frame has its columns and no row."""
    problem = NASProblem("digits", n_images=16, max_params=10)
    with pytest.warns(UserWarning, match="limits"):
        result = minimize(problem, EvolutiveNAS(2, 4), ("n_gen", 1), seed=1)
    front = front_to_frame(result)
    assert front.empty
    assert list(front) == list(FRONT_TYPES)


def test_another_algorithm_keeps_no_history() -> None:
    """The error says what to use instead; its front can be had all the same."""
    algorithm = NSGA2(
        pop_size=4,
        sampling=GenotypeSampling(),
        crossover=GenotypeCrossover(),
        mutation=GenotypeMutation(),
        eliminate_duplicates=GenotypeDuplicates(),
    )
    result = minimize(NASProblem("digits", n_images=16), algorithm, ("n_gen", 1), seed=1)
    assert len(front_to_frame(result)) == len(result.F)
    with pytest.raises(SearchError, match="EvolutiveNAS"):
        history_to_frame(result)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "no such file"),
        ("", "damaged"),
        ("genotype,ntk\n5000,1.0\n", "missing"),
        (",".join(HISTORY_TYPES) + "\n" + "x," * 13 + "x\n", "damaged"),
        (b"\xff\xfe\x00", "damaged"),
        (",".join(HISTORY_TYPES) + "\n" + "9" * 30 + ",5000,1,1,1,1,1,1,,True,,True,\n", "damaged"),
        (",".join(HISTORY_TYPES) + "\n1,5000,1,1\n", "damaged"),
    ],
)
def test_damaged_tables(tmp_path: Path, content: Any, match: str) -> None:
    """What is no table of a run is refused by name."""
    path = tmp_path / "front.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RunError, match=match):
        read_frame(path)
