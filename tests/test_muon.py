"""Muon: orthogonal steps of kernels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pymoo_nas.training._muon import Muon, orthogonal

SHAPES = [(8, 27), (27, 8), (16, 16), (1, 9), (9, 1)]


def random_matrix(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    """The result has the singular vectors of the matrix, and singular values of about one."""
    matrix = random_matrix(*shape).double()
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    found = u.T @ orthogonal(matrix) @ v.T
    telling = values > 0.01 * matrix.norm()
    assert torch.allclose(found, torch.diag(found.diagonal()), atol=1e-9)
    assert ((found.diagonal() > 0.65) & (found.diagonal() < 1.25))[telling].all()


def test_length_of_the_matrix_does_not_matter() -> None:
    """A matrix and a thousandth of it have the same orthogonal matrix."""
    matrix = random_matrix(8, 27)
    assert torch.allclose(orthogonal(matrix), orthogonal(0.001 * matrix), atol=1e-3)


def test_a_matrix_of_zeros_stays_one() -> None:
    """No direction is made up where there is no gradient."""
    assert torch.equal(orthogonal(torch.zeros(3, 5)), torch.zeros(3, 5))


@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (36, 2, 3, 3)])
def test_steps_are_those_of_the_definition(shape: tuple[int, ...]) -> None:
    """Two steps of a kernel follow the formula, written out; tall kernels move further."""
    kernel = nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(1)))
    expected = kernel.detach().flatten(1).clone()
    optimizer = Muon([kernel], lr=0.1, momentum=0.5)
    gradients = [random_matrix(*expected.shape, seed=seed) for seed in (2, 3)]
    buffer = torch.zeros_like(expected)
    for gradient in gradients:
        kernel.grad = gradient.reshape(shape)
        optimizer.step()
        buffer = 0.5 * buffer + gradient
        factor = max(1.0, expected.shape[0] / expected.shape[1]) ** 0.5
        expected = expected - 0.1 * factor * orthogonal(gradient + 0.5 * buffer)
    assert torch.allclose(kernel.detach().flatten(1), expected, atol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_agrees_with_torch(decay: float) -> None:
    """On matrices, ten steps are those of torch's Muon but for its rounding to bfloat16."""
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("torch has Muon from 2.9 on")
    ours, theirs = (nn.Parameter(random_matrix(6, 10)) for _ in range(2))
    one = Muon([ours], lr=0.05, weight_decay=decay, precision=torch.bfloat16)
    other = torch.optim.Muon([theirs], lr=0.05, momentum=0.9, weight_decay=decay)
    for seed in range(10):
        ours.grad = theirs.grad = random_matrix(6, 10, seed)
        one.step()
        other.step()
    moved = (theirs - random_matrix(6, 10)).norm()
    assert (ours - theirs).norm() < 0.02 * moved


def test_kernels_without_a_gradient_stay() -> None:
    """A kernel that took no part in the loss does not move, and has no state."""
    kernel = nn.Parameter(torch.ones(2, 2, 1, 1))
    optimizer = Muon([kernel], lr=0.1)
    optimizer.step()
    assert torch.equal(kernel, torch.ones(2, 2, 1, 1))
    assert not optimizer.state
