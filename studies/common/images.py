"""Parts of a data set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pymoo_nas.datasets import Dataset, split_validation


def part_of(dataset: Dataset, n: int) -> Dataset:
    """The data set with so many of its training images, as many of each class."""
    share = n / len(dataset.train_labels)
    if share >= 1:
        return dataset
    _, kept = split_validation(dataset.train_labels, share, seed=0)
    return replace(
        dataset,
        train_images=dataset.train_images[kept],
        train_labels=dataset.train_labels[kept],
    )


def first_of(dataset: Dataset, n: int) -> Dataset:
    """The data set with the first n of its training images."""
    return replace(
        dataset, train_images=dataset.train_images[:n], train_labels=dataset.train_labels[:n]
    )


def of_training_images(
    images: Dataset, chosen: NDArray[np.integer[Any]], judging: NDArray[np.integer[Any]]
) -> Dataset:
    """Some of the training images, judged by others of them; no test image is used.

    Args:
        images: the data set.
        chosen: places of the training images.
        judging: places of those that take the place of the test images.
    """
    return replace(
        images,
        train_images=images.train_images[chosen],
        train_labels=images.train_labels[chosen],
        val_images=None,
        val_labels=None,
        test_images=images.train_images[judging],
        test_labels=images.train_labels[judging],
    )
