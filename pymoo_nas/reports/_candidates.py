"""The candidates of a search as rows of a chart: what each was, and where the axes end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from pymoo_nas.reports._content import Content
from pymoo_nas.scores import SIZES, is_sound, objectives_in, title_of_objective
from pymoo_nas.search import preferred_rows

STATUSES = ("chosen", "front of the search", "non-dominated", "survived", "other")
"""What a candidate was, the most important first."""

TITLES = {
    "seconds": "seconds to score",
    "generation": "generation",
    "flops": "multiply-accumulates",
    "acts": "acts (values made)",
    "peak_memory": "peak memory, bytes",
    "latency": "latency, ms",
    "params": "parameters",
}
"""Column → its name for people."""

MAX_BYTES = 600_000
"""Most bytes of the rows in a page, about."""


@dataclass(frozen=True)
class Measure:
    """A column that can be an axis.

    Attributes:
        key: name in the rows of the chart, which no user has chosen.
        column: name of the column in the history.
        title: for people.
        low: end of the axis, beyond which outliers lie.
        high: the other end.
        whole: whether its values are whole numbers.
    """

    key: str
    column: str
    title: str
    low: float
    high: float
    whole: bool


@dataclass(frozen=True)
class Candidates:
    """The candidates that can be judged.

    Attributes:
        rows: one dictionary of plain values per candidate, the least important first.
        measures: the columns that can be an axis: objectives first.
        n_objectives: number of objectives among them.
        left_out: reason → number of candidates that have no scores.
        thinned: number of candidates that were left out because the page would be too large.
    """

    rows: list[dict[str, Any]]
    measures: list[Measure]
    n_objectives: int
    left_out: Mapping[str, int]
    thinned: int


def candidates_of(content: Content) -> Candidates:
    """Collect what the interactive front shows."""
    history = content.history.assign(number=np.arange(1, len(content.history) + 1))
    history.attrs = content.history.attrs
    names = objectives_in(history)
    usable = is_sound(history) & history["feasible"].to_numpy(dtype=bool)
    left = history[~usable]
    reasons = left["degenerate"].where(left["degenerate"] != "", "beyond a limit")
    shown = history[usable].copy()
    shown["status"] = _statuses(shown, names, content)
    if content.accuracies:
        shown["accuracy"] = shown["genotype"].map(dict(content.accuracies)).astype("float64")
    shown = shown.sort_values(["status", "number"], ascending=[False, True], kind="stable")
    measures = _measures(shown, names, content.accuracy_title)
    kept = _thinned(shown)
    return Candidates(
        rows=[_row(row, measures) for row in kept.to_dict("records")],
        measures=measures,
        n_objectives=len(names),
        left_out=dict(reasons.value_counts()),
        thinned=len(shown) - len(kept),
    )


def _statuses(shown: pd.DataFrame, names: list[str], content: Content) -> list[int]:
    """The place in `STATUSES` of each candidate."""
    values = shown[names].to_numpy(dtype=float)
    best: set[int] = set()
    if len(values):
        hopeful = np.flatnonzero(preferred_rows(shown, np.ones(len(shown), dtype=bool)))
        places = NonDominatedSorting().do(values[hopeful], only_non_dominated_front=True)
        best = set(hopeful[places].tolist())
    front, chosen = set(content.front["genotype"]), set(content.chosen)
    statuses = []
    pairs = zip(shown["genotype"], shown["survived"], strict=True)
    for place, (genotype, survived) in enumerate(pairs):
        tests = (genotype in chosen, genotype in front, place in best, bool(survived), True)
        statuses.append(tests.index(True))
    return statuses


def _measures(shown: pd.DataFrame, names: list[str], accuracy_title: str) -> list[Measure]:
    from pymoo_nas.plots import front_limits  # noqa: PLC0415 - matplotlib is heavy

    others = [name for name in (*SIZES, "accuracy", "generation", "seconds") if name in shown]
    columns = [name for name in dict.fromkeys([*names, *others]) if shown[name].notna().any()]
    important = (shown["status"] <= STATUSES.index("non-dominated")).to_numpy()
    titles = {**TITLES, "accuracy": accuracy_title}
    measures = []
    for index, column in enumerate(columns):
        values = shown[column].to_numpy(dtype=float)
        known = np.isfinite(values)
        low, high = front_limits(values[known][:, None], values[known & important][:, None])
        measures.append(
            Measure(
                key=f"v{index}",
                column=column,
                title=titles.get(column) or title_of_objective(column),
                low=float(low[0]),
                high=float(high[0]),
                whole=bool((values[known] == np.round(values[known])).all()),
            )
        )
    return measures


def _thinned(shown: pd.DataFrame) -> pd.DataFrame:
    """Leave out, evenly over the search, unimportant candidates that take too many bytes."""
    per_row = 180 + shown["genotype"].str.len().mean() if len(shown) else 1
    n_kept = int(MAX_BYTES / per_row)
    if len(shown) <= n_kept:
        return shown
    n_important = min(n_kept, int((shown["status"] < len(STATUSES) - 1).sum()))
    others = len(shown) - n_important
    places = np.unique(np.linspace(0, others - 1, n_kept - n_important).astype(int))
    return pd.concat([shown.iloc[places], shown.iloc[others:]])


def _row(row: Mapping[Any, Any], measures: list[Measure]) -> dict[str, Any]:
    values = {measure.key: _plain(row[measure.column], measure.whole) for measure in measures}
    return {
        "number": int(row["number"]),
        "genotype": row["genotype"],
        "status": STATUSES[row["status"]],
        **values,
    }


def _plain(value: Any, whole: bool) -> float | int | None:
    number = float(value)
    if not math.isfinite(number):
        return None
    # Six digits are more than a chart shows.
    return int(number) if whole else float(f"{number:.6g}")
