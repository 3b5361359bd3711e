"""Tables that a choice is made from: their columns, their objectives, and the limits they keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pymoo_nas.errors import SearchError
from pymoo_nas.scores import PAPER_OBJECTIVES, SIZES, objectives_in
from pymoo_nas.search import Limits


def table_of(given: Any, *columns: str) -> pd.DataFrame:
    """Return the given table, after a check that it has some columns.

    Raises:
        SearchError: something else.
    """
    if not isinstance(given, pd.DataFrame):
        raise SearchError(
            f"got a {type(given).__name__} for a table; expected history_to_frame(result), "
            "front_to_frame(result), or what order_scored or order_front returns"
        )
    missing = [name for name in columns if name not in given]
    if missing:
        raise SearchError(
            f"a table without the columns {', '.join(missing)}; expected history_to_frame(result), "
            "front_to_frame(result), or what order_scored or order_front returns"
        )
    return given


def objectives_of(table: pd.DataFrame) -> list[str]:
    """The objectives of a table.

    Raises:
        SearchError: the table has none.
    """
    objectives = objectives_in(table)
    if not objectives:
        raise SearchError(
            f"a table without objectives, such as {', '.join(PAPER_OBJECTIVES)}; its columns: "
            f"{', '.join(map(str, table.columns)) or 'none'}; expected history_to_frame(result) or "
            "front_to_frame(result)"
        )
    return objectives


def within(rows: pd.DataFrame, limits: Limits) -> pd.DataFrame:
    """The rows that keep the limits.

    Raises:
        SearchError: no row does.
    """
    if rows.empty:
        raise SearchError(
            "nothing to choose from: no candidate keeps the limits and can be judged; search again "
            "with higher limits"
        )
    # A size may be unknown of rows that break another limit.
    known = [name for name in limits if name in rows and rows[name].notna().all()]
    kept = rows[_kept(rows, limits, known)]
    rest = [name for name in limits if name not in known]
    unknown = [name for name in rest if name not in rows or kept[name].isna().any()]
    if unknown:
        raise SearchError(
            f"{limits}: {', '.join(unknown)} was not measured in this search; search with it as an "
            "objective or a limit, or leave the limit out"
        )
    kept = kept[_kept(kept, limits, rest)]
    if kept.empty:
        known = [name for name in SIZES if name in rows and rows[name].notna().any()]
        least = ", ".join(f"{rows[name].min():,.10g} {name}" for name in known)
        raise SearchError(f"no architecture keeps {limits}; the smallest numbers are {least}")
    return kept


def _kept(rows: pd.DataFrame, limits: Limits, names: Sequence[str]) -> pd.Series:
    """Which rows keep the limits of these names."""
    excess = limits.excess({name: rows[name] for name in names})
    shares = {name: excess[name] for name in names}
    return (pd.DataFrame(shares, index=rows.index) <= 0).all(axis=1)
