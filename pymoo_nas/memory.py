"""Giving freed memory back to the system."""

from __future__ import annotations

import ctypes
import sys


def release_freed_memory() -> None:
    """Hand back to the system what Python and torch have freed and the C library keeps.

    glibc keeps the pages of freed tensors for later; after a generation of candidates of all sizes
    that is half a gigabyte of holes. Elsewhere than on glibc nothing happens.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
