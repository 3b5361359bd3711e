"""Pictures of a search against slow loops over its rows."""

from __future__ import annotations

import itertools
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from figures import SCORES, WORST, draw, make_groups, make_history, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pymoo_nas.plots import plot_evolution, plot_front, plot_offspring, plot_scores_3d


def usable_rows(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """The slow, obvious choice of candidates that may be called best."""
    return [
        row
        for row in frame.to_dict("records")
        if row["degenerate"] == ""
        and row["feasible"]
        and np.isfinite([row[s] for s in SCORES]).all()
    ]


def line_of(axes: Axes, label: str) -> np.ndarray:
    (line,) = [line for line in axes.get_lines() if line.get_label() == label]
    return np.asarray(line.get_ydata())


def points_3d(figure: Figure) -> list[np.ndarray]:
    """The scatters of the 3-D axes, (n, 3) each; the first one is the origin."""
    scatters: list[Any] = list(figure.axes[0].collections)
    return [np.ma.filled(np.ma.column_stack(scatter._offsets3d), np.nan) for scatter in scatters]


# Fig. 5 ------------------------------------------------------------------------------------------


def test_evolution_hand_computed() -> None:
    """Degenerate and infeasible candidates are never the best of a generation or so far."""
    frame = make_history(3, 3).assign(
        ntk=[5, 4, 1, 6, 2, 7, 3.5, 9, 8],
        degenerate=["", "", "no ReLU", "", "", "", "", "", ""],
        feasible=[True, True, True, True, False, True, True, True, True],
    )
    panel = plot_evolution(frame).axes[0]
    assert line_of(panel, "best of the generation").tolist() == [4, 6, 3.5]
    assert line_of(panel, "best so far").tolist() == [4, 4, 3.5]


def test_evolution_equals_slow_loop() -> None:
    """All three panels show what a loop over the rows of a shuffled history finds."""
    frame = make_history().sample(frac=1, random_state=3)
    rows = usable_rows(frame)
    for score, panel in zip(SCORES, plot_evolution(frame).axes, strict=True):
        best = [min(r[score] for r in rows if r["generation"] == g) for g in range(1, 31)]
        assert line_of(panel, "best of the generation").tolist() == best
        assert line_of(panel, "best so far").tolist() == [min(best[: g + 1]) for g in range(30)]


def test_evolution_generation_without_candidate() -> None:
    """A generation without a usable candidate leaves a gap in the dots, not in the best so far."""
    frame = make_history(6, 10)
    frame.loc[frame["generation"].isin([1, 4]), "feasible"] = False
    panel = plot_evolution(frame).axes[1]
    assert np.isnan(line_of(panel, "best of the generation")).nonzero()[0].tolist() == [0, 3]
    so_far = line_of(panel, "best so far")
    assert np.isnan(so_far).tolist() == [True, False, False, False, False, False]
    assert so_far[3] == so_far[2]


def test_evolution_tournament_bands() -> None:
    """Exactly the generations given as tournaments are marked by a band, whatever the alphas."""
    for panel in plot_evolution(make_history(10, 20), [3, 6, 9]).axes:
        bands = [patch.get_window_extent() for patch in panel.patches]
        data = [panel.transData.inverted().transform_bbox(band) for band in bands]
        assert [round((box.x0 + box.x1) / 2, 6) for box in data] == [3, 6, 9]
    without = make_history(4, 5)
    assert not plot_evolution(without).axes[0].patches
    assert "tournament" not in texts(plot_evolution(without))


def test_evolution_labels() -> None:
    """Each axis says its score, its unit and that lower is better."""
    labels = [panel.get_ylabel() for panel in plot_evolution(make_history(3, 5)).axes]
    assert all("lower is better" in label for label in labels)
    assert ["log10 condition number" in label for label in labels] == [True, False, False]
    assert ["−log det" in label for label in labels] == [False, True, True]


def test_degenerate_values_leave_the_axis_alone() -> None:
    """The bad values of degenerate candidates change no limit of any panel."""
    frame = make_history()
    sound = frame[frame["degenerate"] == ""]
    assert frame["activation"].max() == WORST["activation"]
    for plot in (plot_evolution, plot_front):
        for dirty, clean in zip(plot(frame).axes[:3], plot(sound).axes[:3], strict=True):
            assert dirty.get_xlim() == clean.get_xlim()
            assert dirty.get_ylim() == clean.get_ylim()


# Fig. 6 ------------------------------------------------------------------------------------------


def slow_top(frame: pd.DataFrame, top: int = 3) -> list[dict[Any, Any]]:
    chosen = []
    rows = usable_rows(frame)
    for generation in sorted({row["generation"] for row in rows}):
        group = [row for row in rows if row["generation"] == generation]
        values = {score: sorted({row[score] for row in group}) for score in SCORES}
        ranked = sorted(group, key=lambda r: sum(values[s].index(r[s]) for s in SCORES))
        chosen += ranked[:top]
    return chosen


def test_offspring_are_the_best_by_rank_sum() -> None:
    """As many points as a loop chooses, with their generations as colours, and scaled likewise."""
    frame = make_history(12, 10)
    chosen = slow_top(frame)
    origin, points = points_3d(plot_offspring(frame))
    assert origin.tolist() == [[0, 0, 0]]
    values = np.array([[row[score] for score in SCORES] for row in chosen])
    # 36 points, so the percentiles fall on the extremes and nothing is clipped.
    expected = (values - values.min(0)) / (values.max(0) - values.min(0))
    assert np.allclose(sorted(points.tolist()), sorted(expected.tolist()))
    colours = np.asarray(plot_offspring(frame).axes[0].collections[1].get_array())
    assert sorted(colours.tolist()) == sorted(row["generation"] for row in chosen)


def test_offspring_uses_dense_ranks() -> None:
    """Ties share a rank: hand-computed sums 3, 6, 7, 7 and 9 choose the first three rows."""
    frame = make_history(1, 5).assign(
        ntk=[1, 1, 2, 2, 3.0],  # dense ranks 1 1 2 2 3
        activation=[1, 2, 2, 3, 3.0],  # 1 2 2 3 3
        correlation=[1, 3, 3, 2, 3.0],  # 1 3 3 2 3
        degenerate="",
        feasible=True,
    )
    _, points = points_3d(plot_offspring(frame))
    # Rows 0, 1, 2: ntk 1 1 2, activation 1 2 2, correlation 1 3 3, each scaled to [0, 1].
    assert sorted(points.tolist()) == [[0, 0, 0], [0, 1, 1], [1, 1, 1]]


def test_offspring_outliers_are_clipped() -> None:
    """An outlier among many generations lies on the border and does not stretch the axis."""
    frame = make_history(60, 3).assign(degenerate="", feasible=True)
    far = frame.copy()
    far.loc[7, "ntk"] = 1e9
    _, points = points_3d(plot_offspring(far))
    assert points.min() == 0
    assert points.max() == 1
    assert np.ptp(np.delete(points, 7, axis=0)[:, 0]) == 1
    assert np.median(points[:, 0]) > 0.05


# The front ---------------------------------------------------------------------------------------


def slow_front(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    rows = usable_rows(frame)
    return [
        row
        for row in rows
        if not any(
            all(other[s] <= row[s] for s in SCORES) and any(other[s] < row[s] for s in SCORES)
            for other in rows
        )
    ]


@given(st.integers(0, 2**31), st.integers(1, 40), st.booleans())
@settings(max_examples=8)
def test_front_equals_brute_force(seed: int, n: int, ties: bool) -> None:
    """A brute-force Pareto filter finds the circles of each projection, and the triangles."""
    frame = make_history(1, n, seed)
    if ties:
        frame[SCORES] = np.random.default_rng(seed).integers(0, 4, (n, 3)).astype(float)
    expected = slow_front(frame)
    for panel, (x, y) in zip(
        plot_front(frame).axes, itertools.combinations(SCORES, 2), strict=False
    ):
        circles, triangles = panel.collections[1], panel.collections[3]
        (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
        shown = [row for row in expected if left <= row[x] <= right and low <= row[y] <= high]
        drawn = sorted(map(tuple, np.asarray(circles.get_offsets()).tolist()))
        assert drawn == sorted((row[x], row[y]) for row in shown)
        assert sorted(np.asarray(circles.get_array())) == sorted(row["params"] for row in shown)
        assert len(np.asarray(triangles.get_offsets())) == len(expected) - len(shown)


def test_front_grey_points() -> None:
    """A history shows the other sound candidates in grey, and the title counts each once."""
    frame = make_history(5, 10)
    n_sound = int((frame["degenerate"] == "").sum())
    figure = plot_front(frame)
    for panel in figure.axes[:3]:
        grey, coloured = (len(np.asarray(c.get_offsets())) for c in panel.collections[:2])
        assert grey + coloured == n_sound
        assert f"Pareto front: {coloured} of {n_sound} candidates" in texts(figure)
    alone = plot_front(frame.drop(columns=["survived", "degenerate", "feasible"]))
    assert len(np.asarray(alone.axes[0].collections[0].get_offsets())) == 0
    assert " of " not in texts(alone)


def beyond_axes(panels: list[Axes], values: np.ndarray) -> int:
    """Rows of scores that a panel does not show where they are."""
    ends = [panels[0].get_xlim(), panels[0].get_ylim(), panels[1].get_ylim()]
    return int(
        sum(
            any(not low <= value <= high for value, (low, high) in zip(row, ends, strict=True))
            for row in values
        )
    )


def test_front_lies_inside_the_axes() -> None:
    """No member of an ordinary front is cut off, and the title counts the candidates that are."""
    frame = make_history().assign(feasible=True)
    figure = plot_front(frame)
    scored = frame[frame["degenerate"] == ""][SCORES].to_numpy()
    panels = figure.axes[:3]
    for panel in panels:
        x, y = np.asarray(panel.collections[1].get_offsets()).T
        assert panel.get_xlim()[0] < x.min() <= x.max() < panel.get_xlim()[1]
        assert panel.get_ylim()[0] < y.min() <= y.max() < panel.get_ylim()[1]
    beyond = beyond_axes(panels, scored)
    assert 0 < beyond < 0.06 * len(scored)
    assert f"{beyond} beyond the axes" in texts(figure)


@pytest.mark.parametrize("far", [1e3, 1e9, -1e4])
@pytest.mark.parametrize("score", SCORES)
def test_an_outlier_does_not_squeeze_the_front(score: str, far: float) -> None:
    """One far value of a front's member takes a border place, as a triangle, and is counted."""
    frame = make_history(5, 8).assign(feasible=True, degenerate="")
    ordinary = [np.ptp(panel.get_xlim()) for panel in plot_front(frame).axes[:2]]
    lowest = frame[SCORES].min() - 1
    frame.loc[len(frame)] = {**frame.iloc[0], **lowest, score: far}
    figure = plot_front(frame)
    panels = figure.axes[:3]
    beyond = beyond_axes(panels, frame[SCORES].to_numpy())
    assert beyond >= 1
    assert f"{beyond} beyond the axes" in texts(figure)
    for panel, pair in zip(panels, itertools.combinations(SCORES, 2), strict=True):
        triangles = np.asarray(panel.collections[3].get_offsets())
        assert len(triangles) == (score in pair)
        assert np.isfinite(triangles).all()
    assert np.ptp(panels[0].get_xlim()) < 12 * ordinary[0]


def test_front_that_was_kept_is_ringed() -> None:
    """Rows that the search kept are ringed in every projection, inside the axes, and counted."""
    frame = make_history().assign(feasible=True)
    kept = frame[frame["degenerate"] == ""].nsmallest(3, "correlation")
    figure = plot_front(frame, kept)
    for panel, (x, y) in zip(figure.axes, itertools.combinations(SCORES, 2), strict=False):
        ringed = np.asarray(panel.collections[2].get_offsets())
        assert (ringed == kept[[x, y]].to_numpy()).all()
        assert (ringed < [panel.get_xlim()[1], panel.get_ylim()[1]]).all()
    assert "ringed: the 3 kept by the search" in texts(figure)
    assert "ringed" not in texts(plot_front(frame))
    assert "ringed" not in texts(plot_front(frame, kept.assign(degenerate="no ReLU")))


@pytest.mark.parametrize("n_scores", [2, 3])
def test_the_title_of_a_front_stays_in_the_picture(n_scores: int) -> None:
    """It breaks where the picture is narrow."""
    frame = make_history().assign(feasible=True).drop(columns=SCORES[n_scores:])
    figure = plot_front(frame, frame[frame["degenerate"] == ""].head(3))
    draw(figure)
    box = figure._suptitle.get_window_extent()  # type: ignore[attr-defined]
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.axes[0].get_window_extent().y1 < box.y0


def test_front_of_one_point() -> None:
    """A front of one point is drawn, with its parameters on the colour bar."""
    figure = plot_front(make_history(1, 1).assign(degenerate="", feasible=True, params=1234))
    draw(figure)
    assert len(figure.axes) == 4
    assert "1.234k" in texts(figure)


# Fig. 4 ------------------------------------------------------------------------------------------


def test_scores_3d_cuts_outliers_and_counts_them() -> None:
    """Rows worse than the 98th percentile in any score are left out, and the legend says so."""
    frame = make_groups()
    figure = plot_scores_3d(frame, "kind")
    _, random, popular = points_3d(figure)
    ordered = np.sort(frame[SCORES].to_numpy(), axis=0)
    # 204 rows: the 98th percentile is row ceil(0.98 · 203) = 199 of the sorted, counted from 0.
    cut = (frame[SCORES].to_numpy() > ordered[199]).any(axis=1).sum()
    assert 4 <= cut <= 12
    assert len(random) == 200 - cut
    assert f"random (200, {cut} cut off)" in texts(figure)
    assert "popular (4)" in texts(figure)
    assert len(popular) == 4
    drawn = np.vstack([random, popular])
    assert drawn.min() == 0
    assert drawn.max() == 1


def test_scores_3d_small_groups_lose_nothing() -> None:
    """Up to 51 rows no row is an outlier: the axes run from the least to the largest value."""
    frame = make_groups().iloc[-30:]
    figure = plot_scores_3d(frame, "kind")
    assert sum(map(len, points_3d(figure))) - 1 == 30
    assert "cut off" not in texts(figure)
    values = frame[SCORES].to_numpy()
    expected = (values - values.min(0)) / (values.max(0) - values.min(0))
    assert np.allclose(np.vstack(points_3d(figure)[1:]), expected)


def test_scores_3d_groups_look_different() -> None:
    """No two of 21 groups have both colour and marker."""
    frame = pd.concat([make_groups().assign(kind=f"{n}") for n in range(21)])
    drawn = plot_scores_3d(frame, "kind").axes[0].collections[1:]
    looks = {
        (tuple(one.get_facecolor()[0]), str(one.get_paths()[0].vertices.tolist())) for one in drawn
    }
    assert len(looks) == len(drawn) == 21


def test_scores_3d_names() -> None:
    """Each name of a small group stands once and apart from the others, an empty one nowhere."""
    frame = make_groups()
    frame.loc[:2, "kind"] = "hand"
    frame.loc[1, "name"] = None
    figure = plot_scores_3d(frame, "kind")
    draw(figure)
    labels = figure.axes[0].texts
    popular = {"resnet18", "vgg11_bn", "alexnet", "densenet121"}
    assert {label.get_text() for label in labels} == popular
    assert len(labels) == 4
    boxes = [matplotlib.text.Text.get_window_extent(label) for label in labels]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(figure.bbox.containsx(b.x0) and figure.bbox.containsy(b.y1) for b in boxes)


def test_scores_3d_many_names_are_not_written() -> None:
    """A group of hundreds is not labelled, even where every row has a name."""
    frame = make_groups().assign(name="net")
    assert len(plot_scores_3d(frame, "kind").axes[0].texts) == 4


def test_scores_3d_degenerate_rows_are_cut() -> None:
    """Rows with a degenerate reason set no limit and count as cut off."""
    frame = make_groups().assign(degenerate="")
    frame.loc[:9, SCORES] = list(WORST.values())
    frame.loc[:9, "degenerate"] = "no ReLU"
    without = plot_scores_3d(frame.iloc[10:], "kind")
    figure = plot_scores_3d(frame, "kind")
    for here, there in zip(points_3d(figure), points_3d(without), strict=True):
        assert np.array_equal(here, there)
    assert f"random (200, {201 - len(points_3d(figure)[1]) - 1} cut off)" in texts(figure)


def test_a_fourth_objective_is_the_size_of_the_points() -> None:
    """The title names it; with three objectives all points are alike."""
    made = make_history()
    made.insert(list(made).index("correlation") + 1, "energy", np.linspace(1, 9, len(made)))
    titles, sizes = [], []
    for history in (make_history(), made):
        figure = plot_offspring(history)
        titles.append(figure._suptitle.get_text())
        sizes.append({*figure.axes[0].collections[-1].get_sizes().tolist()})
    assert "energy" in titles[1]
    assert "energy" not in titles[0]
    assert len(sizes[0]) == 1 < len(sizes[1])
