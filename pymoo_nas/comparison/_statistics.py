"""Tests of whether one search reaches more than another, and how large the difference is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Vector = npt.NDArray[np.float64]

LEAST_RUNS = 5
"""Runs of each that a p value needs: with four pairs none can be below 0.125."""


def a12(a: Sequence[float] | Vector, b: Sequence[float] | Vector) -> float:
    """How probable it is that a value of a is larger than one of b (Vargha 2000).

    Equal values count half; 0.5 is no difference.

    >>> a12([3.0, 4.0], [1.0, 3.0])
    0.875
    """
    if len(a) == 0 or len(b) == 0:
        return math.nan
    difference = np.subtract.outer(np.asarray(a, dtype=float), np.asarray(b, dtype=float))
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def rank_biserial(differences: Sequence[float] | Vector) -> float:
    """The share of ranks of positive differences less that of negative ones (Kerby 2014).

    From −1 to 1; differences of 0 are left out; 0 where no other is left.

    >>> rank_biserial([3.0, -1.0, 2.0])
    0.6666666666666666
    """
    from scipy.stats import rankdata  # noqa: PLC0415 - heavy

    unequal = np.asarray([value for value in differences if value != 0], dtype=float)
    if len(unequal) == 0:
        return 0.0
    ranks = rankdata(np.abs(unequal))
    return float((ranks * np.sign(unequal)).sum() / ranks.sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for so many tests (Holm 1979); NaN, no test, stays and counts for none.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = list(p_values)
    tested = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    largest = 0.0
    for number, (p, place) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - number)))
        corrected[place] = largest
    return corrected


def compare_pairs(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Test every two labels on a column, of which larger is better.

    Where both have the same seeds, pairs of equal seed are compared by Wilcoxon's signed-rank test
    (Wilcoxon 1945); else all runs by the U test (Mann 1947). Both are two-sided.

    Args:
        runs: one row per run, with the columns label, seed and the one to test.
        column: numbers.

    Returns:
        one row per pair: a, b, test, n_a, n_b, statistic, p, p_holm, a12, rank_biserial, and the
        reason where there is no p value.
    """
    groups = {str(label): rows for label, rows in runs.groupby("label", sort=False)}
    rows = [
        {"a": a, "b": b, **_compared(groups[a], groups[b], column)}
        for a, b in itertools.combinations(groups, 2)
    ]
    columns = ["a", "b", "test", "n_a", "n_b", "statistic", "p", "p_holm"]
    columns += ["a12", "rank_biserial", "reason"]
    corrected = holm([row["p"] for row in rows])
    rows = [{**row, "p_holm": p} for row, p in zip(rows, corrected, strict=True)]
    return pd.DataFrame(rows, columns=columns)


def _compared(a: pd.DataFrame, b: pd.DataFrame, column: str) -> dict[str, Any]:
    paired = _are_paired(a["seed"], b["seed"])
    if paired:
        a, b = a.sort_values("seed"), b.sort_values("seed")
    values = a[column].to_numpy(float), b[column].to_numpy(float)
    n_a, n_b = map(len, values)
    effect = a12(*values)
    found = {
        "test": "Wilcoxon signed-rank" if paired else "Mann-Whitney U",
        "n_a": n_a,
        "n_b": n_b,
        "statistic": math.nan,
        "p": math.nan,
        "a12": effect,
        "rank_biserial": rank_biserial(values[0] - values[1]) if paired else 2 * effect - 1,
        "reason": "",
    }
    if min(n_a, n_b) < LEAST_RUNS:
        found["reason"] = f"a p value needs {LEAST_RUNS} runs of each"
    else:
        found |= _signed_rank(values[0] - values[1]) if paired else _u_test(*values)
    return found


def _are_paired(a: pd.Series, b: pd.Series) -> bool:
    """Whether both have the same seeds, each once."""
    seeds = a.tolist(), b.tolist()
    known = not (a.isna().any() or b.isna().any())
    return known and sorted(seeds[0]) == sorted(seeds[1]) and a.is_unique


def _signed_rank(differences: Vector) -> Mapping[str, float]:
    from scipy.stats import wilcoxon  # noqa: PLC0415 - heavy

    unequal = differences[differences != 0]
    if len(unequal) == 0:
        return {"statistic": 0.0, "p": 1.0}
    statistic, p = wilcoxon(unequal)
    return {"statistic": float(statistic), "p": float(p)}


def _u_test(a: Vector, b: Vector) -> Mapping[str, float]:
    from scipy.stats import mannwhitneyu  # noqa: PLC0415 - heavy

    statistic, p = mannwhitneyu(a, b, alternative="two-sided")
    return {"statistic": float(statistic), "p": float(p)}
