"""The optimizer Muon (Jordan 2024): it makes the momentum of each kernel orthogonal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients a, b, c of a x + b x³ + c x⁵. This polynomial moves singular values towards 1."""

N_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose steps are made orthogonal, for kernels of convolutions.

    All directions of a kernel then move equally far, so that rare directions are learned too. The
    learning rate alone decides the length of a step, not the gradient. `torch.optim.Muon` takes
    matrices only, and multiplies in bfloat16, which is slow on processors without bfloat16.

    Args:
        kernels: tensors of two or more dimensions, each seen as a matrix (outputs, all the rest).
        lr: spectral norm of a step, times √(rows / columns) where there are more rows.
        momentum: share of the earlier gradients, in [0, 1).
        weight_decay: share of the kernel that a step of length 1 takes away (Loshchilov 2019).
        precision: number format of the products; kernels and momenta keep theirs.
    """

    def __init__(
        self,
        kernels: Iterable[nn.Parameter],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.precision = precision

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every kernel that has a gradient, and return the value of `closure`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is not None:
                    kernel.mul_(1 - group["lr"] * group["weight_decay"])
                    self._move(kernel, group["lr"], group["momentum"])
        return loss

    def _move(self, kernel: nn.Parameter, rate: float, momentum: float) -> None:
        gradient = kernel.grad
        assert gradient is not None
        state = self.state[kernel]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(kernel)
        buffer = state["momentum_buffer"].mul_(momentum).add_(gradient)
        matrix = gradient.add(buffer, alpha=momentum).flatten(1)
        step = orthogonal(matrix.to(self.precision)).to(kernel.dtype)
        rows, columns = matrix.shape
        kernel.add_(step.reshape(kernel.shape), alpha=-rate * max(1.0, rows / columns) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Approximate the nearest orthogonal matrix: equal singular vectors, singular values near 1.

    The method is `N_ITERATIONS` Newton-Schulz steps. Singular values above a hundredth of the
    matrix's norm come to 0.65 to 1.25; smaller values come less far. A matrix of zeros stays zero.

    Args:
        matrix: (rows, columns).
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x: Tensor = wide / (wide.norm() + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(N_ITERATIONS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x if wide is matrix else x.T
