"""The names of the augmentations that a data set may ask for."""

from __future__ import annotations

from typing import Any

import numpy as np

AUGMENTATIONS = ("none", "shift", "flip")
"""Images as they are; crops shifted at random; or such crops, half of them mirrored as well."""


def augmentation_named(given: Any) -> Any:
    """The word of `AUGMENTATIONS` for a truth value: "flip" or "none"; all else as it is.

    >>> augmentation_named(True), augmentation_named(False), augmentation_named("shift")
    ('flip', 'none', 'shift')
    """
    if isinstance(given, bool | np.bool_):
        return "flip" if given else "none"
    return given
