"""Kernels → objectives: cases that can be done on paper, degenerate ones, invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paper_objectives import worst_scores

from pymoo_nas.scores import PAPER_OBJECTIVES
from pymoo_nas.scores._from_kernels import (
    EPS,
    RIDGE,
    Matrix,
    activation_score,
    correlation_score,
    ntk_score,
    similarity,
    squared_distances,
)

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(2, 8)


def gaussian(n: int, columns: int, seed: int) -> Matrix:
    return np.random.default_rng(seed).standard_normal((n, columns))


def signs_kernel(on: Matrix) -> Matrix:
    """Number of columns in which two rows of a 0/1 matrix agree."""
    return on @ on.T + (1 - on) @ (1 - on).T


def test_names_of_objectives() -> None:
    """There are three objectives, in the order of F."""
    assert PAPER_OBJECTIVES == ("ntk", "activation", "correlation")
    assert len(worst_scores(2)) == len(PAPER_OBJECTIVES)


def test_ntk_of_two_images() -> None:
    """f(x) = w·x with two weights: κ of the inputs' own Gram matrix.

    The gradient of f at x_i with respect to w is x_i. With x_1 = (1, 0), x_2 = (1, 1):
    K = [[1, 1], [1, 2]], whose eigenvalues are (3 ± √5)/2, so κ = ((3 + √5)/2)² as their product
    is det K = 1.
    """
    x = np.array([[1.0, 0.0], [1.0, 1.0]])
    judgement = ntk_score(x @ x.T)
    assert judgement.reason == ""
    assert judgement.value == pytest.approx(2 * math.log10((3 + math.sqrt(5)) / 2), rel=1e-14)


def test_ntk_of_correlated_gradients() -> None:
    """K = [[1, r], [r, 1]] has the eigenvalues 1 ± r: κ = (1 + r)/(1 − r), for r = 0.8 it is 9."""
    assert ntk_score(np.array([[1, 0.8], [0.8, 1]])).value == pytest.approx(math.log10(9))


def test_activation_of_two_images() -> None:
    """Codes 1100 and 1010 agree in 2 of 4 units: −log det [[4, 2], [2, 4]] = −log 12."""
    kernel = signs_kernel(np.array([[1.0, 1, 0, 0], [1, 0, 1, 0]]))
    assert kernel.tolist() == [[4, 2], [2, 4]]
    judgement = activation_score(kernel)
    assert judgement.value == pytest.approx(-math.log(12), rel=1e-14)
    assert judgement.reason == ""


def test_activation_of_opposite_images() -> None:
    """Codes that agree nowhere: det [[4, 0], [0, 4]] = 16, the best of 4 units on two images."""
    kernel = signs_kernel(np.array([[1.0, 1, 0, 0], [0, 0, 1, 1]]))
    assert activation_score(kernel).value == pytest.approx(-math.log(16))


def test_correlation_of_two_images() -> None:
    """Two gradients of correlation r = 1/2, whose images are at the median distance.

    (1, −1, 0) and (1, 0, −1) have mean 0, squared norm 2, product 1: r = 1/2. With two images the
    only distance is the median, so s = exp(−1) and the entry is c = (1 − 1/(2e))/2; the eigenvalues
    of [[1, c], [c, 1]] are 1 ± c, each with the ridge.
    """
    gradients = np.array([[1.0, -1, 0], [1, 0, -1]])
    distances = np.array([[0.0, 3], [3, 0]])
    c = (1 - 1 / (2 * math.e)) / 2
    expected = -math.log(1 + c + RIDGE) - math.log(1 - c + RIDGE)
    assert correlation_score(gradients, distances).value == pytest.approx(expected, rel=1e-12)


def test_correlation_of_equal_gradients() -> None:
    """Equal gradients at different images are bad, but the weight keeps them finite.

    r = 1, so c = 1 − 1/(2e).
    """
    gradients = np.array([[1.0, -1, 0], [1, -1, 0]])
    distances = np.array([[0.0, 3], [3, 0]])
    c = 1 - 1 / (2 * math.e)
    assert correlation_score(gradients, distances).value == pytest.approx(
        -math.log(1 - c * c), rel=1e-5
    )


def test_different_images_weigh_more() -> None:
    """The same correlation is worse between images that differ more."""
    gradients = np.array([[1.0, -1, 0, 0], [1, -1, 0, 0], [0, 0, 1, -1]])
    near = np.array([[0.0, 1, 4], [1, 0, 4], [4, 4, 0]])
    far = np.array([[0.0, 8, 4], [8, 0, 4], [4, 4, 0]])
    assert correlation_score(gradients, near).value < correlation_score(gradients, far).value


@given(sizes, seeds)
def test_distances(n: int, seed: int) -> None:
    """Squared distances equal the loop over pairs."""
    images = gaussian(n, 5, seed)
    loop = [[((a - b) ** 2).sum() for b in images] for a in images]
    np.testing.assert_allclose(squared_distances(images), loop, atol=1e-12)


def test_similarity() -> None:
    """An image is similar to itself, images at the median distance by exp(−1)."""
    distances = np.array([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]])
    expected = np.exp(-distances / 2)
    np.testing.assert_allclose(similarity(distances), expected)
    assert (similarity(np.zeros((2, 2))) == 1).all()


@given(sizes, seeds, st.floats(1e-3, 1e3))
def test_ntk_ignores_scale_order_and_rotation(n: int, seed: int, scale: float) -> None:
    """κ is the same for scaled gradients, images in another order, and rotated parameters."""
    rows = gaussian(n, n + 4, seed)
    rotation = np.linalg.qr(gaussian(n + 4, n + 4, seed))[0]
    value = ntk_score(rows @ rows.T).value
    order = np.random.default_rng(seed).permutation(n)
    changed = scale * rows[order] @ rotation
    assert ntk_score(changed @ changed.T).value == pytest.approx(value, abs=1e-6)


@given(sizes, seeds)
def test_activation_ignores_order_and_complements(n: int, seed: int) -> None:
    """Images in another order, and units whose sign is turned, change nothing."""
    on = (gaussian(n, 60, seed) > 0).astype(np.float64)
    value = activation_score(signs_kernel(on)).value
    rng = np.random.default_rng(seed)
    turned = np.where(rng.random(60) < 0.5, on, 1 - on)[rng.permutation(n)]
    assert activation_score(signs_kernel(turned)).value == pytest.approx(value, abs=1e-6)


@given(sizes, seeds, st.floats(0.1, 10), st.floats(-3, 3))
def test_correlation_ignores_scale_and_offset(
    n: int, seed: int, scale: float, offset: float
) -> None:
    """A correlation does not see what is added to, or multiplied with, all of a gradient."""
    gradients, images = gaussian(n, 9, seed), gaussian(n, 5, seed + 1)
    distances = squared_distances(images)
    value = correlation_score(gradients, distances).value
    changed = correlation_score(gradients * scale + offset, distances).value
    assert changed == pytest.approx(value, abs=1e-6)


@given(st.floats(0, 0.98), st.floats(0.005, 0.02))
def test_all_scores_grow_with_the_likeness_of_two_images(r: float, step: float) -> None:
    """The more alike the network sees two images, the larger (worse) each of the three."""

    def kernel(r: float) -> Matrix:
        return np.array([[1, r], [r, 1]])

    def gradients(r: float) -> Matrix:
        # Correlation r: r·u + √(1 − r²)·v with orthogonal u, v of mean 0.
        u, v = np.array([1.0, -1, 0, 0]), np.array([0.0, 0, 1, -1])
        return np.stack([u, r * u + math.sqrt(1 - r * r) * v])

    distances = np.array([[0.0, 1], [1, 0]])
    for score in (
        lambda r: ntk_score(kernel(r)).value,
        lambda r: activation_score(kernel(r)).value,
        lambda r: correlation_score(gradients(r), distances).value,
    ):
        assert score(r + step) > score(r)


@given(sizes, seeds)
def test_no_score_is_worse_than_the_worst(n: int, seed: int) -> None:
    """Kernels of rank one, with their rounding, give at most the worst values and a reason."""
    row = gaussian(1, 12, seed)
    rows = np.repeat(row, n, axis=0)
    ntk, activation, correlation = worst_scores(n)
    judgement = ntk_score(rows @ rows.T)
    assert judgement.reason == "singular tangent kernel"
    assert 10 < judgement.value <= ntk
    judgement = activation_score(signs_kernel((rows > 0).astype(np.float64)))
    assert judgement.reason == "two images with the same activations"
    assert 0 < judgement.value <= activation
    distances = squared_distances(np.repeat(row, n, axis=0))
    assert 0 < correlation_score(rows, distances).value <= correlation


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite(bad: float) -> None:
    """NaN and overflow anywhere give the worst values and a reason."""
    kernel = np.eye(3)
    kernel[1, 2] = bad
    worst = worst_scores(3)
    judgements = (
        ntk_score(kernel),
        activation_score(kernel),
        correlation_score(kernel, np.ones((3, 3))),
    )
    for judgement, value in zip(judgements, worst, strict=True):
        assert judgement.value == value
        assert "NaN or overflow" in judgement.reason


def test_nothing_there() -> None:
    """Zero gradients and no ReLUs give the worst values and a reason."""
    zero = np.zeros((3, 3))
    assert ntk_score(zero) == (worst_scores(3)[0], "all gradients are zero")
    assert activation_score(zero) == (worst_scores(3)[1], "no ReLU")
    assert correlation_score(zero, np.ones((3, 3))) == (
        worst_scores(3)[2],
        "output not connected to the input",
    )


def test_constant_gradient_of_one_image() -> None:
    """An image whose gradient is the same at every pixel has no correlation with others."""
    gradients = np.array([[0.1, 0.1, 0.1], [1, 2, 3], [3, 1, 2]])
    judgement = correlation_score(gradients, np.ones((3, 3)))
    assert judgement == (worst_scores(3)[2], "an image whose gradient is the same at every pixel")


def test_negative_eigenvalues_do_not_count_as_large() -> None:
    """A λ_min that rounding made negative is floored, never taken by its absolute value."""
    kernel = np.array([[1, 1 + 1e-12], [1 + 1e-12, 1]])
    assert np.linalg.eigvalsh(kernel)[0] < -1e-13
    judgement = ntk_score(kernel)
    assert judgement.reason == "singular tangent kernel"
    assert judgement.value == pytest.approx(math.log10(1 / (2 * EPS)))


def test_floor_is_not_hit_by_a_bad_but_proper_kernel() -> None:
    """κ of 10^13 is bad and no degenerate case."""
    judgement = ntk_score(np.diag([1.0, 1e-13]))
    assert judgement == (pytest.approx(13), "")
