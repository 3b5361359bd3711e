"""Five data sets of the kinds that people bring, split anew for each seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pymoo_nas.datasets import Dataset, load_dataset

TEST = 0.2
"""The share of the images that is tested on."""

PHOTOGRAPHS = ("cat", "dog")
"""Classes of CIFAR-10 that are written as photographs."""

SIDES = (24, 28, 32, 40, 48, 64)
"""Sides of the photographs, in pixels."""

PER_CLASS = 700
"""Photographs of each class."""

OF_CIFAR = 2500
"""Images of all ten classes."""

FITTED = 35_000
"""CIFAR-10's images are taken from the first so many; others are withheld."""

MADE = {3: 150, 8: 60, 9: 25}
"""Digit → how many made images of it there are."""

Pixels = NDArray[Any]


def parts_of(images: Dataset, *parts: str) -> tuple[Pixels, NDArray[np.int64]]:
    """Images and labels of several parts together."""
    pixels = [getattr(images, f"{part}_images") for part in parts]
    labels = [getattr(images, f"{part}_labels") for part in parts]
    return np.concatenate(pixels), np.concatenate(labels)


def digits(shared: Path, work: Path, seed: int) -> Dataset:
    """scikit-learn's 1,797 digits of 8×8 pixels."""
    del shared, work
    return split(*parts_of(load_dataset("digits"), "train", "test"), seed, augment="none")


def cifar10(shared: Path, work: Path, seed: int) -> Dataset:
    """2,500 images of CIFAR-10, others for each seed."""
    del work
    pixels, labels = (part[:FITTED] for part in parts_of(_cifar(shared), "train"))
    chosen = np.random.default_rng(seed).permutation(FITTED)[:OF_CIFAR]
    return split(pixels[chosen], labels[chosen], seed)


def breastmnist(shared: Path, work: Path, seed: int) -> Dataset:
    """All 780 images of BreastMNIST (Yang 2023), 28×28 in grey."""
    del work
    images = load_dataset(shared / "breastmnist.npz")
    return split(*parts_of(images, "train", "val", "test"), seed)


def photographs(shared: Path, work: Path, seed: int) -> Dataset:
    """A folder of 1,400 JPEG files of two classes in mixed sizes, the same for each seed."""
    folder = work / "photographs"
    if not (folder / "written").exists():
        write_photographs(_cifar(shared), folder)
        (folder / "written").touch()
    return split(*parts_of(load_dataset(folder), "train", "test"), seed)


def write_photographs(images: Dataset, folder: Path) -> None:
    """Write some of CIFAR-10's images as JPEG files, enlarged or made smaller."""
    rng = np.random.default_rng(0)
    for name in PHOTOGRAPHS:
        (folder / name).mkdir(parents=True, exist_ok=True)
        places = np.flatnonzero(images.train_labels[:FITTED] == images.class_names.index(name))
        for place in places[:PER_CLASS]:
            width, height = rng.choice(SIDES, 2).tolist()
            picture = Image.fromarray(images.train_images[place]).resize((width, height))
            picture.save(folder / name / f"{place}.jpg", quality=90)


def made(shared: Path, work: Path, seed: int) -> Dataset:
    """Digits of 28×28 pixels, moved and with noise, of three classes of unequal numbers."""
    del shared, work
    rng = np.random.default_rng(seed)
    pixels, labels = parts_of(load_dataset("digits"), "train", "test")
    chosen = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == digit))[:n] for digit, n in MADE.items()]
    )
    canvas = rng.normal(0, 0.25, (len(chosen), 28, 28, 1)).astype(np.float32)
    for image, place in zip(canvas, chosen, strict=True):
        top, left = rng.integers(0, 28 - 16 + 1, 2)
        image[top : top + 16, left : left + 16] += np.kron(pixels[place], np.ones((2, 2, 1)))
    classes = np.searchsorted([*MADE], labels[chosen])
    return split(canvas, classes, seed, augment="none")


def _cifar(shared: Path) -> Dataset:
    return load_dataset(shared / "cifar10.npz")


def split(
    pixels: Pixels, labels: NDArray[np.int64], seed: int, augment: str | None = None
) -> Dataset:
    """A data set of which a fifth of each class, another one for each seed, is tested on."""
    rng = np.random.default_rng(seed)
    tested = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        places = rng.permutation(np.flatnonzero(labels == label))
        tested[places[: round(TEST * len(places))]] = True
    return load_dataset(
        (pixels[~tested], labels[~tested], pixels[tested], labels[tested]), augment=augment
    )


SETS: Mapping[str, Callable[[Path, Path, int], Dataset]] = {
    "made": made,
    "breastmnist": breastmnist,
    "digits": digits,
    "photographs": photographs,
    "cifar10": cifar10,
}
"""Name → (shared data, folder to write to, seed) → a data set."""
