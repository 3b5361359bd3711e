"""Pictures of a search and of its cells."""

from pymoo_nas.plots._cell import plot_cell
from pymoo_nas.plots._comparison import plot_attainment, plot_hypervolume
from pymoo_nas.plots._plots import (
    front_limits,
    plot_evolution,
    plot_front,
    plot_offspring,
    plot_scores_3d,
)
from pymoo_nas.plots._style import save_figure

__all__ = [
    "front_limits",
    "plot_attainment",
    "plot_cell",
    "plot_evolution",
    "plot_front",
    "plot_hypervolume",
    "plot_offspring",
    "plot_scores_3d",
    "save_figure",
]
