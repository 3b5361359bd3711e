"""Entropy of a spectrum: whether a network's images, or its gradients, point in many directions."""

from __future__ import annotations

import numpy as np

from pymoo_nas.scores._from_kernels import EPS, Judgement, Matrix
from pymoo_nas.scores._objective import Measured, numbers

DECILES = np.arange(1, 10) / 10
"""The quantiles of the eigenvalues that take part, as published: all but the extremes, which are
noisy."""


def worst_entropy(n_images: int) -> float:
    """Above minus the entropy of every spectrum, which is at least 0."""
    del n_images
    return 1.0


def decile_entropy(kernel: Matrix) -> float:
    """The entropy of the nine deciles of a spectrum (Tybl 2025, VKDNW).

    Args:
        kernel: (N, N), symmetric, without negative eigenvalues.

    Returns:
        −Σ p log p of the deciles' shares p of their sum; from 0 to log 9, the larger the more even
        the spectrum.

    >>> round(decile_entropy(np.eye(4)), 3)
    2.197
    """
    eigenvalues = np.linalg.eigvalsh(kernel)
    # What is rounding of the largest one is zero.
    eigenvalues[eigenvalues < len(kernel) * EPS * eigenvalues[-1]] = 0.0
    deciles = np.quantile(eigenvalues, DECILES)
    total = deciles.sum()
    shares = deciles[deciles > 0] / total if total > 0 else np.ones(1)
    return float(-(shares * np.log(shares)).sum())


def ntk_entropy_score(ntk: Matrix) -> Judgement:
    """Minus the entropy of the spectrum of the tangent kernel, in place of its condition number.

    The published score takes the Fisher information of the parameters, whose eigenvalues are those
    of a kernel of gradients. Here it is the tangent kernel of cosines: large gradients of one image
    say nothing about the others.

    Args:
        ntk: (N, N), G Gᵀ of the per-image gradients of the summed logits.

    Returns:
        from −log 9 to 0, minimised; the worst value with a reason where an image has no gradient or
        one that is not finite.

    >>> round(ntk_entropy_score(np.diag([1.0, 100.0, 4.0])).value, 3)
    -2.197
    """
    if not np.isfinite(ntk).all():
        return Judgement(worst_entropy(len(ntk)), "NaN or overflow in the gradients")
    squares = np.diag(ntk)
    if not squares.any():
        return Judgement(worst_entropy(len(ntk)), "all gradients are zero")
    if not (squares > 0).all():
        return Judgement(worst_entropy(len(ntk)), "an image without a gradient")
    norms = np.sqrt(squares)
    return Judgement(-decile_entropy(ntk / norms[:, None] / norms))


def correlation_entropy_score(gradients: Matrix) -> Judgement:
    """Minus the entropy of the spectrum of the correlation of image gradients.

    Args:
        gradients: (N, D), gradients of the summed logits at the images.

    Returns:
        from −log 9 to 0, minimised; the worst value with a reason where a gradient is not finite or
        the same at every pixel.

    >>> correlation_entropy_score(np.array([[1.0, -1, 0], [1.0, -1, 0]])).value < 0
    True
    """
    worst = worst_entropy(len(gradients))
    if not np.isfinite(gradients).all():
        return Judgement(worst, "NaN or overflow in the gradients")
    if not gradients.any():
        return Judgement(worst, "output not connected to the input")
    centred = gradients - gradients.mean(1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1)
    if not (norms > gradients.shape[1] * EPS * np.linalg.norm(gradients, axis=1)).all():
        return Judgement(worst, "an image whose gradient is the same at every pixel")
    centred /= norms[:, None]
    return Judgement(-decile_entropy(centred @ centred.T))


def ntk_entropy(measured: Measured) -> Judgement:
    """`ntk_entropy_score` of the tangent kernel of the probe."""
    return ntk_entropy_score(numbers(measured.kernels.ntk))


def correlation_entropy(measured: Measured) -> Judgement:
    """`correlation_entropy_score` of the gradients at the images of the probe."""
    return correlation_entropy_score(measured.gradients)
