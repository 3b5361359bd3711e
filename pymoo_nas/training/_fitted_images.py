"""The images that weights are fitted to, the images that judge them, and class weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pymoo_nas.datasets import Dataset, split_validation
from pymoo_nas.errors import DatasetError
from pymoo_nas.training._evaluation import Images
from pymoo_nas.training._settings import AUTO, HELD_OUT, OWN_IMAGES, Settings


class Chosen:
    """Some of many images, read when they are asked for: a copy of all might not fit into memory.

    Args:
        images: (n, H, W, C).
        indices: (m,) the images that are chosen.
    """

    def __init__(self, images: np.ndarray, indices: np.ndarray) -> None:
        self._images = images
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, part: slice) -> np.ndarray:
        """Read the images of a part of the indices: (b, H, W, C)."""
        chosen: np.ndarray = self._images[self._indices[part]]
        return chosen


UNEQUAL = 1.5
"""Classes are unequal above this ratio of images in the largest class to the smallest class."""


def with_validation(settings: Settings, dataset: Dataset) -> Settings:
    """Return settings that say which images choose the epoch to keep.

    Raises:
        DatasetError: the settings ask for validation images that the data set does not have.
    """
    own = dataset.val_labels is not None and len(dataset.val_labels) > 0
    if settings.validation == OWN_IMAGES and not own:
        raise DatasetError(
            f"data set {dataset.name!r}: no validation images; expected some for "
            'validation="val"; give a fraction of the training images in its place'
        )
    if settings.validation != AUTO:
        return settings
    return replace(settings, validation=OWN_IMAGES if own else HELD_OUT)


def fitted_and_judging(
    dataset: Dataset, settings: Settings
) -> tuple[np.ndarray, tuple[Images, np.ndarray]]:
    """Return indices of the images to train on; images and labels that choose the epoch to keep.

    Args:
        dataset: see `load_dataset`.
        settings: as `with_validation` returns them.

    Raises:
        DatasetError: no training or no test images.
    """
    images, labels = dataset.train_images, dataset.train_labels
    _check_images(dataset)
    if settings.validation == OWN_IMAGES:
        assert dataset.val_images is not None  # `with_validation` has looked
        assert dataset.val_labels is not None
        return np.arange(len(labels)), (dataset.val_images, dataset.val_labels)
    fraction = float(settings.validation)
    fitted, held_out = fitted_and_held_out(labels, fraction, settings.seed)
    return fitted, (Chosen(images, held_out), labels[held_out])


def none_to_hold_out(dataset: Dataset, remedy: str) -> DatasetError:
    """Make the error for training images of which none can be held out.

    Args:
        dataset: see `load_dataset`.
        remedy: advice besides more images.
    """
    return DatasetError(
        f"data set {dataset.name!r}: no class has two training images, so that none can be held "
        f"out to judge; give more images, or {remedy}"
    )


def fitted_and_held_out(
    labels: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train on and indices held out, both ascending: see `split_validation`.

    A class with one image is trained on; a fraction of 0 holds nothing out.
    """
    everything = np.arange(len(labels))
    divisible = np.flatnonzero(np.bincount(labels)[labels] > 1)
    if fraction == 0 or len(divisible) == 0:
        return everything, everything[:0]
    held_out = divisible[split_validation(labels[divisible], fraction, seed)[1]]
    return np.setdiff1d(everything, held_out), held_out


def unequal(counts: np.ndarray) -> bool:
    """Whether the numbers of images of the classes that occur differ by more than `UNEQUAL`.

    >>> unequal(np.array([10, 15, 0])), unequal(np.array([10, 16]))
    (False, True)
    """
    return bool(counts.max() > UNEQUAL * counts[counts > 0].min())


def class_weights(counts: np.ndarray) -> Tensor:
    """Weights inverse to the number of images of each class, 1 on average over the images."""
    weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return torch.from_numpy(weights.astype(np.float32))


def _check_images(dataset: Dataset) -> None:
    """Refuse a data set without training or test images."""
    if len(dataset.train_images) == 0 or len(dataset.test_images) == 0:
        raise DatasetError(
            f"data set {dataset.name!r}: {len(dataset.train_images)} training and "
            f"{len(dataset.test_images)} test images; expected at least one of each"
        )
