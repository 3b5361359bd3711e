"""The scale of objectives: ideal, nadir and reference point of what a search has found.

Objectives have different extents: `activation` runs over hundreds, `ntk` over units. Degenerate
candidates have values far beyond all others and play no part.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from pymoo_nas.errors import SearchError

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

BEYOND = 1.1
"""Where the reference point lies, in units from the ideal (0) to the nadir point (1)."""


class Scale(NamedTuple):
    """The points between which a front lies; all objectives are minimised.

    Attributes:
        ideal: (m,), the best value of each objective.
        nadir: (m,), the worst value of each objective among the non-dominated.
    """

    ideal: Vector
    nadir: Vector

    @classmethod
    def of(cls, scores: Matrix) -> Scale:
        """The scale of candidates.

        Args:
            scores: (n, m), without degenerate candidates.

        Raises:
            SearchError: none, or a value that is not finite.

        >>> Scale.of(np.array([[0.0, 9.0], [4.0, 1.0], [8.0, 9.0]])).nadir.tolist()
        [4.0, 9.0]
        """
        scores = np.asarray(scores, dtype=float)
        if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
            raise SearchError(
                f"a scale of scores of shape {scores.shape}; expected (n, m), finite, n > 0: "
                "F of candidates that are not degenerate"
            )
        front = NonDominatedSorting().do(scores, only_non_dominated_front=True)
        return cls(scores.min(axis=0), scores[front].max(axis=0))

    @property
    def reference(self) -> Vector:
        """(m,), a tenth of the extent beyond the nadir point: for the hypervolume."""
        return self.ideal + BEYOND * self.extent

    @property
    def extent(self) -> Vector:
        """(m,), from the ideal to the nadir point; 1 where both are equal."""
        extent = self.nadir - self.ideal
        return np.where(extent > 0, extent, 1.0)

    def normalised(self, scores: Matrix) -> Matrix:
        """Scores (n, m) in units from the ideal point (0) to the nadir point (1)."""
        return (np.asarray(scores, dtype=float) - self.ideal) / self.extent
