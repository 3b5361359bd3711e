"""Comparisons of searches: hypervolume, attainment, tests and tables, by hand and by slow loops."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cheap_problems import MadeScores, made_run
from hypothesis import given
from hypothesis import strategies as st
from pymoo.optimize import minimize
from scipy.stats import mannwhitneyu, wilcoxon

from pymoo_nas import (
    CellSpace,
    EvolutiveNAS,
    NSGA2Search,
    RandomSearch,
    RunError,
    RunFolder,
    SearchError,
    compare,
    history_to_frame,
    order_scored,
)
from pymoo_nas.comparison._measures import (
    Box,
    attainment_surface,
    front_of,
    hypervolume_curve,
)
from pymoo_nas.comparison._statistics import a12, compare_pairs, holm, rank_biserial
from pymoo_nas.errors import DatasetError

UNIT = Box(np.zeros(2), np.ones(2))

NAN = math.nan


def history(points: Any, **columns: Any) -> pd.DataFrame:
    """A history of two objectives."""
    values = np.array(points, dtype=float)
    table = pd.DataFrame(
        {
            "generation": 1,
            "genotype": [f"{place + 1}" for place in range(len(values))],
            "ntk": values[:, 0],
            "activation": values[:, 1],
            "params": 100,
            "flops": 1000,
            "acts": 10,
            "seconds": 0.1,
            "degenerate": "",
            "feasible": True,
        }
    )
    return table.assign(**columns)


# Hypervolume -------------------------------------------------------------------------------------


def test_hypervolume_by_hand() -> None:
    """Two points dominate 0.6 × 0.3 and 0.3 × 0.8 of the unit square, 0.3 × 0.3 of it both."""
    points = np.array([[0.4, 0.7], [0.7, 0.2], [0.8, 0.8]])
    assert UNIT.hypervolume(points) == pytest.approx(0.6 * 0.3 + 0.3 * 0.8 - 0.3 * 0.3)
    assert UNIT.hypervolume(points[:0]) == 0
    assert UNIT.hypervolume(np.array([[0.0, 0.0]])) == 1
    assert UNIT.hypervolume(np.array([[1.5, 0.1]])) == 0
    scaled = Box(np.array([-5.0, 10.0]), np.array([5.0, 30.0]))
    assert scaled.hypervolume(np.array([[0.0, 15.0]])) == pytest.approx(0.5 * 0.75)


def test_box_by_hand() -> None:
    """The ideal point is the best of each, the reference the quantile of 0.9: no outlier counts."""
    points = np.column_stack([np.arange(11.0), np.arange(11.0)[::-1] * 10])
    box = Box.around(points)
    assert box.ideal.tolist() == [0, 0]
    assert box.reference.tolist() == [9, 90]
    assert Box.around(np.vstack([points, [[1e9, 5.0]]])).reference[0] < 11


def test_an_objective_without_extent_does_not_count() -> None:
    """Where almost all are equally good in an objective, others decide; what is worse has none."""
    points = np.array([[3.0, 0.0], [3.0, 1.0], [3.0, 2.0]])
    box = Box(points.min(0), np.array([3.0, 2.0]))
    assert box.hypervolume(points[1:2]) == 0.5
    assert box.hypervolume(np.array([[3.1, 0.0]])) == 0
    assert Box(np.array([3.0]), np.array([3.0])).hypervolume(np.array([[3.0]])) == 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_curve_is_the_slow_one(seed: int, n_objectives: int) -> None:
    """After each evaluation the curve is the volume of all that count so far."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 5, (12, n_objectives)) / 4
    counts = rng.random(12) < 0.7
    box = Box(np.zeros(n_objectives), np.ones(n_objectives))
    slow = [box.hypervolume(values[: n + 1][counts[: n + 1]]) for n in range(12)]
    curve = hypervolume_curve(values, counts, box)
    assert curve.tolist() == pytest.approx(slow)
    assert (np.diff(curve) >= 0).all()


# Attainment --------------------------------------------------------------------------------------


def test_median_attainment_by_hand() -> None:
    """Of three runs two attain (1, 3), (2, 2) and (4, 1): the corners of the median."""
    runs = [np.array([[1.0, 3.0], [4.0, 0.0]]), np.array([[2.0, 2.0]]), np.array([[0.0, 2.5]])]
    runs[2] = np.array([[0.0, 3.0], [2.0, 2.0], [4.0, 1.0]])
    assert attainment_surface(runs).tolist() == [[1, 3], [2, 2], [4, 1]]
    assert attainment_surface(runs[:1]).tolist() == [[1, 3], [4, 0]]
    assert attainment_surface(runs, share=1.0).tolist() == [[2, 3], [4, 2]]
    assert attainment_surface([runs[0], runs[0][:0], runs[0][:0]]).shape == (0, 2)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from([0.25, 0.5, 1.0]))
def test_attainment_is_the_slow_count(seed: int, n_runs: int, share: float) -> None:
    """A point of the plane is beyond the corners where so many runs attain it, and nowhere else."""
    rng = np.random.default_rng(seed)
    runs = [rng.integers(0, 5, (rng.integers(0, 5), 2)).astype(float) for _ in range(n_runs)]
    corners = attainment_surface(runs, share)
    for x, y in itertools.product(np.arange(-0.5, 6, 0.5), repeat=2):
        attained = sum(any(a <= x and b <= y for a, b in run) for run in runs)
        beyond = any(a <= x and b <= y for a, b in corners)
        assert beyond == (attained >= share * n_runs and attained > 0)
    assert (np.diff(corners[:, 0]) > 0).all()
    assert (np.diff(corners[:, 1]) < 0).all()


# Statistics --------------------------------------------------------------------------------------


def test_a12_by_hand() -> None:
    """Of nine pairs six are won and one is equal."""
    assert a12([1, 3, 5], [2, 3, 0]) == pytest.approx(6.5 / 9)
    assert a12([1, 1], [1, 1]) == 0.5
    assert a12([2, 3], [0, 1]) == 1
    assert math.isnan(a12([], [1]))


def test_rank_biserial_by_hand() -> None:
    """Ranks 1, 2.5, 2.5 with signs −, +, −: (2.5 − 3.5) of 6."""
    assert rank_biserial([-1, 2, -2]) == pytest.approx(-1 / 6)
    assert rank_biserial([0, 0]) == 0


def test_holm_by_hand() -> None:
    """Four p values, three of them tests: times 3, 2, 1, never falling, at most 1."""
    assert holm([0.02, NAN, 0.9, 0.015]) == pytest.approx([0.045, NAN, 0.9, 0.045], nan_ok=True)
    assert holm([]) == []


def runs_of(**groups: tuple[list[Any], list[float]]) -> pd.DataFrame:
    """A row per run: label → seeds and values."""
    return pd.DataFrame(
        [
            {"label": label, "seed": seed, "volume": value}
            for label, (seeds, values) in groups.items()
            for seed, value in zip(seeds, values, strict=True)
        ]
    ).astype({"seed": "Int64"})


def test_equal_seeds_are_paired() -> None:
    """With the same seeds, in any order, pairs are tested; else all against all."""
    a, b = [0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.2, 0.6, 0.9, 0.45]
    seeds = [0, 1, 2, 3, 4]
    mixed = [4, 3, 2, 1, 0]
    paired = compare_pairs(runs_of(a=(seeds, a), b=(mixed, b[::-1])), "volume").iloc[0]
    assert paired["test"] == "Wilcoxon signed-rank"
    differences = [x - y for x, y in zip(a, b, strict=True) if x != y]
    assert paired["p"] == wilcoxon(differences)[1]
    others: list[list[Any]] = [[5, 6, 7, 8, 9], [0, 0, 1, 2, 3], [None, 0, 1, 2, 3], [0, 1, 2, 3]]
    for other in others:
        table = runs_of(a=(seeds, a), b=(other, b[: len(other)]))
        row = compare_pairs(table, "volume").iloc[0]
        assert row["test"] == "Mann-Whitney U"
        if len(other) == 5:
            assert row["p"] == mannwhitneyu(a, b)[1]
    assert row["reason"] == "a p value needs 5 runs of each"


def test_few_runs_have_no_p_value() -> None:
    """Under five runs of each the p value is NaN, with a reason; the effect is told."""
    row = compare_pairs(runs_of(a=([0, 1], [1, 2]), b=([0, 1], [3, 4])), "volume").iloc[0]
    assert math.isnan(row["p"])
    assert math.isnan(row["p_holm"])
    assert "needs 5" in row["reason"]
    assert (row["a12"], row["rank_biserial"]) == (0, -1)


def test_equal_volumes_are_no_difference() -> None:
    """Where all pairs are equal p is 1, without a warning."""
    same = [0.5] * 5
    for seeds in ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9]):
        table = runs_of(a=([0, 1, 2, 3, 4], same), b=(seeds, same))
        row = compare_pairs(table, "volume").iloc[0]
        assert (row["p"], row["a12"]) == (1, 0.5)


def test_one_label_has_no_pairs() -> None:
    """Of one label the table of tests is empty, with its columns."""
    tests = compare_pairs(runs_of(a=([0], [1])), "volume")
    assert tests.empty
    assert {"p", "p_holm", "a12", "reason"} <= set(tests)


# Comparisons -------------------------------------------------------------------------------------


def test_table_by_hand() -> None:
    """Box, volumes, means, deviations, fronts and best values of two runs of one label."""
    one = history([[0, 8], [8, 0], [9, 9]])
    two = history([[4, 4], [10, 10], [10, 10]])
    found = compare({"both": [one, two]})
    assert found.ideal == {"ntk": 0, "activation": 0}
    assert found.reference == {"ntk": 10, "activation": 10}
    assert found.runs["hypervolume"].tolist() == pytest.approx([0.2 + 0.2 - 0.04, 0.36])
    row = found.table.iloc[0]
    assert (row["label"], row["n"], row["scored"], row["front"]) == ("both", 2, 3, 1.5)
    assert (row["ntk"], row["ntk_sd"]) == (2, pytest.approx(math.sqrt(8)))
    assert found.curves["evaluations"].tolist() == [1, 2, 3]
    assert found.curves["min"].tolist() == pytest.approx([0.2, 0.36, 0.36])
    assert found.attainment[["x", "y"]].to_numpy().tolist() == [[0, 8], [4, 4], [8, 0]]


def test_degenerate_and_infeasible_candidates_are_left_out() -> None:
    """Neither gives a volume, a best value or a front, nor moves the box."""
    good = history([[1, 2], [2, 1]])
    bad = history(
        [[-9, -9], [1, 2], [2, 1], [0, 0]],
        degenerate=["no ReLU", "", "", ""],
        feasible=[True, True, True, False],
    )
    found = compare({"good": [good], "bad": [bad]})
    assert found.ideal == {"ntk": 1, "activation": 1}
    one, other = found.runs.to_dict("records")
    for column in ("hypervolume", "front", "ntk", "activation"):
        assert one[column] == other[column]
    assert other["scored"] == 4


@pytest.mark.parametrize("column", ["degenerate", "feasible"])
def test_nothing_that_counts(column: str, tmp_path: Path) -> None:
    """Searches without a sound and feasible candidate have no volume, and are drawn and kept."""
    value: Any = "no ReLU" if column == "degenerate" else False
    none = history([[1, 2], [2, 1]], **{column: value})
    found = compare({"one": [none], "other": [none.copy()]})
    assert found.table["hypervolume"].tolist() == [0, 0]
    assert found.table["front"].tolist() == [0, 0]
    assert found.table["ntk"].isna().all()
    assert found.tests["a12"].tolist() == [0.5]
    assert (tmp_path / "attainment.png") in found.save(tmp_path)


def test_an_empty_history(tmp_path: Path) -> None:
    """A search that has scored nothing yet has no volume, beside one that has."""
    found = compare({"none": [history([[1, 2]])[:0]], "one": [history([[1, 2], [2, 1]])]})
    assert found.runs["scored"].tolist() == [0, 2]
    assert found.runs["hypervolume"][0] == 0
    found.save(tmp_path)


def test_equal_fronts() -> None:
    """Runs with one front are told apart by nothing."""
    points = [[1, 3], [2, 2], [3, 1], [5, 5], [6, 6]]
    groups = {label: [history(points) for _ in range(5)] for label in ("one", "other")}
    test = compare(groups).tests.iloc[0]
    assert (test["p"], test["a12"], test["reason"]) == (1, 0.5, "")


def test_first_so_many_evaluations() -> None:
    """Only the first candidates count; more than there are is refused by name."""
    found = compare({"a": [history([[1, 2], [0, 0], [3, 3]])]}, evaluations=1)
    assert found.runs["scored"].tolist() == [1]
    assert found.runs["ntk"].tolist() == [1]
    with pytest.raises(SearchError, match="a, run 1: 3 candidates are scored, 4 are"):
        compare({"a": [history([[1, 2], [0, 0], [3, 3]])]}, evaluations=4)
    with pytest.raises(SearchError, match="evaluations"):
        compare({"a": [history([[1, 2]])]}, evaluations=0)


def test_saved_files(tmp_path: Path) -> None:
    """Every table is read back as it was; pictures of two objectives are there."""
    found = compare({"a": [history([[1, 2], [2, 1]])], "b": [history([[2, 2], [3, 1]])]})
    names = [path.name for path in found.save(tmp_path / "out")]
    assert names == [
        *(f"{name}.csv" for name in ("table", "tests", "curves", "attainment", "runs")),
        "hypervolume.png",
        "attainment.png",
    ]
    assert all((tmp_path / "out" / name).stat().st_size for name in names)
    for name in ("curves", "attainment"):
        read = pd.read_csv(tmp_path / "out" / f"{name}.csv")
        pd.testing.assert_frame_equal(read, getattr(found, name), check_dtype=False)


def test_one_objective(tmp_path: Path) -> None:
    """With one objective there is a volume, and no attainment."""
    found = compare({"a": [history([[1, 2], [2, 1]]).drop(columns="activation")]})
    assert found.objectives == ["ntk"]
    assert found.attainment.empty
    assert "attainment.png" not in [path.name for path in found.save(tmp_path)]


# Known accuracies --------------------------------------------------------------------------------


def test_known_accuracies() -> None:
    """The first known one in the order of choosing, the best known of the front, and how many."""
    table = history([[1, 5], [5, 1], [6, 6], [3, 3]])
    order = order_scored(table)["genotype"].tolist()
    truth = pd.DataFrame({"genotype": ["1", "4", "9"], "accuracy": [90.0, 80.0, 99.0]})
    found = compare({"a": [table]}, truth=truth, space=CellSpace(["conv3x3"], channel_step=1))
    row = found.runs.iloc[0]
    known = {"1": 90.0, "4": 80.0}
    assert row["accuracy_first"] == next(known[text] for text in order if text in known)
    assert (row["accuracy_front"], row["known"]) == (90, 2)
    assert found.table["accuracy_front"].tolist() == [90]


def test_unknown_accuracies(tmp_path: Path) -> None:
    """Where none is known the accuracies are NaN; a table needs its columns, and a space."""
    space = CellSpace(["conv3x3"], channel_step=1)
    groups = {"a": [history([[1, 5], [5, 1]])]}
    path = tmp_path / "truth.csv"
    path.write_text("genotype,accuracy,seconds\n9,1.5,x\n", "utf-8")
    row = compare(groups, truth=path, space=space).runs.iloc[0]
    assert row["known"] == 0
    assert math.isnan(row["accuracy_first"])
    assert math.isnan(row["accuracy_front"])
    with pytest.raises(SearchError, match=r"a, run 1: nothing tells.*space="):
        compare(groups, truth=path)
    with pytest.raises(DatasetError, match="no such file"):
        compare(groups, truth=tmp_path / "none.csv", space=space)
    path.write_text("arch,accuracy\n8,1\n", "utf-8")
    with pytest.raises(DatasetError, match=r"arch, accuracy; genotype missing"):
        compare(groups, truth=path, space=space)
    path.write_text("", "utf-8")
    with pytest.raises(DatasetError, match="no table"):
        compare(groups, truth=path, space=space)


# Results and algorithms --------------------------------------------------------------------------


def searched(algorithm: Any, seed: int, **settings: Any) -> Any:
    """The result of a search that costs nothing."""
    return minimize(MadeScores(**settings), algorithm, ("n_gen", 3), seed=seed)


def test_results_algorithms_and_histories_compare_alike() -> None:
    """A result, its algorithm and its history give the same numbers; two know their seed."""
    result = searched(RandomSearch(3, 6), 1)
    given = {"r": [result], "a": [result.algorithm], "h": [history_to_frame(result)]}
    runs = compare(given).runs
    assert runs["hypervolume"].nunique() == 1
    assert runs["seed"].tolist()[:2] == [1, 1]
    assert runs["seed"].isna().tolist() == [False, False, True]


def test_seeds_of_results_are_paired() -> None:
    """Five seeds of two strategies are tested by pairs."""
    groups = {
        "random": [searched(RandomSearch(3, 6), seed) for seed in range(5)],
        "nsga2": [searched(NSGA2Search(6), seed) for seed in range(5)],
    }
    found = compare(groups)
    assert found.tests["test"].tolist() == ["Wilcoxon signed-rank"]
    assert 0 < found.tests["p"][0] <= 1
    assert found.table["n"].tolist() == [5, 5]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"objectives": ["ntk", "activation"]}, "b, run 1: other objectives than a, run 1"),
        ({"n_images": 9}, "b, run 1: other n_images than a, run 1: 9, expected 8"),
        ({"max_params": 9000}, "other max_params"),
    ],
)
def test_other_scoring_is_refused(settings: dict[str, Any], match: str) -> None:
    """Searches that do not score alike are named, with the setting and both values."""
    groups = {
        "a": [searched(EvolutiveNAS(2, 3), 0)],
        "b": [searched(EvolutiveNAS(2, 3), 0, **settings)],
    }
    with pytest.raises(SearchError, match=match):
        compare(groups)


def test_what_is_nothing_to_compare() -> None:
    """No searches, an empty label, something else, or one result twice are refused."""
    for nothing in ({}, [], {"a": []}):
        with pytest.raises(SearchError, match="no searches to compare"):
            compare(nothing)
    with pytest.raises(SearchError, match="a, run 1: int keeps no list"):
        compare({"a": [3]})
    with pytest.raises(SearchError, match="got a DataFrame to compare; expected run folders"):
        compare([history([[1, 2]])])
    with pytest.raises(SearchError, match="without objectives"):
        compare({"a": pd.DataFrame({"genotype": ["8"]})})
    table = history([[1, 2]])
    with pytest.raises(RunError, match="given twice"):
        compare({"a": [table], "b": [table]})


# Run folders -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of several strategies, seeds and sizes."""
    root = tmp_path_factory.mktemp("runs")
    settings: dict[str, dict[str, Any]] = {
        "e0": {"seed": 0},
        "e1": {"seed": 1},
        "big": {"seed": 0, "population": 3},
        "n0": {"algorithm": "nsga2", "seed": 0, "population": 3},
        "n1": {"algorithm": "nsga2", "seed": 1, "population": 3},
    }
    return {name: made_run(root / name, **given) for name, given in settings.items()}


def test_folders_are_grouped_by_what_differs(folders: dict[str, Path]) -> None:
    """The strategy is a label; a setting is told where it differs within a strategy."""
    given = [folders[name] for name in ("e0", "n0", "e1", "n1")]
    found = compare(given)
    assert found.table[["label", "n"]].to_numpy().tolist() == [["evolutive", 2], ["nsga2", 2]]
    assert found.runs["run"].tolist() == [str(folders[name]) for name in ("e0", "e1", "n0", "n1")]
    assert found.runs["seed"].tolist() == [0, 1, 0, 1]
    labels = compare([*given, folders["big"]]).table["label"].tolist()
    assert labels == ["evolutive, population 2", "nsga2", "evolutive, population 3"]


def test_folders_and_results_in_one_comparison(folders: dict[str, Path]) -> None:
    """A label may hold folders by path, as objects, and a result of the same problem."""
    result = searched(RandomSearch(3, 6), 1)
    given = {"old": [folders["e0"], RunFolder(folders["e1"])], "new": result}
    assert compare(given).table["n"].tolist() == [2, 1]


def test_one_run_alone(folders: dict[str, Path], tmp_path: Path) -> None:
    """One run has a table without deviations, and no test."""
    found = compare([folders["e0"]])
    assert found.table["n"].tolist() == [1]
    assert math.isnan(found.table["hypervolume_sd"][0])
    assert found.tests.empty
    found.save(tmp_path)


def test_a_folder_twice_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    """One folder by two names, or the same search in a copy, would count one run twice."""
    link = tmp_path / "link"
    link.symlink_to(folders["e0"])
    for label in (["e0"], ["a", "b"]):
        with pytest.raises(RunError, match="given twice"):
            compare([folders["e0"], link] if len(label) == 1 else {"a": link, "b": folders["e0"]})
    shutil.copytree(folders["e0"], tmp_path / "copy")
    with pytest.raises(RunError, match=r"copy: the settings and the seed 0 of .*e0, so the same"):
        compare([folders["e0"], tmp_path / "copy"])


def test_folders_that_score_otherwise_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    """Other images or settings of scoring are named with the folder; no folder is refused too."""
    path = shutil.copytree(folders["n0"], tmp_path / "other") / "config.json"
    config = json.loads(path.read_text("utf-8"))
    for part, key, value in (("problem", "n_inits", 3), ("data", "test_images", 7)):
        path.write_text(json.dumps({**config, part: {**config[part], key: value}}), "utf-8")
        what = "images" if part == "data" else key
        with pytest.raises(SearchError, match=rf"other: other {what} than .*e0: "):
            compare([folders["e0"], path.parent])
    with pytest.raises(RunError, match="holds no run"):
        compare([tmp_path / "nowhere"])


def test_seeds_of_scoring_may_differ(folders: dict[str, Path], tmp_path: Path) -> None:
    """The command line sets both seeds together, so that runs of two seeds score with two."""
    path = shutil.copytree(folders["e1"], tmp_path / "other") / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["problem"]["seed"] = 1
    path.write_text(json.dumps(config), "utf-8")
    assert compare([folders["e0"], path.parent]).table["n"].tolist() == [2]


def test_spaces_are_told(folders: dict[str, Path], tmp_path: Path) -> None:
    """Where search spaces differ, each label tells what its own has."""
    problem = MadeScores(search_space=CellSpace(max_channels=16, max_nodes=2, widening=1))
    wide = made_run(tmp_path / "wide", problem, seed=0)
    labels = compare([folders["e0"], wide]).table["label"].tolist()
    assert labels == ["evolutive, max channels 8", "evolutive, max channels 16"]


def test_fronts_of_a_run_are_those_of_all_it_scored(folders: dict[str, Path]) -> None:
    """Size and best values are of the non-dominated among all candidates, not of survivors."""
    table = RunFolder(folders["e0"]).history()
    sound = table[(table["degenerate"] == "") & table["feasible"]]
    points = sound[["ntk", "activation", "correlation"]].to_numpy()
    row = compare([folders["e0"]]).runs.iloc[0]
    assert row["front"] == len(front_of(points))
    assert [row[name] for name in ("ntk", "activation", "correlation")] == points.min(0).tolist()


@pytest.mark.parametrize("name", ["hypervolume", "label", "seed", "n", "known", "ntk_sd"])
def test_objectives_called_as_a_column_are_refused(name: str) -> None:
    """They would take the place of what is compared."""
    table = history([[1, 2], [2, 1]]).rename(columns={"activation": name})
    with pytest.raises(SearchError, match=name):
        compare({"a": [table]})


def test_means_tell_of_how_many_runs_they_are() -> None:
    """A run without a sound candidate has no best values; the table tells."""
    good, bad = history([[1, 2], [2, 1]]), history([[1, 2]], degenerate="no ReLU")
    row = compare({"a": [good, bad, good.copy()]}).table.iloc[0]
    assert (row["n"], row["ntk_n"], row["ntk"]) == (3, 2, 1)
    assert "hypervolume_n" not in row


def test_another_limit_of_latency_is_told(tmp_path: Path) -> None:
    """Runs that score alike but for a limit are refused."""
    for seed, limit in enumerate((1.0, 50.0)):
        made_run(tmp_path / f"{seed}", MadeScores(max_latency=limit), seed=seed)
    with pytest.raises(SearchError, match="max_latency"):
        compare([tmp_path / "0", tmp_path / "1"])
