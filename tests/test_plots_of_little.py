"""Pictures where there is little or nothing to show, and tables that lack something."""

from __future__ import annotations

import io
from collections.abc import Callable

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from figures import draw, make_groups, make_history, texts
from matplotlib.figure import Figure

from pymoo_nas.errors import SearchError
from pymoo_nas.networks import PAPER_OPERATIONS
from pymoo_nas.plots import plot_cell, plot_evolution, plot_front, plot_offspring, plot_scores_3d
from pymoo_nas.spaces import Genotype

HISTORY_PLOTS = [plot_evolution, plot_offspring, plot_front]

UNUSABLE: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "empty": lambda frame: frame.iloc[:0],
    "empty without types": lambda frame: pd.DataFrame(columns=frame.columns),
    "infeasible": lambda frame: frame.assign(feasible=False),
    "degenerate": lambda frame: frame.assign(degenerate="no ReLU"),
    "NaN": lambda frame: frame.assign(activation=np.nan),
    "infinite": lambda frame: frame.assign(correlation=np.inf),
}
USABLE: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "one row": lambda frame: frame.iloc[:1].assign(degenerate="", feasible=True),
    "one generation": lambda frame: frame[frame["generation"] == 3],
    "equal scores": lambda frame: frame.assign(ntk=1.0, activation=2.0, correlation=3.0),
    "some NaN": lambda frame: frame.assign(ntk=frame["ntk"].where(frame.index % 3 > 0)),
    "no parameter count": lambda frame: frame.assign(params=np.nan),
    "no degenerate, read from CSV": lambda frame: pd.read_csv(
        io.StringIO(frame[frame["degenerate"] == ""].to_csv(index=False))
    ),
}


@pytest.mark.parametrize("plot", HISTORY_PLOTS)
@pytest.mark.parametrize("case", UNUSABLE)
def test_nothing_to_show_is_said(plot: Callable[..., Figure], case: str) -> None:
    """Without a usable candidate the figure says so; nothing is raised and nothing warns."""
    figure = plot(UNUSABLE[case](make_history(4, 5)))
    draw(figure)
    assert "no feasible candidate" in texts(figure)


@pytest.mark.parametrize("case", ["empty", "degenerate", "NaN"])
def test_scores_3d_nothing_to_show(case: str) -> None:
    """Fig. 4 without a finite score says so."""
    figure = plot_scores_3d(UNUSABLE[case](make_history(4, 5)), "genotype")
    draw(figure)
    assert "no feasible candidate" in texts(figure)


@pytest.mark.parametrize("plot", HISTORY_PLOTS)
@pytest.mark.parametrize("case", USABLE)
def test_little_to_show_is_shown(plot: Callable[..., Figure], case: str) -> None:
    """Small and uniform histories are drawn without a warning."""
    figure = plot(USABLE[case](make_history(4, 6)))
    draw(figure)
    assert "no feasible candidate" not in texts(figure)


@pytest.mark.parametrize("plot", HISTORY_PLOTS)
def test_missing_columns_are_named(plot: Callable[..., Figure]) -> None:
    """The error names every missing column."""
    lacking = make_history(2, 3).drop(columns=["ntk", "activation", "correlation", "feasible"])
    with pytest.raises(SearchError, match=r"lacks the columns .*ntk, activation, correlation;"):
        plot(lacking)


def test_missing_group_column_is_named() -> None:
    """The group's column is looked for as well."""
    with pytest.raises(SearchError, match="lacks the columns species"):
        plot_scores_3d(make_groups(), "species")


def test_text_in_place_of_numbers() -> None:
    """A score that is no number is an error of this package that names the column."""
    with pytest.raises(SearchError, match="column ntk: expected numbers"):
        plot_evolution(make_history(2, 3).assign(ntk="good"))


def test_nothing_global_changes() -> None:
    """No figure is left with pyplot, and the settings of matplotlib stay as they were."""
    before = matplotlib.rcParams.copy()
    history = make_history(3, 5)
    original = history.copy()
    for plot in HISTORY_PLOTS:
        draw(plot(history))
    draw(plot_scores_3d(make_groups(), "kind"))
    draw(plot_cell(Genotype.parse("0804"), PAPER_OPERATIONS))
    assert matplotlib.rcParams.copy() == before  # copies, for a look at rcParams picks a backend
    assert plt.get_fignums() == []
    pd.testing.assert_frame_equal(history, original)


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf, None])
@pytest.mark.parametrize("plot", [plot_evolution, plot_offspring])
def test_rows_of_no_generation(plot: Callable[..., Figure], strange: float | None) -> None:
    """A row whose generation is no number is refused by the column's name."""
    frame = make_history(2, 3).astype({"generation": float})
    frame.loc[1, "generation"] = strange
    with pytest.raises(SearchError, match="column generation"):
        plot(frame)
