"""Compute objectives from kernels: mathematics only, no hooks, data sets or pymoo.

All three are minimised. A failure gives a reason and a finite value that no proper network can
reach (`worst_ntk` and the like). It never gives an exception, NaN, or a value that wins.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

RIDGE = 1e-6
"""Number added to the eigenvalues of the gradient correlation, after clamping at zero."""

EPS = float(np.finfo(np.float64).eps)


class Judgement(NamedTuple):
    """One score, with a reason where it is degenerate."""

    value: float
    reason: str = ""


def worst_ntk(n_images: int) -> float:
    """Return a value above `ntk_score` of every kernel of N images: κ ≤ 1/(N·eps)."""
    del n_images
    return math.log10(1 / EPS)


def worst_activation(n_images: int) -> float:
    """Return a value above `activation_score` of N images: λ ≥ N·eps·λ_max and λ_max ≥ 1."""
    return n_images * math.log(1 / EPS)


def worst_correlation(n_images: int) -> float:
    """Return a value above `correlation_score` of N images: each eigenvalue is ≥ `RIDGE`."""
    return n_images * math.log(1 / RIDGE)


def ntk_score(ntk: Matrix) -> Judgement:
    """Compute log10 of the neural tangent kernel's condition number (Chen 2021, TE-NAS).

    Args:
        ntk: (N, N), G Gᵀ of the per-image gradients of the summed logits.

    Returns:
        log10(λ_max / λ_min), at least 0, minimised; λ_min is floored at N·eps·λ_max, and a reason
        is given when the floor was hit.

    >>> ntk_score(np.array([[2.0, 0.0], [0.0, 0.02]])).value
    2.0
    """
    n = len(ntk)
    if not np.isfinite(ntk).all():
        return Judgement(worst_ntk(n), "NaN or overflow in the gradients")
    eigenvalues = np.linalg.eigvalsh(ntk)
    largest = eigenvalues[-1]
    if largest <= 0:
        return Judgement(worst_ntk(n), "all gradients are zero")
    floor = n * EPS * largest
    smallest = max(eigenvalues[0], floor)
    reason = "singular tangent kernel" if eigenvalues[0] <= floor else ""
    return Judgement(float(math.log10(largest / smallest)), reason)


def activation_score(agreement: Matrix) -> Judgement:
    """Compute −log det of the agreement kernel of the ReLU codes (Mellor 2021, NASWOT).

    Args:
        agreement: (N, N), number of units on which two images are both on or both off.

    Returns:
        −Σ log λ, minimised; eigenvalues are floored at N·eps·λ_max, and a reason is given when the
        floor was hit (two images with the same code).

    >>> score = activation_score(np.array([[4.0, 2.0], [2.0, 4.0]]))
    >>> math.isclose(score.value, -math.log(4 * 4 - 2 * 2))
    True
    """
    n = len(agreement)
    if not np.isfinite(agreement).all():
        return Judgement(worst_activation(n), "NaN or overflow in the activations")
    if not agreement.any():
        return Judgement(worst_activation(n), "no ReLU")
    eigenvalues = np.linalg.eigvalsh(agreement)
    floor = n * EPS * eigenvalues[-1]
    reason = "two images with the same activations" if eigenvalues[0] <= floor else ""
    return Judgement(float(-np.log(np.maximum(eigenvalues, floor)).sum()), reason)


def correlation_score(gradients: Matrix, distances: Matrix) -> Judgement:
    """Compute −log det of the weighted correlation of image gradients (the paper's third).

    The correlation of images i ≠ j is multiplied by 1 − s_ij/2 with
    s_ij = exp(−‖x_i − x_j‖² / median), so that different images weigh more.

    Args:
        gradients: (N, D), gradients of the summed logits at the images.
        distances: (N, N), squared distances of the images, see `squared_distances`.

    Returns:
        −Σ log(max(λ, 0) + `RIDGE`), at least 0 up to the ridge, minimised.

    >>> correlation_score(np.array([[1.0, -1, 0, 0], [0, 0, 1, -1]]), np.ones((2, 2))).value < 1e-5
    True
    """
    n = len(gradients)
    worst = worst_correlation(n)
    if not np.isfinite(gradients).all():
        return Judgement(worst, "NaN or overflow in the gradients")
    centred = gradients - gradients.mean(1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1)
    if not gradients.any():
        return Judgement(worst, "output not connected to the input")
    if not (norms > gradients.shape[1] * EPS * np.linalg.norm(gradients, axis=1)).all():
        return Judgement(worst, "an image whose gradient is the same at every pixel")
    centred /= norms[:, None]
    correlation = centred @ centred.T
    weighted = correlation * (1 - similarity(distances) / 2)
    np.fill_diagonal(weighted, 1.0)
    eigenvalues = np.maximum(np.linalg.eigvalsh(weighted), 0)
    return Judgement(float(-np.log(eigenvalues + RIDGE).sum()))


def similarity(distances: Matrix) -> Matrix:
    """Compute s_ij = exp(−‖x_i − x_j‖² / median over i < j), (N, N)."""
    median = float(np.median(distances[np.triu_indices(len(distances), k=1)]))
    return np.exp(-distances / (median if median > 0 else 1.0))


def squared_distances(images: Matrix) -> Matrix:
    """Compute ‖x_i − x_j‖² of flattened images (N, D), never negative, zero on the diagonal."""
    squares = np.einsum("nd,nd->n", images, images)
    distances: Matrix = np.maximum(squares[:, None] + squares[None, :] - 2 * images @ images.T, 0)
    np.fill_diagonal(distances, 0.0)
    return distances
