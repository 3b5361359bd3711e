"""How much memory is free, and giving freed memory back to the system."""

from __future__ import annotations

import ctypes
import math
import os
import sys


def free_memory() -> float:
    """Bytes of memory that no process uses; infinity where the system does not tell."""
    if "SC_AVPHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return math.inf
    return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def release_freed_memory() -> None:
    """Hand back to the system what Python and torch have freed and the C library keeps.

    glibc keeps the pages of freed tensors for later; after a generation of candidates of all sizes
    that is half a gigabyte of holes. Elsewhere than on glibc nothing happens.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
