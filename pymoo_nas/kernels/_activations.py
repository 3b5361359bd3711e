"""Record which units of a network are on, from the signs of all pre-activations.

A `torch.overrides.TorchFunctionMode` sees every ReLU of a forward pass: modules and functions, in
place or not, and both calls of a module that is called twice. Other activations only resemble a
ReLU (SiLU, GELU, Hardswish, …); their unit counts as on where its pre-activation is positive.
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
        *(torch.selu, torch.selu_, torch.celu, torch.celu_, torch.rrelu, torch.rrelu_),
        *(torch.threshold, torch.threshold_, torch.prelu),
        *(F.gelu, F.silu, F.mish, F.hardswish, Tensor.prelu),
    }
)
"""Functions that pass positive values and hold back negative values."""

CLAMPS: frozenset[Any] = frozenset(
    {
        *(torch.clamp, Tensor.clamp, Tensor.clamp_, torch.clamp_, F.hardtanh, F.hardtanh_),
        *(torch.clamp_min, torch.clamp_min_, Tensor.clamp_min, Tensor.clamp_min_),
        *(torch.clip, torch.clip_, Tensor.clip, Tensor.clip_),
        *(torch.maximum, torch.max, Tensor.maximum, Tensor.max),
    }
)
"""Functions whose second argument is a lower bound; with bound 0 they are a ReLU (as nn.ReLU6).

The second argument of `torch.max` may also be a dimension, which is no bound.
"""

MAXIMA: frozenset[Any] = frozenset({torch.maximum, torch.max, Tensor.maximum, Tensor.max})


class ReluCalls(TorchFunctionMode):
    """Passes the input and the output of every ReLU-like call to functions.

    Args:
        before: function that is given the pre-activation (any shape), as it is before the call.
        after: function that is given what the call returns.
    """

    def __init__(
        self,
        before: Callable[[Tensor], None] | None = None,
        after: Callable[[Tensor], None] | None = None,
    ) -> None:
        super().__init__()
        self.before = before
        self.after = after

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Pass on what a ReLU takes, call the function, and pass on what a ReLU returns."""
        kwargs = kwargs or {}
        is_relu = func in RELU_LIKE or _clamps_at_zero(func, args, kwargs)
        if is_relu and self.before is not None:
            self.before(args[0] if args else kwargs["input"])
        output = func(*args, **kwargs)
        if is_relu and self.after is not None:
            self.after(output)
        return output


def _clamps_at_zero(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell whether a call is max(x, 0) written as a clamp."""
    if func not in CLAMPS:
        return False
    names = ("other",) if func in MAXIMA else ("min", "min_val")
    low = (
        args[1] if len(args) > 1 else next((kwargs[name] for name in names if name in kwargs), None)
    )
    if isinstance(low, Tensor):
        # A tensor that depends on the images is no bound, even where it happens to be zero.
        return not low.requires_grad and not bool(low.any())
    return func not in MAXIMA and isinstance(low, int | float) and low == 0


def depends_on(tensor: Tensor, *leaves: Tensor) -> bool:
    """Tell whether autograd would carry a gradient from a tensor back to one of the leaves."""
    waiting, seen = [tensor.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if any(getattr(node, "variable", None) is leaf for leaf in leaves):
            return True
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
    return False
