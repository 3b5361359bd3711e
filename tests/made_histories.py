"""Histories of searches that were never run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def history(points: Any, **columns: Any) -> pd.DataFrame:
    """A history of two objectives."""
    values = np.array(points, dtype=float)
    table = pd.DataFrame(
        {
            "generation": 1,
            "genotype": [f"{place + 1}" for place in range(len(values))],
            "ntk": values[:, 0],
            "activation": values[:, 1],
            "params": 100,
            "flops": 1000,
            "acts": 10,
            "seconds": 0.1,
            "degenerate": "",
            "feasible": True,
        }
    )
    return table.assign(**columns)
