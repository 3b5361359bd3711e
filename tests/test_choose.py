"""Choosing in Python: the same as the command, of a result and of a run folder."""

from __future__ import annotations

import json
import re
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
    order_te_nas,
)
from pymoo_nas._machine import Report
from pymoo_nas.choice import order_by
from pymoo_nas.errors import RunError, SearchError


def test_methods_are_those_of_the_functions(result: Any) -> None:
    """By ranks, TE-NAS's scores, knee and weights the table is that of the function behind it."""
    for by, expected in (
        ("ranks", order_scored(result)),
        (None, order_scored(result)),
        ("te-nas", order_te_nas(result)),
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
    tried = choose(result, "training", top=2, n_random=1, epochs=1)
    assert (~tried["drawn"]).sum() == min(2, len(order_scored(result)))
    assert tried["drawn"].sum() <= 1
    assert tried["accuracy"].max() < tried["accuracy"].iloc[0] + 0.1


def test_limits(result: Any) -> None:
    """A tighter limit leaves out what breaks it."""
    most = float(order_scored(result)["params"].median())
    assert (choose(result, max_params=most)["params"] <= most).all()


def test_latencies_are_measured_for_their_limit(result: Any) -> None:
    """A limit of a latency that the search has not measured is kept, and the others too."""
    told: list[Report] = []
    most = float(order_scored(result)["params"].median())
    with pytest.raises(SearchError, match=r"max_latency.*latency"):
        choose(result, max_latency=1e-6, max_params=most, progress=told.append)
    within = int((order_scored(result)["params"] <= most).sum())
    assert [report.done for report in told] == list(range(1, within + 1))
    ordered = choose(result, "knee", max_latency=1e6)
    assert (ordered["latency"] > 0).all()
    with pytest.raises(SearchError, match="was not measured"):
        order_scored(result, max_latency=1e6)


def test_known_latencies_need_no_images(result: Any) -> None:
    """Where every latency that counts was measured, the problem is not asked for."""
    table = order_scored(result).assign(latency=1.0)
    table.loc[table.index[-1], "latency"] = float("nan")
    table.loc[table.index[-1], "degenerate"] = "no ReLU"

    def absent() -> NASProblem:
        raise RunError("the images have moved")

    front = front_to_frame(result)
    ordered = order_by("ranks", lambda: table, lambda: front, absent, limits={"max_latency": 2.0})
    assert len(ordered) == len(table) - 1


def test_what_breaks_another_limit_needs_no_latency(result: Any) -> None:
    """A size that is unknown of a candidate over another limit does not end the choice."""
    table = order_scored(result).assign(latency=1.0)
    most = float(table["params"].median())
    table.loc[table["params"] > most, "latency"] = float("nan")
    kept = order_scored(table, max_latency=2.0, max_params=most)
    assert len(kept) == (table["params"] <= most).sum()


def test_the_command_measures_what_it_chooses(finished: Path, tmp_path: Path, run: Run) -> None:
    """Size and latencies of the chosen network are printed; without its images, that is said."""
    shutil.copytree(finished, tmp_path / "run")
    code, out, _ = run("choose", "run", "--max-latency", "1000s")
    assert code == 0
    assert re.search(r"parameters.* ms for one image, .* batch of 32, on 1 thread", out)
    config = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    config["problem"]["dataset"] = str(tmp_path / "moved")
    (tmp_path / "run" / "config.json").write_text(json.dumps(config), "utf-8")
    code, out, error = run("choose", "run")
    assert code == 0
    assert "chosen: " in out
    assert "moved" in error


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
        ({"by": "te-nas", "seed": 3}, "seed"),
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
    with pytest.raises(SearchError, match=r"DataFrame.*order_scored"):
        choose(pd.DataFrame({"genotype": ["8,0,0,0"]}))
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


def test_a_folder_that_cannot_be_written_to(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused before a candidate is tried, not after half an hour of trainings."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    told: list[Report] = []

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(RunError, match=r"cannot be written to .*Permission denied"):
        choose(folder, "training", top=1, epochs=1, progress=told.append)
    assert not told
