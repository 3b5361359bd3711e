"""Jacobian covariance: how differently a network answers to small changes of different images."""

from __future__ import annotations

import math

import numpy as np

from pymoo_nas.scores._from_kernels import Judgement, Matrix
from pymoo_nas.scores._objective import Measured

SHIFT = 1e-5
"""Added to the eigenvalues of the correlation matrix, as published."""


def worst_jacob_cov(n_images: int) -> float:
    """Above `jacob_cov_score` of every matrix of N images: no term exceeds that of λ = 0."""
    return n_images * (math.log(SHIFT) + 1 / SHIFT) + 1.0


def jacob_cov_score(gradients: Matrix) -> Judgement:
    """The negative of the score of Mellor 2020 (first version; "jacob_cov" in Abdelfattah 2021).

    Args:
        gradients: (N, D), gradients of the summed logits at the images.

    Returns:
        Σ (log(λ + k) + 1/(λ + k)) over the eigenvalues λ of the correlation matrix of the rows,
        k = `SHIFT`; minimised, at least N for rows that are not correlated at all.

    >>> round(jacob_cov_score(np.array([[1.0, -1, 0, 0], [0, 0, 1, -1]])).value, 3)
    2.0
    """
    worst = worst_jacob_cov(len(gradients))
    if not np.isfinite(gradients).all():
        return Judgement(worst, "NaN or overflow in the gradients")
    spread = gradients.std(axis=1)
    if not (spread > 0).all():
        return Judgement(worst, "an image whose gradient is the same at every pixel")
    eigenvalues = np.maximum(np.linalg.eigvalsh(np.corrcoef(gradients)), 0) + SHIFT
    return Judgement(float((np.log(eigenvalues) + 1 / eigenvalues).sum()))


def jacob_cov(measured: Measured) -> Judgement:
    """`jacob_cov_score` of the gradients at the images of the probe, with calibrated norms."""
    return jacob_cov_score(measured.gradients)
