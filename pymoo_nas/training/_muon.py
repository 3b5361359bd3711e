"""The optimizer Muon (Jordan 2024): it makes the momentum of each kernel orthogonal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pymoo_nas.training._matrix_batches import MatrixBatch, batches_of

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients a, b, c of a x + b x³ + c x⁵. This polynomial moves singular values towards 1."""

N_ITERATIONS = 5

PADDED = 1e9
"""Multiplications per step that padding may add to join two batches on CUDA: a card that makes 10
to 50 million million a second needs less time for them than a processor to start another batch.
studies/gpu_speed.py measures it on a card; no card has been measured yet."""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose steps are made orthogonal, for kernels of convolutions.

    All directions of a kernel then move equally far, so that rare directions are learned too. The
    learning rate alone decides the length of a step, not the gradient. `torch.optim.Muon` takes
    matrices only, one by one, and multiplies in bfloat16, which is slow on processors without
    bfloat16. Here kernels of equal shape are multiplied in one batch. On CUDA, where each operation
    costs time to start, kernels of similar shapes share a batch too, padded with zeros.

    Args:
        kernels: tensors of two or more dimensions, each seen as a matrix (outputs, all the rest).
        lr: spectral norm of a step, times √(rows / columns) where there are more rows.
        momentum: share of the earlier gradients, in [0, 1).
        weight_decay: share of the kernel that a step of length 1 takes away (Loshchilov 2019).
        precision: number format of the products; kernels and momenta keep theirs.
        padded: multiplications by which padding may add to a step for each batch that it saves;
            None takes `PADDED` on CUDA and 0 elsewhere.
    """

    def __init__(
        self,
        kernels: Iterable[nn.Parameter],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        precision: torch.dtype = torch.float32,
        padded: float | None = None,
    ) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.precision = precision
        self._padded = padded
        self._batches: dict[tuple[Any, ...], list[MatrixBatch]] = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every kernel that has a gradient, and return the value of `closure`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
            for kernel in group["params"]:
                if kernel.grad is not None:
                    alike.setdefault((kernel.device, kernel.dtype), []).append(kernel)
            for kernels in alike.values():
                self._move(kernels, group["lr"], group["momentum"], group["weight_decay"])
        return loss

    def _move(
        self, kernels: list[Tensor], rate: float, momentum: float, weight_decay: float
    ) -> None:
        """Move kernels of one device and one number format."""
        gradients = [kernel.grad for kernel in kernels if kernel.grad is not None]
        buffers = [self._buffer(kernel) for kernel in kernels]
        if weight_decay:
            torch._foreach_mul_(kernels, 1 - rate * weight_decay)
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        ahead = torch._foreach_add(gradients, buffers, alpha=momentum)
        lasts = [_channels_last(kernel) for kernel in kernels]
        matrices = [_as_matrix(x, last) for x, last in zip(ahead, lasts, strict=True)]
        steps: list[Tensor] = [*matrices]
        for batch in self._batches_of(matrices):
            packed = batch.pack(matrices).to(self.precision)
            # On the CPU a batch of one takes longer than the matrix in it.
            moved = orthogonal(packed.squeeze(0)).view(packed.shape).to(kernels[0].dtype)
            for place, step in zip(batch.members, batch.unpack(moved), strict=True):
                steps[place] = _as_kernel(step, kernels[place].shape, lasts[place])
        # Tall kernels move further, see `lr`.
        factors = [max(1.0, len(x) / x.shape[1]) ** 0.5 for x in matrices]
        for factor in sorted(set(factors)):
            chosen = [place for place, other in enumerate(factors) if other == factor]
            torch._foreach_add_(
                [kernels[place] for place in chosen],
                [steps[place] for place in chosen],
                alpha=-rate * factor,
            )

    def _buffer(self, kernel: Tensor) -> Tensor:
        state = self.state[kernel]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(kernel)
        buffer: Tensor = state["momentum_buffer"]
        return buffer

    def _batches_of(self, matrices: Sequence[Tensor]) -> list[MatrixBatch]:
        """The batches of these matrices; they are planned once, as shapes do not change."""
        device = matrices[0].device
        shapes = tuple((len(matrix), matrix.shape[1]) for matrix in matrices)
        if (device, shapes) not in self._batches:
            padded = self._padded
            if padded is None:
                padded = PADDED if device.type == "cuda" else 0
            self._batches[device, shapes] = batches_of(shapes, padded, _cost, device)
        return self._batches[device, shapes]


def orthogonal(matrices: Tensor) -> Tensor:
    """Approximate the nearest orthogonal matrix: equal singular vectors, singular values near 1.

    The method is `N_ITERATIONS` Newton-Schulz steps. Singular values above a hundredth of the
    matrix's norm come to 0.65 to 1.25; smaller values come less far. A matrix of zeros stays zero,
    and so do rows and columns of zeros.

    Args:
        matrices: (rows, columns); or a batch of them, (n, rows, columns).
    """
    wide = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    x: Tensor = wide / (torch.linalg.vector_norm(wide, dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    add_product = torch.addmm if x.ndim == 2 else torch.baddbmm
    for _ in range(N_ITERATIONS):
        square = x @ x.mT
        x = add_product(x, add_product(square, square, square, beta=b, alpha=c), x, beta=a)
    return x if wide is matrices else x.mT


def _cost(n: int, rows: int, columns: int) -> float:
    """Multiplications of `orthogonal` for n matrices of rows × columns."""
    return N_ITERATIONS * n * (2 * rows**2 * columns + rows**3)


def _channels_last(kernel: Tensor) -> bool:
    """Whether the elements of a kernel lie in memory with the channels last."""
    return (
        kernel.ndim == 4
        and not kernel.is_contiguous()
        and kernel.is_contiguous(memory_format=torch.channels_last)
    )


def _as_matrix(kernel: Tensor, channels_last: bool) -> Tensor:
    """See a kernel as a matrix (outputs, all the rest); columns in the order of the memory.

    The order of the columns makes no difference, see `_as_kernel`; a copy would take time.
    """
    return (kernel.permute(0, 2, 3, 1) if channels_last else kernel).flatten(1)


def _as_kernel(matrix: Tensor, shape: torch.Size, channels_last: bool) -> Tensor:
    """Undo `_as_matrix`."""
    if not channels_last:
        return matrix.view(shape)
    outputs, inputs, height, width = shape
    return matrix.view(outputs, height, width, inputs).permute(0, 3, 1, 2)
