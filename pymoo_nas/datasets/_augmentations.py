"""Names of the augmentations that a data set may ask for."""

from __future__ import annotations

from typing import Any

import numpy as np

AUGMENTATIONS = ("none", "shift", "flip")
"""Unchanged images; randomly shifted crops; or randomly shifted crops, half of them mirrored."""


def augmentation_named(given: Any) -> Any:
    """Turn True into "flip" and False into "none"; return any other value as it is.

    >>> augmentation_named(True), augmentation_named(False), augmentation_named("shift")
    ('flip', 'none', 'shift')
    """
    if isinstance(given, bool | np.bool_):
        return "flip" if given else "none"
    return given
