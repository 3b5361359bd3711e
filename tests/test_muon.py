"""Muon: orthogonal steps of kernels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pymoo_nas.training._matrix_batches import batches_of
from pymoo_nas.training._muon import Muon, _cost, orthogonal

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


MIXED = [
    (4, 3, 3, 3),
    (36, 2, 3, 3),
    (4, 27, 1, 1),
    (8, 3, 3, 3),
    (4, 3, 3, 3),
    (4, 27),
    (5, 1, 1, 1),
]
"""Kernels of which some are of equal shape, one is so when transposed, and others are alike."""


def one_by_one(matrix: Tensor) -> Tensor:
    """The orthogonal matrix of one matrix, by the polynomial written out."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x @ x.T @ x + 2.0315 * x @ x.T @ x @ x.T @ x
    return x if wide is matrix else x.T


def kernels_of(shapes: list[tuple[int, ...]], seed: int, *, last: bool) -> list[Tensor]:
    """Random kernels, or gradients, with the channels last in memory if wanted."""
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]
    if not last:
        return made
    return [x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for x in made]


@pytest.mark.parametrize("padded", [0.0, 2e4, 1e12])
@pytest.mark.parametrize("last", [False, True])
def test_batches_move_kernels_as_a_loop_does(padded: float, last: bool) -> None:
    """Kernels that share batches, padded or not, in any memory format, move as one by one."""
    kernels = [nn.Parameter(kernel) for kernel in kernels_of(MIXED, 0, last=last)]
    expected = kernels_of(MIXED, 0, last=False)
    buffers = [torch.zeros_like(kernel) for kernel in expected]
    optimizer = Muon(kernels, lr=0.1, weight_decay=0.2, precision=torch.float64, padded=padded)
    for seed in range(1, 4):
        gradients = kernels_of(MIXED, seed, last=last)
        for place, (kernel, gradient) in enumerate(zip(kernels, gradients, strict=True)):
            kernel.grad = gradient
            buffers[place] = 0.9 * buffers[place] + gradient
            matrix = (gradient + 0.9 * buffers[place]).flatten(1)
            step = max(1, len(matrix) / matrix.shape[1]) ** 0.5 * one_by_one(matrix)
            expected[place] = 0.98 * expected[place] - 0.1 * step.reshape(kernel.shape)
        optimizer.step()
    for kernel, other in zip(kernels, expected, strict=True):
        assert torch.allclose(kernel, other, atol=1e-12)
        assert kernel.is_contiguous() or last


@pytest.mark.parametrize(("padded", "n_batches"), [(0, 4), (1e12, 1)])
def test_padding_saves_batches(padded: float, n_batches: int) -> None:
    """Equal shapes share a batch; with padding all do, as far as the work allows."""
    shapes = [(len(x), x[0].numel()) for x in kernels_of(MIXED, 0, last=False)]
    batches = batches_of(shapes, padded, _cost, torch.device("cpu"))
    assert len(batches) == n_batches
    assert sorted(member for batch in batches for member in batch.members) == [*range(len(shapes))]


def test_padding_stops_where_it_costs_too_much() -> None:
    """A small matrix joins another small one, and not a large one."""
    shapes = [(8, 72), (8, 80), (512, 4608)]
    batches = batches_of(shapes, 1e6, _cost, torch.device("cpu"))
    assert sorted(batch.shape for batch in batches) == [(1, 512, 4608), (2, 8, 80)]


def test_kernels_of_several_formats_move_together() -> None:
    """Kernels of double and single precision are moved by one optimizer, each in its format."""
    kernels = [nn.Parameter(torch.ones(2, 3, dtype=kind)) for kind in (torch.float32, torch.double)]
    optimizer = Muon(kernels, lr=0.1)
    for kernel in kernels:
        kernel.grad = torch.ones_like(kernel)
    optimizer.step()
    assert [kernel.dtype for kernel in kernels] == [torch.float32, torch.double]
    assert torch.allclose(kernels[0].double(), kernels[1], atol=1e-5)
    assert not torch.equal(kernels[1], torch.ones_like(kernels[1]))


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
