"""Image folders that are large enough for their pixels to be kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pymoo_nas import Dataset
from pymoo_nas._machine import Report

LARGE = 17 * 2**20
"""Bytes of files that are more than a folder may have whose pixels stay in memory."""

EXACT = ("train_images", "train_labels", "test_images", "test_labels", "mean", "std")


def made_large(folder: Path) -> Path:
    """Let an image file have bytes behind its end, which take no place on the disk."""
    path = folder / "a" / "0.png"
    os.truncate(path, LARGE)
    return folder


class Told(list[Report]):
    """Takes reports; `decoded` tells whether a folder was decoded."""

    def __call__(self, report: Report) -> None:
        self.append(report)

    @property
    def decoded(self) -> bool:
        return any(report.work == "decoding images" for report in self)


def assert_equal(one: Dataset, other: Dataset) -> None:
    for name in EXACT:
        assert getattr(one, name).dtype == getattr(other, name).dtype
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    for name in ("val_images", "val_labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    for name in ("fingerprint", "val_fingerprint", "reading", "class_names", "name", "augment"):
        assert getattr(one, name) == getattr(other, name)


def is_mapped(array: NDArray[Any]) -> bool:
    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    return base is not None
