"""Choosing in Python: the same as the command, of a result and of a run folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command_line import Run
from pymoo.optimize import minimize

from pymoo_nas import (
    EvolutiveNAS,
    NASBench201Space,
    NASProblem,
    RunFolder,
    choose,
    front_to_frame,
    order_front,
    order_scored,
)
from pymoo_nas._machine import Report
from pymoo_nas.errors import RunError, SearchError


def test_methods_are_those_of_the_functions(result: Any) -> None:
    """By ranks, knee and weights the table is that of the function behind it."""
    for by, expected in (
        ("ranks", order_scored(result)),
        (None, order_scored(result)),
        ("knee", order_front(front_to_frame(result))),
    ):
        pd.testing.assert_frame_equal(choose(result, by), expected)
    weights = {"ntk": 1.0}
    expected = order_front(front_to_frame(result), weights=weights)
    pd.testing.assert_frame_equal(choose(result, weights=weights), expected)


def test_methods_that_measure(result: Any) -> None:
    """By gradients and by training the first few are looked at, and each is told."""
    told: list[Report] = []
    steady = choose(result, "gradients", top=1, progress=told.append)
    assert "growth" in steady
    assert told[0].found.startswith(f"{order_scored(result)['genotype'][0]}: growth")
    tried = choose(result, "training", top=2, epochs=1)
    assert len(tried) == min(2, len(order_scored(result)))
    assert tried["accuracy"].is_monotonic_decreasing


def test_limits(result: Any) -> None:
    """A tighter limit leaves out what breaks it."""
    most = float(order_scored(result)["params"].median())
    assert (choose(result, max_params=most)["params"] <= most).all()


def test_a_run_keeps_the_choice(finished: Path, tmp_path: Path, run: Run) -> None:
    """Of a folder, the choice is the one that the command makes, and is kept there."""
    shutil.copytree(finished, tmp_path / "python")
    shutil.copytree(finished, tmp_path / "command")
    ordered = choose(tmp_path / "python", "weights", weights={"activation": 1})
    assert run("choose", "command", "--by", "weights", "--weights", "activation=1")[0] == 0
    first, second = (
        json.loads((tmp_path / name / "choice.json").read_text("utf-8"))
        for name in ("python", "command")
    )
    assert first == second
    assert first["genotypes"] == [ordered["genotype"][0]]
    again = choose(RunFolder(tmp_path / "python"), "weights", weights={"activation": 1})
    pd.testing.assert_frame_equal(again, ordered)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"by": "luck"}, "luck"),
        ({"by": "weights"}, "weights"),
        ({"by": "ranks", "weights": {"ntk": 1}}, "weights"),
        ({"by": "ranks", "top": 3}, "top"),
        ({"by": "gradients", "epochs": 3}, "epochs"),
        ({"max_params": 1}, "max_params"),
        ({"max_param": 1}, "max_param"),
        ({"by": "gradients", "toop": 1}, "toop"),
        ({"weights": {}}, "weights"),
        ({"weights": "ntk=1"}, "ntk=1"),
        ({"max_params": 0}, "max_params"),
    ],
)
def test_what_makes_no_sense_is_refused(result: Any, arguments: dict[str, Any], named: str) -> None:
    """Unknown methods, options that would be ignored, limits that nothing keeps."""
    with pytest.raises(SearchError, match=named):
        choose(result, **arguments)


def test_neither_result_nor_run(tmp_path: Path) -> None:
    """Something else is refused; a folder without a run too."""
    with pytest.raises(SearchError, match="int"):
        choose(3)
    with pytest.raises(RunError, match="no run"):
        choose(tmp_path)


def test_the_default_method_can_be_used() -> None:
    """Without the objective activation, networks of NAS-Bench-201 are chosen by ranks."""
    space = NASBench201Space(width=4, cells_per_stage=1)
    problem = NASProblem("digits", search_space=space, n_images=8, objectives=["correlation"])
    result = minimize(problem, EvolutiveNAS(2, 4), ("n_gen", 1), seed=1)
    assert "rank_sum" in choose(result)
    with pytest.raises(SearchError, match="activation"):
        choose(result, "gradients")
