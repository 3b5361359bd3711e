"""Pictures of a comparison against its tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from figures import draw, texts

from pymoo_nas import SearchError, compare, plot_attainment, plot_hypervolume
from pymoo_nas.plots import plot_evolution, plot_front, plot_offspring, plot_scores_3d
from pymoo_nas.plots._style import COLOURS

RNG = np.random.default_rng(0)


def history(n: int = 12) -> pd.DataFrame:
    """A history of three objectives."""
    table = pd.DataFrame(RNG.normal(0, 1, (n, 3)), columns=["ntk", "activation", "correlation"])
    return table.assign(genotype="8", params=1, degenerate="", feasible=True)


@pytest.fixture(scope="module")
def comparison() -> Any:
    """Three runs of one label, one of another."""
    return compare({"many": [history() for _ in range(3)], "_one $x$": [history(9)]})


def test_hypervolume_draws_the_curves(comparison: Any) -> None:
    """A line per label is its mean; a label of several runs has a band from least to largest."""
    figure = plot_hypervolume(comparison)
    draw(figure)
    (axes,) = figure.axes
    for line, (label, rows) in zip(
        axes.get_lines(), comparison.curves.groupby("label", sort=False), strict=True
    ):
        assert line.get_xydata().tolist() == rows[["evaluations", "mean"]].to_numpy().tolist()
        assert line.get_label().startswith(f" {label} (n = ")
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    many = comparison.curves[comparison.curves["label"] == "many"]
    assert heights.min() == many["min"].min()
    assert heights.max() == many["max"].max()
    assert "higher is better" in texts(figure)


def test_names_with_a_dollar_are_drawn_as_they_are() -> None:
    """Neither an odd one nor a pair begins a formula, on axes, in titles and in legends."""
    names = {"ntk": "cost $x^{$", "activation": "$_{", "correlation": "$a$"}
    table = history(30).rename(columns=names).assign(generation=1)
    table = table[["generation", "genotype", *names.values(), "params", "degenerate", "feasible"]]
    found = compare({"$x$": [history()]})
    corners = found.attainment.replace(names)
    groups = table.assign(**{"$kind$": "$one^{$"})
    for figure in (
        *(plot_hypervolume(found), plot_attainment(corners), plot_evolution(table)),
        *(plot_front(table), plot_offspring(table), plot_scores_3d(groups, "$kind$")),
    ):
        draw(figure)
    for name in names.values():
        assert name in texts(plot_front(table))


def test_attainment_draws_the_corners(comparison: Any) -> None:
    """Each pair has a panel, in which a staircase per label goes through its corners."""
    figure = plot_attainment(comparison)
    draw(figure)
    corners = comparison.attainment
    pairs = corners.groupby(["objective_x", "objective_y"], sort=False)
    for axes, (_, rows) in zip(figure.axes, pairs, strict=True):
        lines = zip(axes.get_lines(), rows.groupby("label", sort=False), strict=True)
        for line, (_, own) in lines:
            assert line.get_xydata()[1:-1].tolist() == own[["x", "y"]].to_numpy().tolist()
            assert line.get_drawstyle() == "steps-post"
    assert "lower is better" in texts(figure)


def test_one_candidate_is_a_point() -> None:
    """A run of one candidate is drawn, where a line would have no extent."""
    (axes,) = plot_hypervolume(compare({"a": [history(1)], "b": [history(1)]})).axes
    assert [line.get_marker() for line in axes.get_lines()] == ["o", "o"]


@pytest.mark.parametrize("n_objectives", [2, 3])
@pytest.mark.parametrize("n_labels", [1, 3])
def test_long_labels_stay_in_the_picture(n_objectives: int, n_labels: int) -> None:
    """Labels with many settings lie below each other, and break where they are too long."""
    long = "evolutive, generations 30, population 10, offspring 20, max age 7, tournament every 3"
    names = ["ntk", "activation", "correlation"][:n_objectives]
    groups = {f"{long}, {n}": [history()[["genotype", *names]]] for n in range(n_labels)}
    for plot in (plot_hypervolume, plot_attainment):
        figure = plot(compare(groups))
        draw(figure)
        for box in (figure.legends[0].get_window_extent(), *titles(figure)):
            assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert all(f"age 7, tournament every 3, {n}" in unbroken(figure) for n in range(n_labels))


def titles(figure: Any) -> list[Any]:
    """The places of the titles of a figure and of its panels."""
    drawn = [figure.get_suptitle() and figure._suptitle, *(axes.title for axes in figure.axes)]
    return [text.get_window_extent() for text in drawn if text and text.get_text()]


def unbroken(figure: Any) -> str:
    """All texts of a figure, without the ends of lines."""
    return " ".join(texts(figure).split())


def test_a_label_keeps_its_colour(comparison: Any) -> None:
    """A label has one colour in all panels, also where another one has no corner."""
    corners = comparison.attainment
    first = (corners["label"] == "many") & (corners["objective_x"] == "ntk")
    figure = plot_attainment(corners[~first])
    colours = [[line.get_color() for line in axes.get_lines()] for axes in figure.axes]
    assert colours == [[COLOURS[0]], [COLOURS[0]], [COLOURS[1], COLOURS[0]]]


def test_nothing_to_draw(comparison: Any) -> None:
    """Empty tables are drawn with a note."""
    assert "no feasible candidate" in texts(plot_attainment(comparison.attainment[:0]))
    assert "no feasible candidate" in texts(plot_hypervolume(comparison.curves[:0]))
    nothing = comparison.curves.assign(mean=0.0, min=0.0, max=0.0)
    assert "no feasible candidate" in texts(plot_hypervolume(nothing))


@pytest.mark.parametrize("wrong", [3, pd.DataFrame({"label": []}), "curves"])
def test_other_things_are_refused(wrong: Any) -> None:
    """What is no comparison and none of its tables is refused in words."""
    for plot in (plot_hypervolume, plot_attainment):
        with pytest.raises(SearchError, match="expected a comparison or its"):
            plot(wrong)
