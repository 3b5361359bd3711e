"""Comparisons of searches: hypervolume, attainment, tests and tables, by hand and by slow loops."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_histories import history
from scipy.stats import mannwhitneyu, wilcoxon

from pymoo_nas import (
    CellSpace,
    SearchError,
    compare,
    order_scored,
)
from pymoo_nas.comparison._measures import (
    Box,
    attainment_surface,
    hypervolume_curve,
)
from pymoo_nas.comparison._statistics import a12, compare_pairs, holm, rank_biserial
from pymoo_nas.errors import DatasetError

UNIT = Box(np.zeros(2), np.ones(2))

NAN = math.nan


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


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_hypervolume_does_not_depend_on_the_order(seed: int, n_objectives: int) -> None:
    """The same candidates, found in another order, tie to the last bit."""
    rng = np.random.default_rng(seed)
    values = rng.random((40, n_objectives))
    box, counts = Box(np.zeros(n_objectives), np.ones(n_objectives)), np.ones(40, dtype=bool)
    ends = {hypervolume_curve(rng.permutation(values), counts, box)[-1] for _ in range(3)}
    assert len(ends) == 1


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


@pytest.mark.parametrize(
    ("growths", "best"),
    [
        ([9.0, 0.0, math.nan, 0.0], 70.0),
        ([9.0, 9.0, math.nan, 9.0], 60.0),
        ([9.0, 9.0, 9.0, 9.0], 90.0),
        ([math.nan] * 4, 90.0),
    ],
)
def test_known_accuracies_of_steady_ones(growths: list[float], best: float) -> None:
    """The best of the front is that of the front that a search by steady gradients hands over."""
    table = history([[1, 1], [2, 2], [4, 4], [3, 3]]).assign(growth=growths, smoothness=-1.0)
    truth = pd.DataFrame({"genotype": ["1", "2", "3", "4"], "accuracy": [90.0, 70.0, 60.0, 80.0]})
    found = compare({"a": [table]}, truth=truth, space=CellSpace(["conv3x3"], channel_step=1))
    assert found.runs["accuracy_front"].tolist() == [best]
    alone = compare({"a": [table.drop(columns=["growth", "smoothness"])]})
    assert found.runs["hypervolume"].tolist() == alone.runs["hypervolume"].tolist()


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
    with pytest.raises(DatasetError, match="got a dict"):
        compare(groups, truth={"8": 1.0}, space=space)
    path.write_text("arch,accuracy\n8,1\n", "utf-8")
    with pytest.raises(DatasetError, match=r"arch, accuracy; genotype missing"):
        compare(groups, truth=path, space=space)
    path.write_text("", "utf-8")
    with pytest.raises(DatasetError, match="no table"):
        compare(groups, truth=path, space=space)
