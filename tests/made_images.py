"""Images and labels to test with."""

from __future__ import annotations

from typing import Any

import numpy as np


def random_images(n: int = 20, h: int = 6, w: int = 5, c: int = 3, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (n, h, w, c), dtype=np.uint8)


def alternating(n: int = 20, n_classes: int = 2) -> Any:
    return np.arange(n) % n_classes
