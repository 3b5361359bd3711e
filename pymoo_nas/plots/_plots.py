"""Pictures of a search: Figs. 4, 5 and 6 of the paper, and the Pareto front.

Every function returns a `matplotlib.figure.Figure` that pyplot does not know: nothing is shown, no
backend is chosen, nothing stays in memory. `save_figure` writes the figure to a file.

Candidates with a degenerate reason, a violated constraint or a score that is not finite do not
count for any best score, front or axis range: the values for "degenerate" would flatten all others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator
from numpy.typing import NDArray
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from pymoo_nas.errors import SearchError
from pymoo_nas.plots._style import COLOURS, STYLE, Look, label_axes, plain_legend, title_figure
from pymoo_nas.scores import PAPER_OBJECTIVES, is_sound, objectives_in, title_of_objective
from pymoo_nas.search import preferred_rows, read_table

_GREY = "#BDBDBD"
_FENCE = 3  # quartile distances beyond which a value is far out (Tukey 1977)
_TOP = 3  # how many offspring of a generation `plot_offspring` draws
_MAX_LABELLED = 12  # more names than this in one group would cover the picture

_Floats = NDArray[np.float64]
_Mask = NDArray[np.bool_]


@matplotlib.rc_context(STYLE)
def plot_evolution(history: pd.DataFrame, tournaments: Collection[int] = ()) -> Figure:
    """Draw Fig. 5: best score of each generation (dots), best so far (line); lower is better.

    Args:
        history: one row per scored candidate, with its objectives (see `objectives_in`) and the
            columns generation, degenerate and feasible; or the result of a search.
        tournaments: generations that ended in a tournament; light bands mark them. (The column
            alpha does not tell which: parents of earlier generations compete too.)

    Raises:
        SearchError: a column is missing, or holds no numbers where it should.
    """
    history = read_table(history)
    names, scores, usable = _read(history, "generation", "degenerate", "feasible")
    generation = _generations(history)
    generations = np.unique(generation)
    best = np.full((len(generations), len(names)), np.nan)
    for row, number in enumerate(generations):
        best[row] = np.fmin.reduce(scores[usable & (generation == number)], initial=np.nan)
    so_far = np.fmin.accumulate(best)  # fmin skips generations without a candidate

    figure = Figure(figsize=(2 + 3 * len(names), 3.6), layout="constrained")
    for column, axes in enumerate(figure.subplots(1, len(names), squeeze=False).flat):
        for number in sorted(tournaments):
            axes.axvspan(number - 0.5, number + 0.5, color="#E8E8E8", lw=0, label="tournament")
        thin: Look = {"color": COLOURS[5], "linewidth": 0.7, "marker": "o", "markersize": 3.5}
        axes.plot(generations, best[:, column], label="best of the generation", **thin)
        thick: Look = {"color": COLOURS[0], "linewidth": 2.4, "drawstyle": "steps-post"}
        axes.plot(generations, so_far[:, column], label="best so far", **thick)
        named = f"{title_of_objective(names[column])}\n(lower is better)"
        label_axes(axes, x="generation", y=named)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(generations.min(initial=1) - 0.5, generations.max(initial=1) + 0.5)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    if not usable.any():
        _note(figure)
    return figure


@matplotlib.rc_context(STYLE)
def plot_offspring(history: pd.DataFrame) -> Figure:
    """Draw Fig. 6: the three best offspring of each generation on their way to the origin.

    The best offspring have the smallest sum of dense ranks in all objectives within the generation
    (Chen 2021). The axes are the first three objectives; a fourth one is the size of the points.
    They are scaled to [0, 1] between the 2nd and 98th percentile of the points drawn; points beyond
    are drawn on the border.

    Args:
        history: one row per scored candidate, with three or more objectives (see `objectives_in`)
            and the columns generation, degenerate and feasible; or the result of a search.

    Raises:
        SearchError: a column is missing, or holds no numbers where it should; or there are fewer
            than three objectives.
    """
    history = read_table(history)
    names, scores, usable = _read(history, "generation", "degenerate", "feasible", least=3)
    generation, scores = _generations(history)[usable], scores[usable]
    ranks = pd.DataFrame(scores).groupby(generation).rank(method="dense").sum(axis=1)
    top = ranks.groupby(generation).rank(method="first").to_numpy() <= _TOP

    figure = Figure(figsize=(8.6, 5.6))
    told = f"; larger points: larger {names[3]}" if len(names) > 3 else ""
    told += f"; without {', '.join(names[4:])}" if len(names) > 4 else ""
    title = f"The {_TOP} best offspring of each generation (black: the best of every score{told})"
    title_figure(figure, title)
    limits = _robust_limits(scores[top])
    axes = _scaled_axes(figure, names[:3], limits[:, :3])
    if top.any():
        scaled = _scaled(scores[top], limits)
        points = scaled[:, :3].T
        sizes = 16 + 64 * scaled[:, 3] if len(names) > 3 else 34
        colours: Look = {"c": generation[top], "norm": _norm(generation[top]), "cmap": "viridis"}
        rim: Look = {"edgecolors": "white", "linewidths": 0.4, "depthshade": False}
        drawn = axes.scatter(*points, s=sizes, label="offspring", **colours, **rim)
        ticks = MaxNLocator(integer=True, min_n_ticks=1)
        place = figure.add_axes((0.88, 0.25, 0.018, 0.5))
        figure.colorbar(drawn, cax=place, ticks=ticks, label="generation")
    else:
        _note(figure)
    return figure


@matplotlib.rc_context(STYLE)
def plot_front(history_or_front: pd.DataFrame, kept: pd.DataFrame | None = None) -> Figure:
    """Draw non-dominated candidates, a panel for each pair of objectives, coloured by parameters.

    Where a search has measured gradients, they are those of candidates that are not unsteady.
    A frame with a column survived is a history: all its other candidates are drawn in grey behind.
    Axes end at the 98th percentile of all candidates or at the worst of the front. But they never
    end further from the quartiles than `_FENCE` times the distance of the quartiles: one outlier
    would squeeze all others into a strip. Members of the front beyond the axes are drawn on the
    border, as triangles; the title counts all candidates beyond.

    Args:
        history_or_front: rows with two or more objectives (see `objectives_in`) and the column
            params; degenerate and feasible are used where they exist; or the result of a search.
        kept: front with which the search ended; its members are ringed. Tournaments may have
            dropped some non-dominated candidates for others.

    Raises:
        SearchError: a column is missing, or holds no numbers where it should.
    """
    history_or_front = read_table(history_or_front)
    names, scores, usable = _read(history_or_front, "params", least=2)
    hopeful = preferred_rows(history_or_front, usable)
    of_steady = " of steady ones" if hopeful.sum() < usable.sum() else ""
    front = np.flatnonzero(hopeful)
    front = front[NonDominatedSorting().do(scores[front], only_non_dominated_front=True)]
    params, best = _numbers(history_or_front, "params")[front], scores[front]
    sound = is_sound(history_or_front)
    n_judged = int(sound.sum())
    is_history = "survived" in history_or_front.columns
    sound[front] = False
    others = scores[sound] if is_history else scores[:0]
    ringed = scores[:0]
    if kept is not None:
        kept = read_table(kept)
        of_kept, ringed, good = _read(kept, *names)
        ringed = ringed[good][:, [of_kept.index(name) for name in names]]
    low, high = front_limits(others, np.vstack([best, ringed]))

    pairs = list(itertools.combinations(range(len(names)), 2))
    figure, panels = _panels(len(pairs))
    colours: Look = {"norm": _norm(params, log=True), "cmap": "viridis"}
    colours |= {"plotnonfinite": True, "zorder": 3, "linewidths": 0.5, "edgecolors": "k"}
    rings: Look = {"s": 110, "facecolors": "none", "edgecolors": "r", "clip_on": False}
    for axes, (x, y) in zip(panels.flat, pairs, strict=False):
        pair = [x, y]
        inside = _within(best[:, pair], low[pair], high[pair])
        axes.scatter(*others[:, pair].T, s=9, color=_GREY)
        drawn = axes.scatter(*best[inside][:, pair].T, s=42, c=params[inside], **colours)
        ends = [np.clip(points[:, pair], low[pair], high[pair]) for points in (best, ringed)]
        axes.scatter(*ends[1].T, **rings)
        outside: Look = {"s": 42, "marker": "^", "clip_on": False, **colours}
        axes.scatter(*ends[0][~inside].T, c=params[~inside], **outside)
        label_axes(axes, x=title_of_objective(names[x]), y=title_of_objective(names[y]))
        axes.set(xlim=(low[x], high[x]), ylim=(low[y], high[y]))
    shown = np.vstack([best, others])
    beyond = int((~_within(shown, low, high)).sum())
    n = f"{len(best)} of {n_judged} candidates" if is_history else f"{len(best)} candidates"
    title = f"Pareto front{of_steady}: {n}, coloured (lower is better on every axis)"
    title += f"; ringed: the {len(ringed)} kept by the search" * (len(ringed) > 0)
    title += f"; {beyond} beyond the axes" * (beyond > 0)
    title_figure(figure, title)
    if len(best):
        log = isinstance(drawn.norm, LogNorm)
        ticks = LogLocator(subs=(1, 2, 5)) if log else MaxNLocator(integer=True, min_n_ticks=1)
        look: Look = {"ticks": ticks, "format": EngFormatter(sep=""), "label": "parameters"}
        figure.colorbar(drawn, ax=panels, pad=0.01, **look).minorticks_off()
    else:
        _note(figure)
    return figure


@matplotlib.rc_context(STYLE)
def plot_scores_3d(frame: pd.DataFrame, group_column: str) -> Figure:
    """Draw Fig. 4: the scores of groups of networks (random, hand-made, popular, for example).

    Axes are scaled to [0, 1] between the 2nd and 98th percentile of all rows. Networks above this
    range in any score are cut off, and the legend says how many; scores below it are drawn at 0.

    Args:
        frame: one row per network, with three or more objectives, of which the first three are
            drawn (see `objectives_in`), and the column of the group. The column degenerate is used
            where it exists; a column name labels the networks of groups of up to 12.
        group_column: name of the column that holds each row's group.

    Raises:
        SearchError: a column is missing, or holds no numbers where it should.
    """
    frame = read_table(frame)
    names, scores, _ = _read(frame, group_column, least=3, group=group_column)
    shown, scores = is_sound(frame), scores[:, :3]
    limits = _robust_limits(scores[shown])
    shown &= (scores <= limits[1]).all(axis=1)
    groups = frame[group_column].astype(str).to_numpy()
    named: list[tuple[_Floats, str]] = []

    figure = Figure(figsize=(8.6, 5.6))
    axes = _scaled_axes(figure, names, limits)
    for index, group in enumerate(dict.fromkeys(groups)):
        inside = shown & (groups == group)
        points, total = _scaled(scores[inside], limits), int((groups == group).sum())
        cut = f", {total - len(points)} cut off" if len(points) < total else ""
        # The label starts with a space: matplotlib hides labels that start with an underscore.
        marker = "o^sDPXv"[(index + index // 7) % 7]  # an eighth group has the first colour again
        look = {"color": COLOURS[index % 7], "marker": marker, "depthshade": False}
        look |= {"edgecolors": "white", "linewidths": 0.4, "zorder": 3 + index, "s": 34}
        axes.scatter(*points.T, label=f" {group} ({total}{cut})", **look)
        if "name" in frame.columns and total <= _MAX_LABELLED:
            pairs = zip(points, frame["name"][inside], strict=True)
            named += [(point, str(name)) for point, name in pairs if pd.notna(name) and name != ""]
    axes.computed_zorder = False  # else a crowd of random networks hides the few others
    _label_points(axes, named)
    plain_legend(figure.legend(loc="upper left"))
    if not shown.any():
        _note(figure)
    return figure


def _read(
    frame: pd.DataFrame, *columns: str, least: int = 1, group: str = ""
) -> tuple[list[str], _Floats, _Mask]:
    """Read objectives, their values (n, m), and which rows (n,) are sound and feasible.

    Raises:
        SearchError: a column is missing, or there are fewer objectives than `least`.
    """
    names = [name for name in objectives_in(frame) if name != group]
    missing = [column for column in columns if column not in frame.columns]
    if not names:
        missing += PAPER_OBJECTIVES
    elif len(names) < least:
        raise SearchError(
            f"plot: {len(names)} objectives ({', '.join(names)}); this picture needs {least}"
        )
    if missing:
        raise SearchError(
            f"plot: the frame lacks the columns {', '.join(missing)}; it has "
            f"{', '.join(map(str, frame.columns)) or 'none'}: give a history or a front of a search"
        )
    scores = np.column_stack([_numbers(frame, name) for name in names])
    usable = is_sound(frame)
    if "feasible" in frame.columns:
        usable &= frame["feasible"].to_numpy(dtype=bool)
    return names, scores, usable


def _numbers(frame: pd.DataFrame, column: str) -> _Floats:
    try:
        return frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise SearchError(f"plot: column {column}: expected numbers; {error}") from error


def _generations(history: pd.DataFrame) -> _Floats:
    numbers = _numbers(history, "generation")
    if not np.isfinite(numbers).all():
        raise SearchError(
            "plot: column generation holds NaN or infinity; expected the number of a generation in "
            "every row"
        )
    return numbers


def _robust_limits(points: _Floats) -> _Floats:
    """Find the 2nd and 98th percentile of each column, (2, m); extremes of up to 51 points."""
    if len(points) == 0:
        return np.array([[0.0] * points.shape[1], [1.0] * points.shape[1]])
    low = np.percentile(points, 2, axis=0, method="lower")
    return np.array([low, np.percentile(points, 98, axis=0, method="higher")])


def _panels(n: int) -> tuple[Figure, Any]:
    """Make a figure with so many panels, three in a row; the last row may have empty places."""
    n_columns = min(3, n)
    n_rows = math.ceil(n / n_columns)
    size = (1.3 + 3.4 * n_columns, 0.5 + 3.7 * n_rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False)
    for empty in panels.flat[n:]:
        empty.set_axis_off()
    return figure, panels


def front_limits(others: _Floats, front: _Floats) -> tuple[_Floats, _Floats]:
    """Find the ends of the axes, (m,) each, beyond which outliers lie: see `plot_front`."""
    together = np.vstack([others, front])
    if len(together) == 0:
        return np.zeros(together.shape[1]), np.ones(together.shape[1])
    high = np.maximum(_robust_limits(together)[1], front.max(axis=0, initial=-np.inf))
    low = together.min(axis=0)
    first, third = np.percentile(together, [25, 75], axis=0)
    # Where half of the values are equal, the quartiles say nothing about the other values.
    reach = np.where(third > first, _FENCE * (third - first), np.inf)
    low, high = np.maximum(low, first - reach), np.minimum(high, third + reach)
    margin = np.where(high > low, 0.06 * (high - low), 0.5)
    return low - margin, high + margin


def _within(points: _Floats, low: _Floats, high: _Floats) -> _Mask:
    """Tell which of the points (n, m) lie between the ends (m,) of all axes."""
    return np.asarray(((points >= low) & (points <= high)).all(axis=1))


def _scaled(points: _Floats, limits: _Floats) -> _Floats:
    """Scale points to [0, 1] between the limits, clipped; 0.5 on an axis without extent."""
    low, high = limits
    extent = np.where(high > low, high - low, 1.0)
    return np.where(high > low, np.clip((points - low) / extent, 0, 1), 0.5)


def _norm(values: _Floats, log: bool = False) -> Normalize:
    """Make a colour scale from the smallest to the largest finite value."""
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return LogNorm(low, high) if log and low > 0 and high > 10 * low else Normalize(low, high)


def _scaled_axes(figure: Figure, names: Sequence[str], limits: _Floats) -> Any:
    """Make 3-D axes from 0 to 1, the origin as a black sphere; labels say what 0 and 1 are."""
    axes: Any = figure.add_axes((0.13, 0.03, 0.7, 0.92), projection="3d")
    axes.set_box_aspect((1, 1, 1), zoom=0.95)
    axes.view_init(elev=20, azim=-60)
    for name, label, low, high in zip("xyz", map(title_of_objective, names), *limits, strict=False):
        values = f"0 = {low:.4g}, 1 = {high:.4g}" if low < high else f"all {low:.4g}"
        label_axes(axes, **{name: f"{label}\n{values}"})
        axes.set(**{f"{name}lim": (0, 1)})
        getattr(axes, f"{name}axis").labelpad = 8
    axes.set_yticks((0.2, 0.4, 0.6, 0.8, 1.0))  # the 0 of y would touch the 1 of x
    axes.scatter([0], [0], [0], color="k", s=130, depthshade=False, label="origin (best)")
    return axes


def _label_points(axes: Any, named: list[tuple[_Floats, str]]) -> None:
    """Write names beside points of a 3-D picture, one over the other, with lines to the points."""
    ends = [(axes.get_proj() @ [*point, 1], name) for point, name in named]
    placed = -math.inf
    for (x, y, _, w), name in sorted(ends, key=lambda end: float(end[0][1] / end[0][3])):
        placed = max(y / w, placed + 0.0065)
        line = {"arrowstyle": "-", "linewidth": 0.5, "color": "#606060", "relpos": (1, 0.5)}
        text: Look = {
            "fontsize": 8,
            "parse_math": False,
            "va": "center",
            "ha": "right",
            "zorder": 20,
        }
        axes.annotate(name, (x / w, y / w), (x / w - 0.015, placed), arrowprops=line, **text)


def _note(figure: Figure, text: str = "no feasible candidate") -> None:
    box = {"facecolor": "white", "edgecolor": _GREY, "boxstyle": "round"}
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=12, bbox=box)
