"""Bring arrays of many forms into one form: images (n, H, W, C) and labels (n,)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pymoo_nas.datasets._image_reading import UNREADABLE
from pymoo_nas.errors import DatasetError

SMALL = 4
"""Largest number of channels that images usually have: RGB, and one more."""

SCALES_APART = 50
"""Largest ratio of two parts' highest values on one scale; 255 to 1 means two scales."""


PIXEL_FILE = ".npy"
"""Ending of the files that `read_pixels` reads."""


def read_pixels(path: Path, n_channels: int) -> NDArray[Any]:
    """Read raw pixels (N, H, W, C), or grey ones (N, H, W), that ``numpy.save`` has written.

    Args:
        path: the file.
        n_channels: number of channels that is expected.

    Returns:
        (N, H, W, C)

    Raises:
        DatasetError: no such file, another content, or objects in place of numbers.
    """
    try:
        with path.open("rb") as opened:  # which numpy leaves open where it finds something else
            pixels = np.load(opened, allow_pickle=False)
    except UNREADABLE as error:
        raise DatasetError(
            f"{path}: cannot be read ({error}); expected pixels that numpy.save has written"
        ) from error
    if isinstance(pixels, np.ndarray):
        if n_channels == 1 and pixels.ndim == 3:
            return np.asarray(pixels[..., None])
        if pixels.ndim == 4 and pixels.shape[-1] == n_channels:
            return pixels
    raise DatasetError(
        f"{path}: got {getattr(pixels, 'shape', 'several arrays')}; expected pixels (N, height, "
        f"width, {n_channels})" + (" or (N, height, width)" if n_channels == 1 else "")
    )


def channels_last(
    images: Any, where: str, *, channels: str | None = None, n_channels: int | None = None
) -> NDArray[Any]:
    """Bring images into the order (n, H, W, C), from numpy's or torch's usual order.

    Args:
        images: (n, H, W), or with channels: last in numpy arrays and lists, first in torch tensors.
        where: name of the images, for messages.
        channels: "first" or "last", the place of the channels whatever the array is; or None.
        n_channels: number of channels that is expected; an axis of this length in the usual place
            is believed.

    Raises:
        DatasetError: the shape is another, or contradicts the usual order.
    """
    array = as_numbers(images, where)
    if channels not in (None, *ORDERS):
        raise DatasetError(f"channels={channels!r}; expected 'first' or 'last', or None")
    if array.ndim not in (3, 4) or array.size == 0:
        raise DatasetError(
            f"{where}: got shape {np.shape(images)}; expected at least one image, as (n, H, W) or "
            "(n, H, W, C), a torch tensor as (n, C, H, W)"
        )
    if array.ndim == 3:
        return array[..., None]
    usual = "first" if isinstance(images, Tensor) else "last"
    believed = n_channels is not None and array.shape[ORDERS[usual]] == n_channels
    if channels is None and not believed and _is_doubtful(array.shape[1:], usual):
        first, last = array.shape[1], array.shape[3]
        raise DatasetError(
            f"{where}: got shape {array.shape}, which may be {array.shape[2]}×{last} pixels of "
            f"{first} channels or {first}×{array.shape[2]} pixels of {last}; say which: "
            "load_dataset(..., channels='first') or 'last', or move the axis with numpy.moveaxis "
            "or torch.movedim (last is usual in numpy and .npz files, first in torch)"
        )
    return np.moveaxis(array, 1, 3) if (channels or usual) == "first" else array


ORDERS = {"first": 1, "last": 3}
"""Place of the channels → their axis."""


def _is_doubtful(shape: tuple[int, ...], usual: str) -> bool:
    """Tell whether three axes contradict the usual place of the channels.

    Two equal axes beside a different one are the height and the width of square images. Otherwise
    the channels are the shorter axis. Torch's order is so common that only a clear case counts
    against it.
    """
    first, middle, last = shape
    if usual == "last":
        square, inverse = first == middle, middle == last
        return last > 1 and (inverse or (not square and last >= first))
    square, inverse = middle == last, first == middle
    few = last <= SMALL < min(first, middle)
    return first > 1 and not square and ((inverse and last < first) or few)


def as_numbers(values: Any, where: str) -> NDArray[Any]:
    """Turn a numpy or torch array, or lists, into an array of numbers; or raise DatasetError."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        # numpy has no bfloat16.
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DatasetError(f"{where}: {error}; expected an array") from error
    if array.dtype.kind not in "buif":
        raise DatasetError(
            f"{where}: got {type(values).__name__} of {array.dtype}; expected an array of numbers"
        )
    return array


def same_type(images: dict[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    """Convert integers to uint8 if all lie in 0..255, else to float32; and floats to float32."""
    integer = {part: array.dtype.kind in "ui" for part, array in images.items()}
    if len(set(integer.values())) > 1:
        other = next(part for part in images if integer[part] != integer["train"])
        raise DatasetError(
            f"data set {name!r}: training images are {images['train'].dtype} but {other} images "
            f"{images[other].dtype}; expected both on the same scale, in the same type"
        )
    if all(a.dtype == np.uint8 for a in images.values()):
        return images
    if all(integer.values()) and all(a.min() >= 0 and a.max() <= 255 for a in images.values()):
        return {part: array.astype(np.uint8, copy=False) for part, array in images.items()}
    with np.errstate(over="ignore"):
        images = {part: array.astype(np.float32, copy=False) for part, array in images.items()}
    for part, array in images.items():
        bad = np.flatnonzero(~np.isfinite(array).all(axis=(1, 2, 3)))
        if len(bad):
            raise DatasetError(
                f"data set {name!r}: {len(bad)} of {len(array)} {part} images hold NaN, infinity "
                f"or more than float32 can, the first at index {bad[0]}; mend or remove them"
            )
    return images


def warn_of_scales(
    images: dict[str, NDArray[Any]], name: str, highest: Mapping[str, float] | None = None
) -> None:
    """Warn of parts on another scale than the training images, for example 0..1 and 0..255.

    Args:
        images: part → images.
        name: name of the data set.
        highest: part → highest absolute value, where it is known.
    """
    highest = highest or {
        part: max(abs(float(array.max())), abs(float(array.min())))
        for part, array in images.items()
    }
    for part, value in highest.items():
        low, high = sorted((value, highest["train"]))
        if high > SCALES_APART * low:
            warnings.warn(
                f"data set {name!r}: training images reach {highest['train']:g}, {part} images "
                f"{value:g}; expected both on the same scale, such as 0 to 1; scale one of them",
                stacklevel=4,
            )


def integer_labels(labels: Any, n_images: int, where: str) -> NDArray[np.int64]:
    """Bring labels into the form (n,), from integers (n,) or (n, 1), or one-hot (n, k)."""
    array = as_numbers(labels, where)
    problem = ""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == 2 and np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all():
        array = array.argmax(axis=1)
    if array.ndim != 1:
        problem = f"shape {array.shape}, not one-hot (no image may have two labels, or none)"
    elif len(array) != n_images:
        problem = f"{len(array)} labels for {n_images} images"
    elif (array != np.floor(array)).any():
        problem = "fractions or NaN"
    elif array.min() < 0 or array.max() >= 2**53:
        problem = f"labels from {array.min()} to {array.max()}"
    if problem:
        raise DatasetError(
            f"{where}: got {problem}; expected one class per image: integers from 0 of shape "
            "(n,) or (n, 1), or one-hot rows (n, n_classes)"
        )
    return array.astype(np.int64, copy=False)


def normalize(images: NDArray[Any], mean: NDArray[Any], std: NDArray[Any]) -> Tensor:
    """Map (n, H, W, C) → float32 (n, C, H, W): (x - mean) / std for each channel.

    Args:
        images: uint8, where 0..255 counts as 0..1, or float32, which counts as it is.
        mean: (C,).
        std: (C,), not zero.
    """
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    n, height, width, channels = images.shape
    normalized = np.empty((n, channels, height, width), dtype=np.float32)
    for channel in range(channels):
        plane = normalized[:, channel]
        shift = np.float32(scale * mean[channel])
        np.subtract(images[..., channel], shift, out=plane, dtype=np.float32)
        plane /= np.float32(scale * std[channel])
    return torch.from_numpy(normalized)


def resize(images: NDArray[Any], size: tuple[int, int], chunk: int = 1024) -> NDArray[Any]:
    """Resize uint8 or float32 (n, H, W, C) → (n, *size, C), bilinear with antialiasing.

    The type stays the same. `chunk` images are resized at a time, which bounds the memory.
    """
    if images.shape[1:3] == size:
        return images
    resized = np.empty((len(images), *size, images.shape[3]), dtype=images.dtype)
    for start in range(0, len(images), chunk):
        part = np.moveaxis(images[start : start + chunk], 3, 1).astype(np.float32, order="C")
        scaled = F.interpolate(torch.from_numpy(part), size, mode="bilinear", antialias=True)
        if images.dtype == np.uint8:
            scaled = scaled.round_().clamp_(0, 255)
        resized[start : start + chunk] = np.moveaxis(scaled.numpy(), 1, 3)
    return resized
