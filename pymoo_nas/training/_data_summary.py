"""One paragraph about the images of a data set, with the options that change them."""

from __future__ import annotations

import numpy as np

from pymoo_nas.datasets import FULL_RANGE, Dataset, augmentation_named
from pymoo_nas.training._settings import HELD_OUT

SHOWN = {
    "none": "as they are",
    "shift": "shifted at random",
    "flip": "shifted and mirrored left to right at random",
}
"""Name of an augmentation → how a training then shows the images."""

N_NAMED = 10
"""Largest number of classes that are named."""


def describe_data(dataset: Dataset, augment: str | bool, validation: float | None = None) -> str:
    """Describe a data set: its parts, the changes to its images, and the options for these.

    Args:
        dataset: see `load_dataset`.
        augment: a key of `SHOWN`; True is "flip", False "none".
        validation: share of the training images that a training holds out; None takes the
            validation images, or `HELD_OUT` where there are none.
    """
    shown = SHOWN[augmentation_named(augment)]
    return " ".join(
        (
            f"{dataset.name}: {_parts(dataset, validation)}.",
            f"{_classes(dataset)}.",
            f"{_pixels(dataset)}.",
            f"A training shows the images {shown} (--augment none|shift|flip).",
        )
    )


def _parts(dataset: Dataset, validation: float | None) -> str:
    places = dataset.reading
    parts = [_part(len(dataset.train_labels), "training", places.train)]
    if dataset.val_labels is not None:
        parts.append(_part(len(dataset.val_labels), "validation", places.val))
    parts.append(_part(len(dataset.test_labels), "test", places.test))
    if dataset.val_labels is not None and validation is None:
        chosen = "the validation images choose the epoch"
    elif validation == 0:
        chosen = "the last epoch is kept"
    else:
        share = HELD_OUT if validation is None else validation
        chosen = (
            f"{100 * share:.3g} % of the training images of each class, held out, choose the epoch"
        )
    return f"{', '.join(parts[:-1])} and {parts[-1]}; {chosen} (train --validation)"


def _part(n_images: int, what: str, place: str) -> str:
    return f"{n_images} {what} images" + (f" ({place})" if place else "")


def _classes(dataset: Dataset) -> str:
    counts = np.bincount(dataset.train_labels, minlength=dataset.n_classes)
    few, many = int(counts.min()), int(counts.max())
    each = f"{few}" if few == many else f"{few} to {many}"
    names = ", ".join(dataset.class_names[:N_NAMED])
    more = ", …" if dataset.n_classes > N_NAMED else ""
    return f"{dataset.n_classes} classes with {each} training images each: {names}{more}"


def _pixels(dataset: Dataset) -> str:
    channels = {1: "grey", 3: "colour"}.get(dataset.in_channels, f"{dataset.in_channels} channels")
    text = f"Pixels: {_size(dataset.image_size)} (height × width), {channels}"
    sizes = dataset.reading.sizes
    if sizes is None:
        text += ", as they were given"
    elif set(sizes) == {dataset.image_size}:
        text += ", the size of the files"
    elif sizes[0] == sizes[1]:
        text += f", resized from {_size(sizes[0])}"
    else:
        text += f", resized from {_size(sizes[0])} to {_size(sizes[1])}"
    default = ": the default for folders" if dataset.reading.size_by_default else ""
    text += f" (--image-size{default})"
    if dataset.grey_range is not None:
        low, high = dataset.grey_range
        how = (
            "divided by 257" if dataset.grey_range == FULL_RANGE else f"{low} to {high} → 0 to 255"
        )
        text += f", 16-bit grey levels {how}"
    return text


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
