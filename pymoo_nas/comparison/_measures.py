"""What is measured of a search: hypervolume over evaluations, and the attainment of several.

All objectives are minimised. The hypervolume is normalised by a `Box`, which is the same for all
searches of a comparison: 0 where nothing is within, 1 where the ideal point itself was found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pymoo.indicators.hv import Hypervolume
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

REFERENCE_SHARE = 0.9
"""So many of all candidates are better than the reference point in an objective: no outlier
decides where it is."""


@dataclass(frozen=True)
class Box:
    """Where hypervolume is measured.

    Attributes:
        ideal: (m,), the best value of each objective.
        reference: (m,), the worst value that still counts.
    """

    ideal: Vector
    reference: Vector

    @classmethod
    def around(cls, points: Matrix) -> Box:
        """The box of many candidates: the best value and the quantile of `REFERENCE_SHARE`.

        Args:
            points: (n, m), of all searches together; without any the box is that from 0 to 1.
        """
        if len(points) == 0:
            return cls(np.zeros(points.shape[1]), np.ones(points.shape[1]))
        return cls(points.min(axis=0), np.quantile(points, REFERENCE_SHARE, axis=0))

    def hypervolume(self, points: Matrix) -> float:
        """The share of the box that points (n, m) dominate, from 0 to 1.

        An objective without extent does not count, but for points that are worse in it.
        """
        extent = self.reference - self.ideal
        scaled = (points - self.ideal) / np.where(extent > 0, extent, 1.0)
        scaled = np.where(extent > 0, scaled, points > self.ideal)
        # In another order the same points would differ in the last bit, and rank as unequal.
        scaled = scaled[np.lexsort(scaled.T)]
        return float(Hypervolume(ref_point=np.ones(len(self.ideal))).do(scaled))


def front_of(points: Matrix) -> Matrix:
    """The non-dominated ones of points (n, m), each once."""
    if len(points) == 0:
        return points
    front = NonDominatedSorting().do(points, only_non_dominated_front=True)
    return np.unique(points[front], axis=0)


def hypervolume_curve(values: Matrix, counts: Mask, box: Box) -> Vector:
    """The hypervolume after each evaluation.

    Args:
        values: (n, m), in the order of scoring.
        counts: (n,), which of them are sound and feasible.
        box: of the comparison.

    Returns:
        (n,), never falling.
    """
    curve = np.zeros(len(values))
    front, reached = values[:0], 0.0
    for place, (point, good) in enumerate(zip(values, counts, strict=True)):
        # What an earlier one equals or dominates adds nothing.
        if good and not (front <= point).all(axis=1).any():
            front = np.vstack([front[~(point <= front).all(axis=1)], point])
            reached = box.hypervolume(front)
        curve[place] = reached
    return curve


def attainment_surface(runs: Sequence[Matrix], share: float = 0.5) -> Matrix:
    """The corners of the region that a share of several runs attains (Grunert da Fonseca 2001).

    A run attains a point of the plane where one of its own is as good or better in both objectives.
    For each first coordinate x that occurs, let y be the best second coordinate of a run among its
    points up to x: the k-th smallest y of all runs is where k of them attain (x, y).

    Args:
        runs: (n, 2) each, both minimised.
        share: of the runs, rounded up to whole runs; 0.5 is the median.

    Returns:
        (corners, 2), ascending in the first coordinate and descending in the second; none where too
        few runs attain anything.
    """
    needed = max(1, math.ceil(share * len(runs)))
    corners: list[tuple[float, float]] = []
    for x in sorted({float(point[0]) for run in runs for point in run}):
        reached = sorted(
            min((float(point[1]) for point in run if point[0] <= x), default=math.inf)
            for run in runs
        )
        y = reached[needed - 1]
        if y < (corners[-1][1] if corners else math.inf):
            corners.append((x, y))
    return np.array(corners, dtype=float).reshape(len(corners), 2)
