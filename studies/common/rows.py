"""Rows of a study that are kept in a CSV file one by one, so that it continues where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

T = TypeVar("T")


def kept_rows(
    path: Path, tasks: Iterable[T], measure: Callable[[T], dict[str, Any]]
) -> pd.DataFrame:
    """One row per task, in their order; those that the file holds already are not measured again.

    Args:
        path: the CSV file, written after each row.
        tasks: always the same ones in the same order.
        measure: the columns of a task's row.
    """
    rows = pd.read_csv(path) if path.exists() else pd.DataFrame()
    for index, task in enumerate(tasks):
        if index < len(rows):
            continue
        rows = pd.concat([rows, pd.DataFrame([measure(task)])], ignore_index=True)
        rows.to_csv(path, index=False)
    return rows
