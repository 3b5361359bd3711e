"""Which units of a network are on: the signs of all pre-activations, whoever computes them.

A `torch.overrides.TorchFunctionMode` sees every ReLU of a forward pass: modules and functions, in
place or not, the same module called twice. For activations that only resemble a ReLU (SiLU, GELU,
Hardswish, …) the unit counts as on where its pre-activation is positive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

RELU_LIKE: frozenset[Any] = frozenset(
    {
        *(F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_),
        *(F.relu6, F.leaky_relu, F.leaky_relu_, F.prelu, F.rrelu, F.rrelu_, F.threshold),
        *(F.elu, F.elu_, F.selu, F.selu_, F.celu, F.celu_),
        *(F.gelu, F.silu, F.mish, F.hardswish, Tensor.prelu),
    }
)
"""Functions that pass what is positive and hold back what is negative."""

CLAMPS: frozenset[Any] = frozenset(
    {
        *(torch.clamp, Tensor.clamp, Tensor.clamp_, torch.clamp_, F.hardtanh, F.hardtanh_),
        *(torch.clamp_min, torch.clamp_min_, Tensor.clamp_min, Tensor.clamp_min_),
    }
)
"""Functions whose second argument is a lower bound: a ReLU where that is 0 (nn.ReLU6 is one)."""


class PreActivations(TorchFunctionMode):
    """Hands the input of every ReLU-like call, before it runs, to a function.

    Args:
        record: called with the pre-activation (any shape), detached.
    """

    def __init__(self, record: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.record = record

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Record, then call."""
        kwargs = kwargs or {}
        if func in RELU_LIKE or _clamps_at_zero(func, args, kwargs):
            tensor = args[0] if args else kwargs["input"]
            # Tensors that do not depend on the images carry no gradient and tell images not apart.
            if tensor.requires_grad or not torch.is_grad_enabled():
                self.record(tensor.detach())
        return func(*args, **kwargs)


def _clamps_at_zero(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call is max(x, 0) written as a clamp."""
    if func not in CLAMPS:
        return False
    low = args[1] if len(args) > 1 else kwargs.get("min", kwargs.get("min_val"))
    return isinstance(low, int | float) and low == 0
