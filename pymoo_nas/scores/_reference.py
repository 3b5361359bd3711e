"""A reference for latencies: a convolution that is timed beside every network.

The speed of a core changes from second to second, where a host is shared or a clock is throttled. A
network and the reference slow down alike. On a busy machine, two measurements of a network differed
by 11.6 % in the median by the wall clock, and by 6.7 % beside the reference; on a machine without
other work by 10.8 and by 2.7 % (studies/bookkeeping.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from pymoo_nas._machine import processor, read_object, write_json
from pymoo_nas.errors import RunError

SECONDS = 0.1
"""Least time over which a network and the reference run in turn."""

ROUNDS = 5
"""Least number of these turns."""

CALIBRATION_SECONDS = 0.5
"""Time over which the reference runs alone, once on a machine."""


def seconds_beside_reference(run: Callable[[], Any], kept: Path) -> float:
    """The time of a run on one thread of the CPU, at the speed at which the reference was timed.

    It is the median of the ratios to the reference, in turn, times the time of the reference. That
    is measured once for each processor and version of torch, and kept in a file.

    Args:
        run: what is timed; it has been warmed up.
        kept: the file; where it is damaged, or cannot be read, the reference is timed again.
    """
    with _one_thread():
        reference = _Reference()
        seconds = _calibrated(reference, kept)
        ratios: list[float] = []
        end = time.perf_counter() + SECONDS
        while len(ratios) < ROUNDS or time.perf_counter() < end:
            ratios.append(_thread_seconds(run) / _thread_seconds(reference))
    return float(np.median(ratios)) * seconds


class _Reference:
    """A convolution of the size that is usual in the networks of this package."""

    def __init__(self) -> None:
        # No random weights: the user's generator stays as it is.
        self._maps, self._weight = (
            torch.full((1, 32, 32, 32), 0.5),
            torch.full((32, 32, 3, 3), 0.01),
        )
        for _ in range(3):
            self()

    def __call__(self) -> None:
        F.conv2d(self._maps, self._weight, padding=1)


def _calibrated(reference: _Reference, kept: Path) -> float:
    """Seconds of the reference when it was first timed here: those of its fastest tenth."""
    key = f"{processor(torch.device('cpu'))}, torch {torch.__version__}"
    known: dict[str, Any] = {}
    if kept.is_file():
        try:
            known = read_object(kept, "", "")
        except RunError:
            known = {}  # it is written anew below
    seconds = known.get(key)
    if not isinstance(seconds, float) or not 0 < seconds < 1:
        found: list[float] = []
        end = time.perf_counter() + CALIBRATION_SECONDS
        while not found or time.perf_counter() < end:
            found.append(_thread_seconds(reference))
        seconds = float(np.quantile(found, 0.1))
        write_json(kept, {**known, key: seconds})
    return seconds


def _thread_seconds(run: Callable[[], Any]) -> float:
    """CPU time of this thread: it stands still while other processes have the core."""
    before = time.thread_time_ns()
    run()
    # A clock may be too coarse for one run.
    return max(1, time.thread_time_ns() - before) / 1e9


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
