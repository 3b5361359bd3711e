"""Load data sets: a name, a path or arrays → checked images and labels.

Each source only finds its images and labels. One function, `build_dataset`, checks them (pixels
too), brings them into one form, resizes and splits them.

>>> digits = load_dataset("digits")
>>> digits.n_classes, digits.in_channels, digits.image_size
(10, 1, (8, 8))
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pymoo_nas._machine import Progress, Report
from pymoo_nas.datasets import _image_arrays as image_arrays
from pymoo_nas.datasets import _image_files as image_files
from pymoo_nas.datasets import _image_folders as image_folders
from pymoo_nas.datasets._augmentations import AUGMENTATIONS, augmentation_named
from pymoo_nas.datasets._class_names import name_classes
from pymoo_nas.datasets._decoding import tell, told_to
from pymoo_nas.datasets._image_files import TORCHVISION, Reading, Splits
from pymoo_nas.datasets._image_reading import GreyRange
from pymoo_nas.datasets._kept_pixels import KeptPixels
from pymoo_nas.datasets._moments import checksum, mean_of, std_of
from pymoo_nas.datasets._splits import HELD_OUT, hold_out_test
from pymoo_nas.errors import DatasetError

FOLDER_IMAGE_SIZE = (32, 32)
"""(H, W) to which the images of a folder are resized by default, since files may all differ."""

MAX_IMAGE_SIZE = 4096
"""Largest height and width to which images are resized."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of two or more classes, for training and for testing, checked by `load_dataset`.

    Validation images, where there are some, choose the epoch whose weights a training keeps. The
    images of a large folder are mapped from a file, read-only, see `load_dataset`.

    Attributes:
        name: name of the data set, for people and for file names.
        train_images: (n, H, W, C), uint8, or float32 on any scale.
        train_labels: (n,) int64 in 0..n_classes-1; every class occurs.
        test_images: (m, H, W, C), of the same type.
        test_labels: (m,) int64; some classes may be absent.
        class_names: label → name.
        augment: changes that keep the label: "flip" for shifted crops and horizontal flips, "shift"
            for the crops alone, "none" (as for digits) for neither. True and False are taken as
            "flip" and "none".
        val_images: (v, H, W, C), of the same type; None where the source has no validation part.
        val_labels: (v,) int64; None where `val_images` is None.
        reading: origin of the parts, and how the images were read; see `describe_data`.
    """

    name: str
    train_images: NDArray[Any]
    train_labels: NDArray[np.int64]
    test_images: NDArray[Any]
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    augment: str
    val_images: NDArray[Any] | None = None
    val_labels: NDArray[np.int64] | None = None
    reading: Reading = Reading()  # noqa: RUF009 a tuple, which nothing changes

    def __post_init__(self) -> None:
        augment = augmentation_named(self.augment)
        if augment not in AUGMENTATIONS:
            raise DatasetError(
                f"data set {self.name!r}: augment is {augment!r}; expected one of "
                f"{', '.join(AUGMENTATIONS)}, or True or False"
            )
        object.__setattr__(self, "augment", augment)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def in_channels(self) -> int:
        """Number of channels C: 1 for grey, 3 for RGB."""
        return int(self.train_images.shape[3])

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return int(self.train_images.shape[1]), int(self.train_images.shape[2])

    @property
    def grey_range(self) -> GreyRange | None:
        """Levels of 16-bit grey files that became 0 and 255; None without such files."""
        return self.reading.grey_range

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Counts and a checksum, as plain values that are equal for equal images and labels.

        They cover the training and the test part, on which a search and a test depend.
        """
        return {
            "training_images": len(self.train_labels),
            "test_images": len(self.test_labels),
            "sha256": checksum(
                self.train_images, self.train_labels, self.test_images, self.test_labels
            ),
        }

    @cached_property
    def val_fingerprint(self) -> dict[str, Any] | None:
        """The same as `fingerprint` for the validation part alone; None where there is none."""
        if self.val_images is None or self.val_labels is None:
            return None
        return {
            "validation_images": len(self.val_labels),
            "sha256": checksum(self.val_images, self.val_labels),
        }

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """(C,): mean of the training pixels; uint8 0..255 counts as 0..1, floats as they are."""
        return mean_of(self.train_images)

    @cached_property
    def std(self) -> NDArray[np.float64]:
        """(C,): standard deviation on the scale of `mean`; 1 for a constant channel."""
        return std_of(self.train_images, self.mean)

    def normalized(self, images: NDArray[Any]) -> Tensor:
        """Map (n, H, W, C) → float32 (n, C, H, W): (x - mean) / std, both of the training images.

        Raises:
            DatasetError: the images have another type or number of channels than this data set.
        """
        expected = self.train_images.dtype
        if images.ndim != 4 or images.shape[3] != self.in_channels or images.dtype != expected:
            raise DatasetError(
                f"data set {self.name!r}: cannot normalise {images.dtype} images of shape "
                f"{images.shape}; expected {expected} of shape (n, H, W, {self.in_channels})"
            )
        return image_arrays.normalize(images, self.mean, self.std)


DatasetSource: TypeAlias = (
    str
    | Path
    | Dataset
    | tuple[Any, Any]
    | tuple[Any, Any, Any, Any]
    | tuple[Any, Any, Any, Any, Any, Any]
)
"""What `load_dataset` takes: a name, a path, a `Dataset`, or arrays of images and labels."""

ARRAYS = {
    2 * len(parts): tuple(f"{part}_{kind}" for part in parts for kind in ("images", "labels"))
    for parts in (("train",), ("train", "test"), ("train", "val", "test"))
}
"""Number of arrays that `load_dataset` takes → their order."""

DATASET_NAMES = ("digits", *TORCHVISION)
"""Names of the data sets that `load_dataset` knows."""


def load_dataset(
    source: DatasetSource,
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: str | None = None,
    root: str | Path = "data",
    download: bool = False,
    augment: bool | str | None = None,
    progress: bool | Progress = False,
) -> Dataset:
    """Load a data set and check it.

    Labels are integers (n,) or (n, 1), or one-hot (n, k). Without class names, the labels that
    occur are numbered 0, 1, … and their old numbers become the names. Without a test part, a fifth
    of each class is held out, the same images each time.

    The images of a large folder (more than 16 MiB of files, or 64 MiB of pixels) are decoded once,
    to a file in the user's cache: ``$XDG_CACHE_HOME/pymoo-nas``, by default ``~/.cache/pymoo-nas``.
    The images of the data set are that file, mapped into memory, read-only. When the name, size or
    time of an image file changes, the folder is decoded again.

    Args:
        source: one of

            - a name of `DATASET_NAMES`, in upper or lower case; a name goes before a path;
            - a path, as it stands or under `root`: an image folder or an ``.npz`` file, see
              `image_files.read_image_folder` and `image_files.read_npz`;
            - ``(images, labels)``, ``(train_images, train_labels, test_images, test_labels)`` or
              ``(train_images, train_labels, val_images, val_labels, test_images, test_labels)``:
              numpy (n, H, W, C) or (n, H, W), or torch (n, C, H, W) or (n, H, W), with any number
              of channels; not copied where they fit as they are;
            - a `Dataset`, which is returned as it is, unless `image_size` changes it.
        image_size: pixels, one number or (H, W), to which the images are resized; None keeps their
            size (32 for an image folder).
        channels: "first" or "last", the place of the channels in given arrays and ``.npz`` files;
            None takes the usual place (see `source`), and refuses a shape that contradicts it.
        root: folder in which torchvision's data sets are looked for, and kept when downloaded.
        download: whether to download a data set of torchvision that is absent.
        augment: see `Dataset`; None for "none" with digits, mnist and svhn, and "flip" with others.
            Text and signs, which must not be mirrored, need "shift".
        progress: True shows a bar while a folder is decoded; or a function that takes `Report`s.

    Returns:
        The data set.

    Raises:
        DatasetError: the source does not fit; says what was given and expected, and what to do.

    Warns:
        UserWarning: files of an image folder are skipped, folders beside it are not used (see
            `image_folders.read_image_folder`), parts are on different scales, or decoded images
            cannot be kept.
    """
    size = height_and_width(image_size)
    if isinstance(source, Dataset) and size in (None, source.image_size):
        return source if augment is None else replace(source, augment=augmentation_named(augment))
    with told_to(progress):
        name, splits, usual = _find(source, size, Path(root).expanduser(), download)
    usual = usual if augment is None else augment
    dataset = build_dataset(name, splits, augment=usual, image_size=size, channels=channels)
    if splits.kept is not None:
        _put_known(dataset, splits.kept)
    return dataset


def _find(
    source: Any, size: tuple[int, int] | None, root: Path, download: bool
) -> tuple[str, Splits, bool | str]:
    """Find the name, the images and labels, and `Dataset.augment` of a source."""
    if isinstance(source, Dataset):
        splits = Splits(
            source.train_images,
            source.train_labels,
            source.test_images,
            source.test_labels,
            source.class_names,
            source.val_images,
            source.val_labels,
            source.reading._replace(size_by_default=False),
            "last",
        )
        return source.name, splits, source.augment
    if isinstance(source, tuple | list) and len(source) in ARRAYS:
        return "arrays", Splits(**dict(zip(ARRAYS[len(source)], source, strict=True))), True
    if not isinstance(source, str | Path):
        many = f" of {len(source)}" if isinstance(source, tuple | list) else ""
        raise DatasetError(
            f"data set: got a {type(source).__name__}{many}; expected a name, a path, a "
            "Dataset, or " + " or ".join(f"({', '.join(order)})" for order in ARRAYS.values())
        )
    name = source.lower() if isinstance(source, str) else ""
    if name in DATASET_NAMES and image_folders.holds_classes(source):
        warnings.warn(
            f"{source}: the data set of this name is taken, not the folder of images here; give "
            f"./{source} for the folder",
            stacklevel=3,
        )
    if name == "digits":
        from sklearn.datasets import load_digits  # noqa: PLC0415 - takes a second

        digits = load_digits()
        return name, Splits((digits.images / 16).astype(np.float32), digits.target), False
    if name in TORCHVISION:
        return name, image_files.read_torchvision(name, root, download), TORCHVISION[name].augment
    path = existing_path(source, root)
    if path.is_dir():
        splits = image_folders.read_image_folder(path, size or FOLDER_IMAGE_SIZE)
        reading = splits.reading._replace(size_by_default=size is None)
        return path.resolve().name, splits._replace(reading=reading), True
    if path.suffix.lower() != ".npz":
        raise DatasetError(f"data set {path}: expected an image folder or an .npz file")
    return path.stem, image_files.read_npz(path), True


def _put_known(dataset: Dataset, kept: KeptPixels) -> None:
    """Put in place what takes a pass over all pixels to find; the first time, find and keep it."""
    known = kept.known()
    if known is None:
        tell(Report("measuring images", 0))
        known = {
            "mean": dataset.mean.tolist(),
            "std": dataset.std.tolist(),
            "fingerprint": dataset.fingerprint,
            "val_fingerprint": dataset.val_fingerprint,
        }
        kept.remember(known)
        tell(Report("measuring images", 1, 1))
    moments = {name: np.array(known[name], dtype=np.float64) for name in ("mean", "std")}
    # Where cached properties look for their values.
    vars(dataset).update({**known, **moments})


def build_dataset(
    name: str,
    splits: Splits,
    *,
    augment: bool | str = True,
    image_size: tuple[int, int] | None = None,
    channels: str | None = None,
) -> Dataset:
    """Check images and labels and bring them into the form that `Dataset` describes.

    Every source becomes a `Dataset` in this way. The arguments are those of `load_dataset`.

    Raises:
        DatasetError: images and labels do not fit the form or each other.
    """
    if channels is not None and splits.channels is not None:
        raise DatasetError(
            f"data set {name!r}: channels={channels!r} tells of arrays and .npz files; leave it out"
        )
    order = channels or splits.channels
    images: dict[str, NDArray[Any]] = {}
    labels: dict[str, NDArray[np.int64]] = {}
    for part in ("train", "test", "val"):
        given = [getattr(splits, f"{part}_{kind}") for kind in ("images", "labels")]
        if part != "train" and all(array is None for array in given):
            continue
        where = f"data set {name!r}, {part}"
        images[part] = image_arrays.channels_last(given[0], f"{where} images", channels=order)
        labels[part] = image_arrays.integer_labels(given[1], len(images[part]), f"{where} labels")
    images = image_arrays.same_type(images, name)
    image_arrays.warn_of_scales(images, name, splits.brightest)
    reading = splits.reading
    if image_size is not None:
        reading = reading._replace(sizes=reading.sizes or _sizes(images))
        images = {part: image_arrays.resize(array, image_size) for part, array in images.items()}
    for part, array in images.items():
        if array.shape[1:] != images["train"].shape[1:]:
            raise DatasetError(
                f"data set {name!r}: training images are (H, W, C) = {images['train'].shape[1:]}, "
                f"{part} images {array.shape[1:]}; expected the same; give image_size, or convert "
                "the channels"
            )
    names, labels = name_classes(labels, splits.class_names, name)
    if "test" not in images:
        train, test = hold_out_test(labels["train"], names)
        for arrays in (images, labels):
            arrays["test"] = arrays["train"][test]
            arrays["train"] = arrays["train"][train]
        reading = reading._replace(test=HELD_OUT)
    return Dataset(
        name,
        images["train"],
        labels["train"],
        images["test"],
        labels["test"],
        names,
        augmentation_named(augment),
        images.get("val"),
        labels.get("val"),
        reading,
    )


def _sizes(images: Mapping[str, NDArray[Any]]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Find the smallest and the largest (H, W) of several parts."""
    sizes = sorted((array.shape[1:3] for array in images.values()), key=lambda s: (s[0] * s[1], s))
    return sizes[0], sizes[-1]


def height_and_width(image_size: Any) -> tuple[int, int] | None:
    """Return (H, W) for one number of pixels, or for two; None for None.

    Raises:
        DatasetError: the size is something else.
    """
    if image_size is None:
        return None
    pair = image_size if isinstance(image_size, tuple | list) else (image_size, image_size)
    whole = all(isinstance(side, int | np.integer) and side is not True for side in pair)
    if len(pair) != 2 or not whole or not 1 <= min(pair) <= max(pair) <= MAX_IMAGE_SIZE:
        raise DatasetError(
            f"image size: got {image_size!r}; expected a whole number of pixels from 1 to "
            f"{MAX_IMAGE_SIZE}, or two as (height, width)"
        )
    return int(pair[0]), int(pair[1])


def existing_path(source: str | Path, root: Path) -> Path:
    """The folder or file that a data set is read from: a path, or one below `root`.

    Raises:
        DatasetError: there is neither.
    """
    path = Path(source).expanduser()
    for candidate in (path, root / path):
        # For os.path, a name that is too long does not exist; pathlib raises.
        if str(source) and os.path.exists(candidate):
            return candidate
    close = difflib.get_close_matches(str(source).lower(), DATASET_NAMES)
    raise DatasetError(
        f"data set {str(source)!r}: there is no such path, here or in {root.resolve()}, and the "
        f"known names are {', '.join(DATASET_NAMES)}"
        + ("; a name is a text, not a Path" if close and isinstance(source, Path) else "")
        + (f"; did you mean {' or '.join(close)}?" if close else "")
    )
