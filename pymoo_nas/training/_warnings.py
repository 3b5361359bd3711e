"""Warn of doubtful accuracies: few images, overfitting, a class that is never predicted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

GAP = 0.1
"""Difference of training and validation accuracy up to which there is no warning."""


def differ(one: float, n_one: float, other: float, n_other: float) -> bool:
    """Whether two accuracies differ by more than two standard errors of their difference.

    One correct and one wrong image are added to each (Agresti and Caffo 2000). Without them an
    accuracy of 100 % on few images would have no error at all.

    Args:
        one: a fraction of `n_one` images.
        n_one: at least 1.
        other: a fraction of `n_other` images.
        n_other: at least 1.

    >>> differ(0.98, 54, 5 / 6, 6), differ(0.98, 540, 50 / 60, 60)
    (False, True)
    """
    error = math.hypot(standard_error(one, n_one), standard_error(other, n_other))
    return abs(_shrunk(one, n_one) - _shrunk(other, n_other)) > 2 * error


def standard_error(accuracy: float, n: float) -> float:
    """Standard error of an accuracy, with one correct and one wrong image added, see `differ`.

    Args:
        accuracy: a fraction of `n` images.
        n: at least 1; see `number_for_recall`, too.

    >>> round(standard_error(1.0, 8), 3), round(standard_error(0.9, 10_000), 3)
    (0.095, 0.003)
    """
    share = _shrunk(accuracy, n)
    return math.sqrt(share * (1 - share) / (n + 2))


def number_for_recall(labels: NDArray[np.int64]) -> float:
    """How many images of equal classes would tell a mean recall as exactly as these images.

    The variance of a mean of recalls is the sum of those of the classes over the square of their
    number; that of a class is inverse to its images, so that the rarest counts most.

    >>> equal, unequal = np.repeat([0, 1], [50, 50]), np.repeat([0, 1], [98, 2])
    >>> number_for_recall(equal), round(number_for_recall(unequal), 1)
    (100.0, 7.8)
    """
    counts = np.unique(labels, return_counts=True)[1]
    return float(len(counts) ** 2 / np.sum(1 / counts))


def _shrunk(accuracy: float, n: float) -> float:
    return (accuracy * n + 1) / (n + 2)


def warn_of_gap(row: Mapping[str, float], n_fitted: int, n_judging: int) -> None:
    """Warn where accuracy is much lower on the images that judge than on the images trained on.

    Args:
        row: row of the epoch that is kept, see `Training.epochs`.
        n_fitted: number of images that were trained on.
        n_judging: number of images of the validation accuracy; 0 gives no warning.
    """
    train, validation = row["train_accuracy"], row["validation_accuracy"]
    if (
        not n_judging
        or train - validation <= GAP
        or not differ(train, n_fitted, validation, n_judging)
    ):
        return
    warnings.warn(
        f"accuracy is {train:.1%} on the {n_fitted} images trained on and {validation:.1%} on the "
        f"{n_judging} that judge: the network has learned images by heart; more images, stronger "
        "augmentation (--augment), or a smaller network help",
        stacklevel=3,
    )


def warn_of_unpredicted(confusion: pd.DataFrame, *, balance: bool) -> None:
    """Warn of classes that occur among the test images and that the network never predicts.

    Args:
        confusion: see `Training`.
        balance: whether classes were weighted already.
    """
    counts = confusion.to_numpy()
    missed = (counts.sum(0) == 0) & (counts.sum(1) > 0)
    if missed.any():
        names = ", ".join(map(str, confusion.index[missed][:5]))
        more = ", …" if missed.sum() > 5 else ""
        remedy = "more images of them" if balance else "--balance (balance=True), more images"
        warnings.warn(
            f"no test image is taken for {missed.sum()} of {len(counts)} classes: {names}{more}; "
            f"{remedy}, or more epochs may help",
            stacklevel=3,
        )


def warn_of_tie(accuracies: Sequence[float], n_images: int, n: float) -> None:
    """Warn where the accuracies of several networks cannot tell which is the best.

    Args:
        accuracies: fractions of the same images.
        n_images: number of these images.
        n: how many of them tell the accuracies apart: fewer for balanced ones, see
            `number_for_recall`.
    """
    low, high = min(accuracies), max(accuracies)
    if len(accuracies) < 2 or differ(high, n, low, n):
        return
    range_ = f"{low:.1%} to {high:.1%}" if high > low else f"{high:.1%} each"
    warnings.warn(
        f"{len(accuracies)} architectures reach {range_} of {n_images} held-out images, too few "
        "to tell them apart; give more images, or keep the choice as the smallest of those that "
        "are about as good",
        stacklevel=3,
    )
