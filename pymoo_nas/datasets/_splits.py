"""Split labelled images, with the same share of every class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pymoo_nas.datasets._class_names import class_name
from pymoo_nas.errors import DatasetError

TEST_FRACTION = 0.2
"""Share of each class that is held out for the test where a source has no test part."""

HELD_OUT = "a fifth of each class, held out"
"""Origin of held-out test images, in words."""

SPLIT_SEED = 0
"""Seed of the held-out split: every run holds out the same images, whatever the run's own seed."""


def hold_out_test(
    labels: NDArray[np.int64], class_names: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw the test images of a source without a test part; see `split_validation`."""
    return split_validation(labels, TEST_FRACTION, SPLIT_SEED, class_names)


def split_validation(
    labels: NDArray[np.int64], fraction: float, seed: int, class_names: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw ascending indices for training and for validation, with the same share of every class.

    Args:
        labels: (n,).
        fraction: share of each class for validation, between 0 and 1; rounded, but at least one
            image of each class is on either side.
        seed: seed of the draw; the same seed gives the same split.
        class_names: label → name, for messages.

    Raises:
        DatasetError: a class has only one image, or the fraction does not fit.
    """
    if not (0 < fraction < 1 and len(labels)):
        raise DatasetError(
            f"split: got fraction {fraction} of {len(labels)} images; expected it between 0 and 1"
        )
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) < 2:
            raise DatasetError(
                f"class {class_name(label, class_names)} has 1 image; expected at least 2, one "
                "on either side of the split; add images or leave the class out"
            )
        chosen.append(members[: min(max(1, int(fraction * len(members) + 0.5)), len(members) - 1)])
    validation = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), validation), validation
