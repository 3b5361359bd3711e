"""Read ``.npz`` files and torchvision's data sets: images and labels as they are found there.

`pymoo_nas.datasets._dataset` checks images and labels and brings them into one form.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pymoo_nas._machine import free_memory
from pymoo_nas.datasets._image_reading import UNREADABLE, GreyRange
from pymoo_nas.datasets._kept_pixels import KeptPixels
from pymoo_nas.errors import DatasetError


class _Torchvision(NamedTuple):
    """A data set of torchvision: its class, its place under the root, and `Dataset.augment`."""

    loader: str
    place: str
    augment: bool


TORCHVISION = {
    "cifar10": _Torchvision("CIFAR10", "cifar-10-batches-py", True),
    "cifar100": _Torchvision("CIFAR100", "cifar-100-python", True),
    "fashion-mnist": _Torchvision("FashionMNIST", "FashionMNIST/raw", True),
    "mnist": _Torchvision("MNIST", "MNIST/raw", False),
    "svhn": _Torchvision("SVHN", "*_32x32.mat", False),
}
"""Name → class and place of the data set in torchvision."""


class Reading(NamedTuple):
    """Account of how the images of a data set were found and read.

    Attributes:
        train: origin of the training images, in words; empty where it is not known.
        test: origin of the test images, likewise.
        val: origin of the validation images, likewise.
        sizes: smallest and largest (H, W), in pixels, before images were resized.
        grey_range: levels of 16-bit grey files that became 0 and 255; None without such files.
        size_by_default: whether images have the default size, because no size was asked for.
    """

    train: str = ""
    test: str = ""
    val: str = ""
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None
    grey_range: GreyRange | None = None
    size_by_default: bool = False


PUBLISHED = Reading("the published part", "the published part")


class Splits(NamedTuple):
    """Images, labels and names (label → name) as they were found; None where there are none.

    Attributes:
        channels: "last" where the source knows that the channels are last, else None.
        brightest: highest level of each part that was found; None where it is not known.
        kept: the cache that holds the pixels, or None.
    """

    train_images: Any
    train_labels: Any
    test_images: Any = None
    test_labels: Any = None
    class_names: Sequence[str] | None = None
    val_images: Any = None
    val_labels: Any = None
    reading: Reading = Reading()
    channels: str | None = None
    brightest: Mapping[str, int] | None = None
    kept: KeptPixels | None = None


def read_npz(path: Path) -> Splits:
    """Read an ``.npz`` file with MedMNIST's key names (Yang 2023).

    The keys are ``train_images`` and ``train_labels``, and optionally ``test_images`` with
    ``test_labels``, ``val_images`` with ``val_labels``, and ``class_names``. Other keys are
    ignored. Nothing is unpickled.

    Raises:
        DatasetError: the file is damaged, holds Python objects, or lacks a key.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile("not a zip archive, as .npz files are")
        size = _unpacked_size(path)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    if size > free_memory():
        # A few kilobytes of zip can hold terabytes.
        raise DatasetError(
            f"{path}: its arrays take {size / 2**30:.1f} GiB, {free_memory() / 2**30:.1f} GiB are "
            "free; store smaller images, or fewer"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = sorted(archive.files)
            wanted = ["train_images", "train_labels"]
            for part in ("test", "val"):
                keys = [f"{part}_images", f"{part}_labels"]
                wanted += keys if not set(keys).isdisjoint(found) else []
            arrays = {key: archive[key] for key in wanted if key in found}
            names = archive["class_names"].astype(str) if "class_names" in found else None
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    missing = [key for key in wanted if key not in found]
    if missing:
        raise DatasetError(
            f"{path}: no {', '.join(missing)} in it; found {', '.join(found) or 'nothing'}; "
            "expected train_images and train_labels, and test_images together with test_labels, "
            "val_images together with val_labels"
        )
    return Splits(
        **arrays,
        class_names=None if names is None else names.ravel().tolist(),
        reading=Reading(
            train="train_images",
            test="test_images" if "test_images" in wanted else "",
            val="val_images" if "val_images" in wanted else "",
        ),
    )


def _unpacked_size(path: Path) -> int:
    """Sum the bytes of the arrays that `read_npz` reads, as the archive states them."""
    read = ("train_", "test_", "val_", "class_names")
    with zipfile.ZipFile(path) as archive:
        return sum(m.file_size for m in archive.infolist() if m.filename.startswith(read))


def _unreadable(path: Path, error: BaseException) -> DatasetError:
    return DatasetError(
        f"{path}: cannot be read ({error}); expected an .npz file as numpy.savez writes it, "
        "of numbers, and of text for class_names (not dtype=object)"
    )


def read_torchvision(name: str, root: Path, download: bool) -> Splits:
    """Read a data set of `TORCHVISION` from `root`, where torchvision itself would look for it.

    Raises:
        DatasetError: the data set is absent or damaged, or cannot be downloaded.
    """
    from torchvision import datasets  # noqa: PLC0415 - takes seconds

    loader, place, _ = TORCHVISION[name]
    svhn = name == "svhn"
    kinds = [{"split": "train"}, {"split": "test"}] if svhn else [{"train": True}, {"train": False}]
    try:
        # CIFAR's files are pickles: torchvision compares their MD5 sums before it opens them.
        train, test = (getattr(datasets, loader)(root, download=download, **kind) for kind in kinds)
    except UNREADABLE as error:
        failed = "could not be downloaded to" if download else "is not there or damaged in"
        raise DatasetError(
            f"data set {name!r} {failed} {(root / place).resolve()} ({error}); expected "
            f"torchvision's files; run `pymoo-nas search {name} --download`, connected to the "
            "internet, or put the files there"
        ) from error
    if svhn:
        images = [np.moveaxis(part.data, 1, 3) for part in (train, test)]
        splits = Splits(images[0], train.labels, images[1], test.labels)
    else:
        splits = Splits(train.data, train.targets, test.data, test.targets, train.classes)
    return splits._replace(reading=PUBLISHED, channels="last")
