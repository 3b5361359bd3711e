"""The probe: the batch of images on which every candidate of a search is scored."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pymoo_nas.datasets import Dataset, balanced_indices
from pymoo_nas.errors import DatasetError
from pymoo_nas.scores._from_kernels import Matrix, squared_distances


@dataclass(frozen=True, eq=False)
class Probe:
    """A fixed batch of normalised images on which every candidate of a search is scored.

    Attributes:
        images: (N, C, H, W) floating point.
        labels: (N,) int64, classes of the images; None where they are not known.
    """

    images: Tensor
    labels: Tensor | None = None

    @cached_property
    def distances(self) -> Matrix:
        """Squared distances of the images, (N, N)."""
        return squared_distances(self.images.detach().double().flatten(1).cpu().numpy())

    def to(self, device: torch.device) -> Probe:
        """Return the same images on another device."""
        labels = None if self.labels is None else self.labels.to(device)
        return Probe(self.images.to(device), labels)

    @cached_property
    def reason(self) -> str:
        """Reason why scores on this batch are degenerate; empty where they are not."""
        distinct = len(torch.unique(self.images.detach().flatten(1).cpu(), dim=0))
        return "duplicate images in the probe" if distinct < len(self.images) else ""


def draw_probe(
    dataset: Dataset, n_images: int = 64, seed: int = 0, device: str | torch.device = "cpu"
) -> Probe:
    """Draw a class-balanced batch of distinct training images, normalised by the set's moments.

    A class with too few images gives all it has, and the other classes give more.

    Args:
        dataset: data set whose training part gives the images.
        n_images: N; the batch is smaller where there are fewer distinct images.
        seed: seed of the draw; the same seed gives the same batch.
        device: device to which the images are moved.

    Raises:
        DatasetError: there are fewer than two distinct images, or `n_images` is below 1.

    Warns:
        UserWarning: there are fewer images than asked for, or some classes gave fewer than others.
    """
    rng = np.random.default_rng(seed)
    indices = balanced_indices(dataset.train_images, dataset.train_labels, n_images, rng)
    if len(indices) < min(n_images, 2):
        raise DatasetError(
            f"data set {dataset.name!r}: all {len(dataset.train_labels)} training images are "
            f"equal; expected at least 2 that differ, to draw {n_images} (--images, n_images)"
        )
    scarce = _scarcity(dataset, indices, n_images)
    if scarce:
        warnings.warn(f"data set {dataset.name!r}: {scarce}", stacklevel=2)
    labels = torch.from_numpy(dataset.train_labels[indices])
    return Probe(dataset.normalized(dataset.train_images[indices]).to(device), labels.to(device))


N_NAMED = 5
"""Number of classes that a message names."""


def _scarcity(dataset: Dataset, indices: NDArray[np.int64], n_images: int) -> str:
    """Say which images a draw lacks, in words; empty where it lacks none."""
    if len(indices) < n_images:
        return (
            f"{n_images} images asked for (--images, n_images); the candidates are scored on "
            f"{len(indices)}, all distinct training images there are"
        )
    even = n_images // dataset.n_classes
    drawn, there, tested = (
        np.bincount(labels, minlength=dataset.n_classes)
        for labels in (dataset.train_labels[indices], dataset.train_labels, dataset.test_labels)
    )
    few = [c for c in range(dataset.n_classes) if drawn[c] < even]
    named = ", ".join(
        f"{dataset.class_names[c]!r} {drawn[c]} (of {there[c]} training and {tested[c]} test "
        "images)"
        for c in few[:N_NAMED]
    )
    more = f" and {len(few) - N_NAMED} more" if len(few) > N_NAMED else ""
    return (
        f"{n_images} images of {dataset.n_classes} classes would be {even} of each, but too few "
        f"distinct training images give {named}{more}; the other classes give more"
        if few
        else ""
    )
