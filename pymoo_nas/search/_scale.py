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


class Scaled:
    """What a problem tells of the scale of its objectives; all points are (m,)."""

    _found: list[tuple[float, ...]]
    """F of all scored candidates that keep the constraints and are not degenerate."""

    def scale(self, scores: Matrix | None = None) -> Scale:
        """Ideal and nadir point.

        Args:
            scores: (n, m), F of candidates that are not degenerate; None takes all that this
                problem has scored which keep the limits and other constraints.

        Raises:
            SearchError: there are none.
        """
        return Scale.of(np.array(self._found, dtype=float) if scores is None else scores)

    def ideal_point(self, scores: Matrix | None = None) -> Vector:
        """The best value of each objective; see `scale`."""
        return self.scale(scores).ideal

    def nadir_point(self, scores: Matrix | None = None) -> Vector:
        """The worst value of each objective among the non-dominated; see `scale`."""
        return self.scale(scores).nadir

    def reference_point(self, scores: Matrix | None = None) -> Vector:
        """A reference for the hypervolume, a tenth beyond the nadir point; see `scale`."""
        return self.scale(scores).reference

    def normalise(self, F: Matrix, scores: Matrix | None = None) -> Matrix:
        """Map F (n, m) so that 0 is the ideal point and 1 the nadir point; see `scale`."""
        return self.scale(scores).normalised(F)
