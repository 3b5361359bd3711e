"""Draw images so that the classes are as equal in number as possible."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pymoo_nas.errors import DatasetError


def balanced_indices(
    images: NDArray[Any], labels: NDArray[np.int64], n: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw indices of distinct images, the same number from each class, in random order.

    Each of k classes gives n // k images. Some classes, drawn at random, give one more. A class
    with fewer images gives all it has, and the other classes give more in turn. Images that are
    equal byte for byte count as one, whatever their labels; only images that come up are compared.

    Args:
        images: (m, H, W, C).
        labels: (m,), with k different labels.
        n: number of images to draw; where there are fewer distinct images, all are drawn.
        rng: the only source of randomness.

    Returns:
        (n,), or fewer.

    Raises:
        DatasetError: n is below 1, or there are no images.
    """
    if n < 1 or len(labels) == 0:
        raise DatasetError(
            f"draw of {n} from {len(labels)} images; expected at least 1 of each (--images, "
            "n_images)"
        )
    found, counts = np.unique(labels, return_counts=True)
    classes = found.tolist()
    n = min(n, len(classes) * int(counts.max()))  # more would take all images, too
    waiting = {c: iter(rng.permutation(np.flatnonzero(labels == c)).tolist()) for c in classes}
    drawn: dict[bytes, int] = {}

    def draw(label: int) -> None:
        for index in waiting[label]:
            content = images[index].tobytes()
            if content not in drawn:
                drawn[content] = index
                return

    for label in classes * (n // len(classes)):
        draw(label)
    more = True
    while more:  # at least one round, which gives the remainder
        before = len(drawn)
        for label in rng.permutation(classes).tolist():
            if len(drawn) < n:
                draw(label)
        more = before < len(drawn) < n
    return rng.permutation(np.array(list(drawn.values()), dtype=np.int64))
