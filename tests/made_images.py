"""Images and labels to test with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pymoo_nas.datasets import FULL_RANGE, read_images


def random_images(n: int = 20, h: int = 6, w: int = 5, c: int = 3, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (n, h, w, c), dtype=np.uint8)


def alternating(n: int = 20, n_classes: int = 2) -> Any:
    return np.arange(n) % n_classes


def write(path: Path, pixels: Any, mode: str | None = None, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    image.convert(mode or image.mode).save(path, **options)


def read_one(path: Path, size: tuple[int, int]) -> Any:
    """The pixels of a file that can be read."""
    read = read_images([path], size, grey_range=FULL_RANGE)
    assert not read.skipped
    return read.images[path]


def make_folder(root: Path, n: int = 5, classes: str = "ab", c: int = 1) -> Path:
    for label, name in enumerate(classes):
        for i, pixels in enumerate(random_images(n, 9, 11, c, seed=label)):
            write(root / name / f"{i}.png", pixels.squeeze())
    return root
