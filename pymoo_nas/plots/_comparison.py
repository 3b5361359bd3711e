"""Pictures of a comparison: hypervolume over evaluations, and median attainment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pymoo_nas.errors import SearchError
from pymoo_nas.plots._plots import _note, _panels
from pymoo_nas.plots._style import (
    COLOURS,
    HANDLE,
    STYLE,
    Look,
    label_axes,
    letters_across,
    plain_legend,
    title_figure,
    within_width,
)
from pymoo_nas.scores import title_of_objective

_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)))
_MARGIN = 0.06  # of the extent of an axis, beyond the outermost corner


@matplotlib.rc_context(STYLE)
def plot_hypervolume(comparison_or_curves: Any) -> Figure:
    """Hypervolume over the candidates scored: a line per label, the mean of its runs.

    A band reaches from the least to the largest of them.

    Args:
        comparison_or_curves: a `Comparison`, or its ``curves``.

    Raises:
        SearchError: a column is missing.
    """
    curves = _table(comparison_or_curves, "curves", "label n evaluations mean min max")
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    labels = list(dict.fromkeys(curves["label"]))
    for label, rows in curves.groupby("label", sort=False):
        look = _look(label, labels)
        x = rows["evaluations"]
        if (rows["n"] > 1).any():
            shade: Look = {"color": look["color"], "alpha": 0.15, "linewidth": 0}
            axes.fill_between(x, rows["min"], rows["max"], step="post", **shade)
        name = f" {label} (n = {rows['n'].iloc[0]})"
        marker = "o" if len(rows) == 1 else None  # one point makes no line
        axes.plot(x, rows["mean"], label=name, drawstyle="steps-post", marker=marker, **look)
    axes.set(xlabel="candidates scored", ylabel="hypervolume (higher is better)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_ylim(bottom=0)
    axes.set_title("Mean over the runs; band: least to largest")
    if labels:
        _legend(figure, *axes.get_legend_handles_labels())
    if not (curves["max"] > 0).any():
        _note(figure)
    return figure


@matplotlib.rc_context(STYLE)
def plot_attainment(comparison_or_attainment: Any) -> Figure:
    """Median attainment, a panel for each two objectives: half of the runs reach a line or beyond.

    Args:
        comparison_or_attainment: a `Comparison`, or its ``attainment``.

    Raises:
        SearchError: a column is missing.
    """
    columns = "label n objective_x objective_y x y"
    corners = _table(comparison_or_attainment, "attainment", columns)
    labels = list(dict.fromkeys(corners["label"]))
    pairs = list(corners.groupby(["objective_x", "objective_y"], sort=False))
    figure, panels = _panels(max(1, len(pairs)))
    handles: dict[str, Any] = {}
    for axes, ((x, y), of_pair) in zip(panels.flat, pairs, strict=False):
        ends = [_end(of_pair[column]) for column in ("x", "y")]
        for label, rows in of_pair.groupby("label", sort=False):
            # From the upper end of the panel to its right end.
            xs = [rows["x"].iloc[0], *rows["x"], ends[0]]
            ys = [ends[1], *rows["y"], rows["y"].iloc[-1]]
            name = f" {label} (n = {rows['n'].iloc[0]})"
            look = _look(label, labels)
            (handles[name],) = axes.plot(xs, ys, drawstyle="steps-post", **look)
        label_axes(axes, x=title_of_objective(str(x)), y=title_of_objective(str(y)))
        axes.set(xlim=(None, ends[0]), ylim=(None, ends[1]))
    title = "Attained by half of the runs (lower is better on every axis)"
    title_figure(figure, title)
    if handles:
        _legend(figure, list(handles.values()), list(handles))
    else:
        _note(figure)
    return figure


def _table(given: Any, name: str, columns: str) -> pd.DataFrame:
    """A table of a comparison, or that table itself.

    Raises:
        SearchError: something else.
    """
    table = getattr(given, name, given)
    if not isinstance(table, pd.DataFrame) or not set(columns.split()) <= set(table):
        raise SearchError(
            f"plot: expected a comparison or its {name}, with the columns {columns}; got a "
            f"{type(given).__name__}"
        )
    return table


def _look(label: Any, labels: Sequence[Any]) -> Look:
    """The line of a label; later ones are thinner, so that one that equals another hides none."""
    index = labels.index(label)
    width = 1.4 + 0.6 * min(3, len(labels) - 1 - index)
    dashes = _DASHES[index // len(COLOURS) % len(_DASHES)]
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": dashes, "linewidth": width}


def _legend(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Names below the panels, where they cover no line; as many beside each other as there fit."""
    shown = [within_width(figure, name, beside=HANDLE) for name in names]
    longest = max(len(line) for name in shown for line in name.splitlines())
    n_columns = letters_across(figure) // (longest + HANDLE)
    place: Look = {"loc": "outside lower center", "ncols": min(3, len(names), max(1, n_columns))}
    plain_legend(figure.legend(handles, shown, **place))


def _end(values: pd.Series) -> float:
    """Where an axis ends, a little beyond its largest value."""
    extent = float(values.max() - values.min())
    return float(values.max()) + (_MARGIN * extent if extent > 0 else 0.5)
