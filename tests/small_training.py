"""A data set and a network that train in a moment."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pymoo_nas._machine import seeded
from pymoo_nas.datasets import Dataset


def small_dataset(
    n_train: int = 24,
    *,
    n_test: int = 6,
    size: tuple[int, int] = (8, 8),
    channels: int = 1,
    n_classes: int = 3,
    dtype: Any = np.uint8,
    augment: bool = False,
) -> Dataset:
    """Noise whose brightness tells the class."""
    rng = np.random.default_rng(0)

    def part(n: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(n, dtype=np.int64) % n_classes
        noise = rng.integers(0, 60, (n, *size, channels))
        return (noise + 60 * labels[:, None, None, None]).astype(dtype), labels

    names = tuple("abcdefgh"[:n_classes])
    return Dataset("noise", *part(n_train), *part(n_test), names, augment)


def small_network(
    channels: int = 1, n_classes: int = 3, width: int = 8, dropout: float = 0.0
) -> nn.Sequential:
    """Two convolutions with batch norm, the same weights each time."""
    with seeded(torch.device("cpu"), 0):
        return nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1, stride=2),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(8 * width, n_classes),
        )


def same_state(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
