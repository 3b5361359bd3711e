"""The published accuracies of NAS-Bench-201, and the halves in which studies use them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pymoo_nas.errors import DatasetError

TABLE_COLUMNS = ("arch", "cifar10_test", "params_m", "flops_m")
"""The columns of `load_table`."""

UNCONNECTED = 10.0
"""Accuracy in % of the architectures whose output sees no image."""

HALVES = ("tune", "report")

SPLIT_SEED = 2026
"""Of `half_of`: what is tuned on one half is reported on the other, in every study."""


def load_table(path: str | Path) -> pd.DataFrame:
    """Read the trained accuracies: columns `TABLE_COLUMNS`, one row per cell.

    ``arch`` is the text of a genotype, ``cifar10_test`` the accuracy in %, ``params_m`` and
    ``flops_m`` millions of parameters and of multiply-accumulates.

    Raises:
        DatasetError: no readable CSV file there, a column missing, or a number that is none.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"table {path}: {error}; expected a CSV file with {', '.join(TABLE_COLUMNS)}"
        ) from error
    missing = [column for column in TABLE_COLUMNS if column not in table.columns]
    if missing:
        raise DatasetError(
            f"table {path}: no column {', '.join(missing)}; it has "
            f"{', '.join(map(str, table.columns))}; expected {', '.join(TABLE_COLUMNS)}"
        )
    table = table[list(TABLE_COLUMNS)]
    for column in TABLE_COLUMNS[1:]:
        if not pd.api.types.is_numeric_dtype(table[column]) or table[column].isna().any():
            raise DatasetError(f"table {path}: column {column} holds something that is no number")
    return table


def half_of(table: pd.DataFrame, half: str) -> pd.DataFrame:
    """One of two random halves of a table, the same ones each time, in random order.

    Args:
        table: see `load_table`.
        half: "tune", or "report", on which nothing may be chosen.

    Raises:
        DatasetError: another name.
    """
    if half not in HALVES:
        raise DatasetError(f"half {half!r}; expected tune or report")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(table))
    middle = len(order) // 2
    chosen = order[:middle] if half == "tune" else order[middle:]
    return table.iloc[chosen].reset_index(drop=True)
