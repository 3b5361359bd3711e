"""Memory: how much is free, giving freed memory back to the system, and whether it ran out."""

from __future__ import annotations

import ctypes
import math
import re
import sys
from pathlib import Path

import torch


def free_memory() -> float:
    """Bytes of memory that processes can still take; infinity where the system does not tell."""
    table = Path("/proc/meminfo")
    if not table.is_file():
        return math.inf
    found = re.search(r"^MemAvailable:\s*(\d+) kB$", table.read_text("utf-8"), re.MULTILINE)
    return 1024.0 * int(found[1]) if found else math.inf


def release_freed_memory() -> None:
    """Hand back to the system what Python and torch have freed and the C library keeps.

    glibc keeps the pages of freed tensors for later; after a generation of candidates of all sizes
    that is half a gigabyte of holes. Elsewhere than on glibc nothing happens.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; on the CPU torch has no type of its own for it."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in text or "allocate memory" in text or "ALLOC_FAILED" in text)
    )
