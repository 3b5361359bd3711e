"""Rows of a study that are kept in a CSV file one by one, so that it continues where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from filelock import FileLock

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
    rows = read_rows(path) if path.exists() else pd.DataFrame()
    for index, task in enumerate(tasks):
        if index < len(rows):
            continue
        rows = pd.concat([rows, pd.DataFrame([measure(task)])], ignore_index=True)
        rows.to_csv(path, index=False)
    return rows


def rows_by(
    path: Path,
    column: str,
    values: Iterable[str],
    measure: Callable[[str], dict[str, Any]],
    texts: Iterable[str] = (),
) -> pd.DataFrame:
    """All rows of the file, after those of the values that it lacks are measured.

    Processes may share the file: it is looked at before each measurement, and after it. Of two that
    measure one value at the same time, the first one's row is kept.

    Args:
        path: the CSV file, to which each row is appended.
        column: of the values; any file with this column continues, whatever the order.
        values: one row each.
        measure: the other columns of a value's row.
        texts: further columns that are read as texts.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    for value in values:
        with lock:
            known = _values(path, column)
        if value in known:
            continue
        row = {column: value, **measure(value)}
        with lock:
            if value not in _values(path, column):
                append(path, pd.DataFrame([row]))
    if not path.exists():
        return pd.DataFrame(columns=[column, *texts])
    return read_rows(path, [column, *texts])


def _values(path: Path, column: str) -> set[str]:
    """What the file holds of a column now; nothing without a file."""
    if not path.exists():
        return set()
    return set(pd.read_csv(path, dtype=str, usecols=[column])[column])


def append(path: Path, rows: pd.DataFrame) -> None:
    """Append rows to a CSV file, in the order of its columns; an absent file is made.

    Raises:
        ValueError: the file has other columns.
    """
    if not path.exists():
        rows.to_csv(path, index=False)
        return
    columns = pd.read_csv(path, nrows=0).columns
    if set(columns) != set(rows.columns):
        lacks, more = set(rows.columns) - set(columns), set(columns) - set(rows.columns)
        raise ValueError(
            f"{path} lacks the columns {sorted(lacks)} of new rows, which lack its {sorted(more)}; "
            "begin another file"
        )
    rows[list(columns)].to_csv(path, mode="a", header=False, index=False)


def read_rows(path: Path, texts: Iterable[str] = ()) -> pd.DataFrame:
    """Read rows, genotypes as texts: "0800" is one, and no number.

    Args:
        path: the CSV file.
        texts: further columns that are read as texts.
    """
    return pd.read_csv(path, dtype=dict.fromkeys(["genotype", *texts], str))


def with_deviation(values: pd.Series, places: int, sign: str = "") -> str:
    """Mean ± standard deviation of what is known; the mean alone of one value, nothing of none."""
    known = values.dropna()
    if known.empty:
        return ""
    deviation = f" ± {known.std():.{places}f}" if len(known) > 1 else ""
    return f"{known.mean():{sign}.{places}f}{deviation}"
