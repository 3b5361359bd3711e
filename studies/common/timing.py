"""Times that are compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def medians(
    functions: Mapping[str, Callable[[], Any]],
    repeats: int,
    wait: Callable[[], Any] = lambda: None,
) -> dict[str, float]:
    """Median seconds of each function, called in turn after a first round that does not count.

    Args:
        functions: name → what is timed.
        repeats: rounds that count.
        wait: called after each function, within its time: waits for a card to end its work.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            wait()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}
