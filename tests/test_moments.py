"""Mean and standard deviation of pixels, against sums over float64 copies of all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_images import random_images
from numpy.typing import NDArray

from pymoo_nas import load_dataset


def mean_power(images: NDArray[Any], power: int, origin: Any, step: int) -> Any:
    """Average (x - origin)^power of each channel, over copies of `step` images at a time."""
    total = np.zeros(images.shape[3])
    for start in range(0, len(images), step):
        pixels = images[start : start + step].reshape(-1, images.shape[3]).astype(np.float64)
        total += ((pixels - 255 * origin) ** power).sum(axis=0)
    return total / 255.0**power * images.shape[3] / images.size


@pytest.mark.parametrize("shape", [(40, 7, 5, 1), (9, 3, 4, 2), (60, 32, 33, 3), (20, 9, 8, 4)])
def test_moments_to_the_bit(shape: tuple[int, int, int, int]) -> None:
    """Looking up the powers of bytes changes no bit of the moments."""
    images = random_images(*shape)
    dataset = load_dataset((images, np.arange(len(images)) % 2, images[:2], np.arange(2)))
    mean = mean_power(images, 1, np.zeros(shape[3]), len(images))
    assert dataset.mean.tolist() == mean.tolist()
    assert dataset.std.tolist() == np.sqrt(mean_power(images, 2, mean, len(images))).tolist()


def test_moments_of_several_pieces() -> None:
    """Images of which only a few are summed at a time have the sums of these pieces added up."""
    images = random_images(30, 512, 512, 3)
    dataset = load_dataset((images, np.arange(30) % 2, images[:2], np.arange(2)))
    step = 2**22 // images[0].size
    mean = mean_power(images, 1, np.zeros(3), step)
    assert dataset.mean.tolist() == mean.tolist()
    assert dataset.std.tolist() == np.sqrt(mean_power(images, 2, mean, step)).tolist()
