"""Mean, standard deviation and checksum of all images, piece by piece, in little memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

IN_CACHE = 2**13
"""Number of pixels whose float64 copies fit into a processor's cache."""

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
    total = np.zeros(images.shape[3])
    for pixels in _pieces(images):
        if images.dtype == np.uint8:
            total += _sum_of_bytes(pixels)
        else:
            total += pixels.astype(np.float64).sum(axis=0)
    return np.asarray(total / _scale(images) * images.shape[3] / images.size)


def std_of(images: NDArray[Any], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of each channel, on the scale of `mean_of`; 1 for a constant channel."""
    scale = _scale(images)
    total = np.zeros(images.shape[3])
    # Two passes: the mean square minus the squared mean would lose digits on narrow ranges.
    for pixels in _pieces(images):
        if images.dtype == np.uint8 and len(total) > 1:
            total += _squares_of_bytes(pixels, scale * mean)
        else:
            total += ((pixels.astype(np.float64) - scale * mean) ** 2).sum(axis=0)
    std = np.sqrt(total / scale**2 * images.shape[3] / images.size)
    # A spread below float32's resolution is rounding, which division would blow up.
    return np.where(std <= np.finfo(np.float32).eps * np.abs(mean), 1.0, std)


def _scale(images: NDArray[Any]) -> float:
    return 255.0 if images.dtype == np.uint8 else 1.0


def _pieces(images: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the pixels (m, C) of a few images at a time."""
    step = max(1, AT_ONCE // images[0].size)
    for start in range(0, len(images), step):
        yield images[start : start + step].reshape(-1, images.shape[3])


def _sum_of_bytes(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Add the rows of pixels (m, C): (C,); integers are exact in any order, and many at a time."""
    m, n_channels = pixels.shape
    whole = m - m % IN_CACHE
    wide = pixels[:whole].reshape(-1, IN_CACHE * n_channels).sum(axis=0, dtype=np.uint64)
    rest = pixels[whole:].sum(axis=0, dtype=np.uint64)
    return np.asarray(wide.reshape(IN_CACHE, n_channels).sum(axis=0) + rest)


def _squares_of_bytes(
    pixels: NDArray[np.uint8], origin: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Add (x - origin)² over the rows of pixels (m, C): (C,), the same bits as by numpy's sum.

    Numpy adds the rows of several columns one after the other. Cumulative sums of columns that are
    rows in memory do the same in a fraction of the time.
    """
    total = np.zeros(len(origin))
    for start in range(0, len(pixels), IN_CACHE):
        columns = pixels[start : start + IN_CACHE].T.astype(np.float64, order="C")
        columns -= origin[:, None]
        columns *= columns
        columns[:, 0] += total
        total = np.cumsum(columns, axis=1, out=columns)[:, -1].copy()
    return total
