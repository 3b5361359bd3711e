"""Measure free memory, give freed memory back to the system, and tell whether it ran out."""

from __future__ import annotations

import ctypes
import math
import re
import sys
from pathlib import Path

import torch


def free_memory() -> float:
    """Count the bytes that processes can still take; infinity where the system does not tell."""
    table = Path("/proc/meminfo")
    if not table.is_file():
        return math.inf
    found = re.search(r"^MemAvailable:\s*(\d+) kB$", table.read_text("utf-8"), re.MULTILINE)
    return 1024.0 * int(found[1]) if found else math.inf


def release_freed_memory() -> None:
    """Give the system back the memory that Python and torch have freed but the C library keeps.

    glibc keeps the pages of freed tensors for later. After a generation of candidates of all sizes
    they are half a gigabyte of holes. Without glibc nothing happens.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out; torch has no type for this on the CPU."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in text or "allocate memory" in text or "ALLOC_FAILED" in text)
    )
