"""Mean, standard deviation and checksum of all images, piece by piece, in little memory."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 2**22
"""Number of values of which float64 copies are made at one time."""


def checksum(*arrays: NDArray[Any]) -> str:
    """SHA-256 of the types, shapes and bytes of arrays, in hexadecimal digits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def mean_of(images: NDArray[Any]) -> NDArray[np.float64]:
    """Mean of each channel of images (n, H, W, C): (C,); uint8 0..255 counts as 0..1."""
    return _mean_power(images, 1, np.zeros(images.shape[3]))


def std_of(images: NDArray[Any], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of each channel, on the scale of `mean_of`; 1 for a constant channel."""
    # Two passes: the mean square minus the squared mean would lose digits on narrow ranges.
    std = np.sqrt(_mean_power(images, 2, mean))
    # A spread below float32's resolution is rounding, which division would blow up.
    return np.where(std <= np.finfo(np.float32).eps * np.abs(mean), 1.0, std)


def _mean_power(
    images: NDArray[Any], power: int, origin: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average (x - origin)^power of each channel: (C,)."""
    n_channels = images.shape[3]
    is_uint8 = images.dtype == np.uint8
    scale = 255.0 if is_uint8 else 1.0
    step = max(1, AT_ONCE // images[0].size)
    total = np.zeros(n_channels)
    for start in range(0, len(images), step):
        pixels = images[start : start + step].reshape(-1, n_channels)
        if is_uint8 and n_channels > 1:
            total += _sums_of_bytes(pixels, power, scale * origin)
        else:
            total += ((pixels.astype(np.float64) - scale * origin) ** power).sum(axis=0)
    return np.asarray(total / scale**power * n_channels / images.size)


def _sums_of_bytes(
    pixels: NDArray[np.uint8], power: int, origin: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Add (x - origin)^power over the rows of pixels (m, C): (C,), the same bits as by numpy's sum.

    A byte has 256 values, so that the powers are looked up. Numpy adds the rows of several columns
    one after the other, as the cumulative sum does for each column in a fraction of the time.
    """
    levels = np.arange(256, dtype=np.float64)[:, None]
    powers = (levels - origin) ** power
    sums = [np.cumsum(powers[:, c].take(pixels[:, c]))[-1] for c in range(pixels.shape[1])]
    return np.array(sums)
