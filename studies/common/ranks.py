"""How scores, of which smaller is better, agree with accuracies, of which larger is better."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau

Vector: TypeAlias = npt.NDArray[np.float64]


def tau(scores: Any, accuracy: Any) -> float:
    """Kendall's τ, 1 where the smaller score always has the larger accuracy."""
    return -float(kendalltau(scores, accuracy)[0])


def interval(scores: Vector, accuracy: Vector, n: int) -> tuple[float, float]:
    """95 % bootstrap interval of Kendall's τ."""
    rng = np.random.default_rng(0)
    drawn = (rng.integers(len(scores), size=len(scores)) for _ in range(n))
    values = [tau(scores[i], accuracy[i]) for i in drawn]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def ndcg(scores: Any, accuracy: Any, n: int = 100) -> float:
    """The normalised discounted cumulative gain of the n smallest scores (Tybl 2025), at most 1.

    The gain of an architecture is 2 to the power of its accuracy, which is in %, as a fraction,
    minus 1. It counts less the further down it stands, by 1 / log2(1 + place).
    """
    gains = 2 ** (np.asarray(accuracy, float) / 100) - 1
    places = np.log2(np.arange(2, min(n, len(gains)) + 2))
    found = gains[np.argsort(np.asarray(scores), kind="stable")][: len(places)]
    best = np.sort(gains)[::-1][: len(places)]
    return float((found / places).sum() / (best / places).sum())


def mean_of_best(scores: Any, accuracy: Any, n: int) -> float:
    """Mean accuracy of those with the n smallest scores."""
    order = np.argsort(np.asarray(scores), kind="stable")[:n]
    return float(np.asarray(accuracy, float)[order].mean())
