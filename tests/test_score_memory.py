"""The memory of scores: what is remembered is not computed again, and is the same."""

from __future__ import annotations

import copy
import importlib
import json
import linecache
import math
import pickle
import shutil
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import Run
from pymoo.optimize import minimize

from pymoo_nas import EvolutiveNAS, NASBench201Space, NASProblem, Objective, history_to_frame
from pymoo_nas.errors import SearchError
from pymoo_nas.scores import Scores, read_objectives
from pymoo_nas.search._memory import ScoreMemory

ONE = ["--generations", "1", "--offspring", "3", "--population", "2"]
SMALL = ["--images", "8", "--tournament-every", "0"]
TEXTS = ["8,0,0,0", "0,8,0,0", "0,0,0,8", "8,0,0,0|0,8,0,0|0,0,0,8"]


def problem_of(path: Path | None, **settings: Any) -> NASProblem:
    return NASProblem("digits", n_images=8, memory=path, **settings)


def searched(problem: NASProblem) -> pd.DataFrame:
    return history_to_frame(minimize(problem, EvolutiveNAS(3, 6), ("n_gen", 2), seed=1))


@pytest.mark.slow
def test_a_second_search_computes_nothing(tmp_path: Path) -> None:
    """Its history is the same, and that of a search without a memory but for the seconds."""
    path = tmp_path / "scores.sqlite"
    first, second = problem_of(path), problem_of(path)
    tables = [searched(first), searched(second)]
    assert first.n_scored == len(tables[0]) == second.n_remembered
    assert second.n_scored == 0
    pd.testing.assert_frame_equal(*tables)
    plain = searched(NASProblem("digits", n_images=8))
    pd.testing.assert_frame_equal(tables[0].drop(columns="seconds"), plain.drop(columns="seconds"))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"n_inits": 2},
        {"objectives": ["ntk", "activation"]},
        {"objectives": ["activation", "ntk", "correlation"]},
        {"image_size": 10},
        {"max_latency": 100.0},
    ],
    ids=["seed", "inits", "fewer", "order", "size", "latency"],
)
def test_another_setting_is_another_context(tmp_path: Path, change: dict[str, Any]) -> None:
    """What scores depend on keeps them apart."""
    path = tmp_path / "scores.sqlite"
    problem_of(path).score_genotype(TEXTS[0])
    other = problem_of(path, **change)
    other.score_genotype(TEXTS[0])
    assert other.n_scored == 1
    assert len(ScoreMemory(path)) == 2


def test_limits_are_no_part_of_the_context(tmp_path: Path) -> None:
    """Remembered scores over a limit are those of a candidate that was not scored."""
    path = tmp_path / "scores.sqlite"
    problem_of(path).score_genotypes(TEXTS)
    limits: dict[str, Any] = {"max_params": 20_000, "max_acts": 3000}
    limited, plain = problem_of(path, **limits), NASProblem("digits", n_images=8, **limits)
    found = [p.evaluate(TEXTS, return_as_dictionary=True) for p in (limited, plain)]
    for name in ("F", "G", "params", "flops", "acts", "degenerate"):
        assert found[0][name].tolist() == found[1][name].tolist()
    assert limited.n_scored == 0
    assert (found[0]["G"] > 0).any()
    assert (found[0]["G"] <= 0).all(axis=1).any()


def test_equal_genotypes_are_one_entry(tmp_path: Path) -> None:
    """A genotype is looked up by its text."""
    path = tmp_path / "scores.sqlite"
    problem = problem_of(path)
    problem.score_genotype("8,0,0,0|0,8,0,0|0,0,0,0")
    problem.score_genotypes(["8,0,0,0|0,8,0,0|0,0,0,0"] * 2)
    assert problem.n_scored == 1


def test_another_network_of_one_canonical_form_is_another_entry(tmp_path: Path) -> None:
    """In NAS-Bench-201 it has another size, so that limits hold for it alone."""
    space = NASBench201Space(width=4, cells_per_stage=1)
    given = space.parse(
        "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|"
    )
    settings = {"search_space": space, "objectives": ["ntk", "params"]}
    path = tmp_path / "scores.sqlite"
    remembering, plain = problem_of(path, **settings), problem_of(None, **settings)
    for genotype in (given, space.canonical(given)):
        found, expected = (of.score_genotype(genotype) for of in (remembering, plain))
        assert replace(found, seconds=0.0) == replace(expected, seconds=0.0)
    assert remembering.n_scored == 2
    assert plain.score_genotype(given).params != plain.score_genotype(space.canonical(given)).params


def test_what_was_not_scored_is_not_kept(tmp_path: Path) -> None:
    """Over a limit, or not connected: cheap to find out again."""
    path = tmp_path / "scores.sqlite"
    problem = problem_of(path, max_params=10)
    problem.score_genotype(TEXTS[0])
    assert len(ScoreMemory(path)) == 0


FACTOR = 1.0


def scaled(net: Any, _: Any) -> float:
    return FACTOR * len(list(net.modules()))


def with_default(factor: float) -> Any:
    def function(net: Any, _: Any, by: float = factor) -> float:
        return by * len(list(net.modules()))

    return function


def with_closure(factor: float) -> Any:
    def function(net: Any, _: Any) -> float:
        return factor * len(list(net.modules()))

    return function


def value_of(path: Path, function: Any) -> tuple[float, int]:
    """The value of an own objective, and how many scores were remembered."""
    own = Objective.of_network("mine", function, 1e9)
    problem = problem_of(path, objectives=["ntk", own])
    return problem.score_genotype(TEXTS[0]).objectives["mine"], problem.n_remembered


@pytest.mark.parametrize("make", [with_default, with_closure])
def test_own_objectives_are_told_apart_by_their_values(tmp_path: Path, make: Any) -> None:
    """What a function has taken from around it makes it another one."""
    path = tmp_path / "scores.sqlite"
    (one, _), (two, remembered) = value_of(path, make(1.0)), value_of(path, make(2.0))
    assert (two, remembered) == (2 * one, 0)
    assert value_of(path, make(2.0)) == (two, 1)


def test_own_objectives_are_told_apart_by_globals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain global value that a function uses counts too."""
    path = tmp_path / "scores.sqlite"
    one, _ = value_of(path, scaled)
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert value_of(path, scaled) == (3 * one, 0)


class Counter:
    def count(self, net: Any, _: Any) -> float:
        return float(len(list(net.modules())))

    def __call__(self, net: Any, _: Any) -> float:
        return self.count(net, _)


def source_less() -> Any:
    made: dict[str, Any] = {}
    exec("def function(network, probe):\n    return 1.0", made)
    return made["function"]


@pytest.mark.parametrize(
    "function",
    [Counter().count, Counter(), partial(scaled), source_less(), with_closure(np.zeros(2))],
    ids=["method", "object", "partial", "no source", "array"],
)
def test_code_that_cannot_be_told_apart_is_refused(tmp_path: Path, function: Any) -> None:
    """The objective is named; without a memory it is one."""
    with pytest.raises(SearchError, match="mine"):
        value_of(tmp_path / "scores.sqlite", function)


SPACE = """
from torch import nn
from pymoo_nas import SearchSpace

class One(SearchSpace):
    def parse(self, text): return int(text)
    def format(self, genotype): return str(genotype)
    def sample(self, rng): return int(rng.integers(4, 9))
    def crossover(self, a, b, rng): return a
    def mutate(self, genotype, kind, operation, rng): return genotype + 1
    def build(self, genotype, in_channels, n_classes):
        width = WIDTH * genotype
        return nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.ReLU(),
                             nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, n_classes))
"""


def test_changed_code_of_a_space_is_another_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of the class counts, not its name alone."""
    monkeypatch.syspath_prepend(tmp_path)
    params = []
    for width in (1, 2):
        (tmp_path / "one_space.py").write_text(SPACE.replace("WIDTH", str(width)), "utf-8")
        sys.modules.pop("one_space", None)
        importlib.invalidate_caches()
        linecache.clearcache()
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        space = importlib.import_module("one_space").One()
        problem = problem_of(tmp_path / "scores.sqlite", search_space=space)
        params.append(problem.score_genotype("4").params)
    sys.modules.pop("one_space", None)
    assert params[1] > params[0]


def test_failures_of_objectives_are_not_kept(tmp_path: Path) -> None:
    """What failed may have been mended; it is computed again."""
    path = tmp_path / "scores.sqlite"

    def fails(net: Any, _: Any) -> float:
        raise KeyError(str(type(net)))

    with pytest.warns(UserWarning, match="mine"):
        value_of(path, fails)
    assert len(ScoreMemory(path)) == 0


def test_rows_of_another_kind_are_refused(tmp_path: Path) -> None:
    """Objectives in another order, NaN and texts are no scores of this problem."""
    path = tmp_path / "scores.sqlite"
    problem = problem_of(path)
    problem.score_genotype(TEXTS[0])
    with sqlite3.connect(path) as connection:
        ((text,),) = connection.execute("SELECT scores FROM scores").fetchall()
    kept = json.loads(text)
    for objectives in (
        dict(reversed(kept["objectives"].items())),
        {**kept["objectives"], "ntk": math.nan},
        {**kept["objectives"], "ntk": "low"},
    ):
        with sqlite3.connect(path) as connection:
            changed = json.dumps({**kept, "objectives": objectives})
            connection.execute("UPDATE scores SET scores = ?", (changed,))
        with pytest.raises(SearchError, match=r"scores\.sqlite"):
            problem_of(path).score_genotype(TEXTS[0])


def test_a_folder_that_is_not_there_is_named_first(tmp_path: Path) -> None:
    """Before anything is scored or a run is replaced."""
    with pytest.raises(SearchError, match="nowhere"):
        problem_of(tmp_path / "nowhere" / "scores.sqlite")


def test_threads_that_begin_at_once_make_one_file(tmp_path: Path) -> None:
    """None takes the file that another one is making for a foreign one."""
    for trial in range(20):
        path = tmp_path / f"{trial}.sqlite"

        def write(index: int, path: Path = path) -> None:
            ScoreMemory(path).keep("c", str(index), Scores({"ntk": 1.0}))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
        assert len(ScoreMemory(path)) == 8


def test_latencies_are_remembered(tmp_path: Path) -> None:
    """A noisy objective has the value of before."""
    path = tmp_path / "scores.sqlite"
    values = [
        problem_of(path, objectives=["ntk", "latency"]).score_genotype(TEXTS[0]) for _ in range(2)
    ]
    assert values[0] == values[1]


def spoil(path: Path, how: str) -> None:
    if how == "text":
        path.write_text("genotype,ntk\n" * 100, "utf-8")
    elif how == "foreign":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE notes (text TEXT)")
    elif how == "cut":
        memory = ScoreMemory(path)
        for index in range(200):
            memory.keep("context", str(index), Scores({"ntk": float(index)}))
        path.write_bytes(path.read_bytes()[:5000])
    else:
        path.mkdir()


@pytest.mark.parametrize("how", ["text", "foreign", "cut", "folder"])
def test_a_file_that_is_no_memory_is_named(tmp_path: Path, how: str) -> None:
    """A table, another program's database, a truncated file, a folder: none is overwritten."""
    path = tmp_path / "scores.sqlite"
    spoil(path, how)
    before = path.read_bytes() if path.is_file() else b""

    def used() -> None:
        problem_of(path).score_genotype(TEXTS[0])
        ScoreMemory(path).find(
            "context", [str(index) for index in range(200)], read_objectives("ntk")
        )

    with pytest.raises(SearchError, match=r"scores\.sqlite"):
        used()
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_several_threads_and_copies_share_a_file(tmp_path: Path) -> None:
    """Each opens the file for itself; a pickle carries the path alone."""
    path = tmp_path / "scores.sqlite"
    memory = ScoreMemory(path)

    def write(index: int) -> None:
        pickle.loads(pickle.dumps(memory)).keep("c", str(index), Scores({"ntk": float(index)}))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    assert len(copy.deepcopy(memory)) == 40
    assert memory.find("c", ["7", "none"], read_objectives("ntk"))["7"].ntk == 7.0


@pytest.mark.slow
def test_the_command_line_remembers(run: Run, tmp_path: Path) -> None:
    """Two searches of the same settings: the second one has the seconds of the first."""
    path = tmp_path / "kept.sqlite"
    for name in ("a", "b"):
        where = ["--out", str(tmp_path / name), "--memory", str(path)]
        assert run("search", "digits", *ONE, *SMALL, *where)[0] == 0
    tables = [pd.read_csv(tmp_path / name / "history.csv") for name in ("a", "b")]
    pd.testing.assert_frame_equal(*tables)
