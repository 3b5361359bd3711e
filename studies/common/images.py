"""Parts of a data set."""

from __future__ import annotations

from dataclasses import replace

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
