"""Warn, before a training, of images that cannot judge it."""

from __future__ import annotations

import hashlib
import warnings

import numpy as np
from numpy.typing import NDArray

from pymoo_nas.datasets import Dataset

SHARED = 0.01
"""Share of the images that judge which may be training images too: published sets hold a few."""

N_NAMED = 5
"""Largest number of classes that are named."""


def warn_of_shared(dataset: Dataset) -> None:
    """Warn where more than `SHARED` of the test or validation images are training images too.

    Args:
        dataset: see `load_dataset`.
    """
    parts = {"test": dataset.test_images, "validation": dataset.val_images}
    for name, images in parts.items():
        if images is None or not len(images):
            continue
        n_shared = int(found_in(images, dataset.train_images).sum())
        if n_shared > SHARED * len(images):
            warnings.warn(
                f"{n_shared} of {len(images)} {name} images are training images too, pixel by "
                "pixel: the accuracy is higher than that of new images; remove them from one part",
                stacklevel=3,
            )


def found_in(some: NDArray[np.generic], others: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Which images (n, H, W, C) occur among others (m, H, W, C), pixel by pixel: (n,).

    Of most images one row of pixels is read: a hundred thousand need not fit into memory.
    """
    middle = some.shape[1] // 2
    rows = {image[middle].tobytes() for image in some}
    alike = (image for image in others if image[middle].tobytes() in rows)
    known = {_digest(image) for image in alike}
    return np.array([bool(known) and _digest(image) in known for image in some], dtype=bool)


def _digest(image: NDArray[np.generic]) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def warn_of_unjudged(
    dataset: Dataset, fitted: NDArray[np.int64], judging: NDArray[np.int64]
) -> None:
    """Warn of classes that are trained on, but not among the images that choose the epoch.

    Args:
        dataset: see `load_dataset`.
        fitted: indices of the training images that are trained on.
        judging: labels of the images that choose the epoch; empty gives no warning.
    """
    missed = np.setdiff1d(dataset.train_labels[fitted], judging)
    if not len(judging) or not len(missed):
        return
    names = ", ".join(dataset.class_names[label] for label in missed[:N_NAMED])
    more = ", …" if len(missed) > N_NAMED else ""
    warnings.warn(
        f"the {len(judging)} images that choose the epoch hold none of {len(missed)} of "
        f"{dataset.n_classes} classes: {names}{more}; the validation accuracy tells nothing of "
        "them; give more images of them",
        stacklevel=3,
    )
