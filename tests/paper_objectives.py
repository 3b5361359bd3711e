"""The columns and the worst values of a search by the paper's objectives."""

from __future__ import annotations

from pymoo_nas.scores import PAPER_OBJECTIVES, column_types, read_objectives, worst_values

HISTORY_TYPES = column_types(PAPER_OBJECTIVES)
FRONT_TYPES = column_types(PAPER_OBJECTIVES, survivors=True)


def worst_scores(n_images: int) -> tuple[float, ...]:
    """Of a degenerate network."""
    return worst_values(read_objectives(PAPER_OBJECTIVES), n_images)
