"""Candidate operations: a name → a factory ``(c_in, c_out) -> nn.Module`` that keeps (H, W).

The order of the table is the order of the channel counts in a genotype's block. A search takes any
such table: some of these names, a dictionary with operations of one's own, or both.

>>> import torch
>>> make_sharp = lambda c_in, c_out: torch.nn.Conv2d(c_in, c_out, 1)
>>> list(operation_table({"conv3x3": OPERATIONS["conv3x3"], "sharp": make_sharp}))
['conv3x3', 'sharp']
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas.errors import OperationError

Operation: TypeAlias = Callable[[int, int], nn.Module]
"""Factory: (input channels, output channels) → module that keeps height and width."""


def conv_bn_relu(
    c_in: int,
    c_out: int,
    kernel: int,
    *,
    depthwise: bool = False,
    relu: bool = True,
    stride: int = 1,
) -> list[nn.Module]:
    """Make a convolution that keeps (H, W) or strides, a batch norm, and a ReLU if wanted."""
    groups, padding = c_in if depthwise else 1, kernel // 2
    convolution = nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(c_out), *([nn.ReLU()] if relu else [])]


class Convolution(nn.Sequential):
    """k×k convolution, batch norm, ReLU: (N, c_in, H, W) → (N, c_out, H, W)."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 3) -> None:
        super().__init__(*conv_bn_relu(c_in, c_out, kernel))


class SeparableConvolution(nn.Sequential):
    """Depthwise k×k, then pointwise convolution, each with batch norm (Chollet 2017).

    Padding keeps (H, W), so a kernel of 7 works on maps of 4×4 and smaller too.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int = 3) -> None:
        super().__init__(
            *conv_bn_relu(c_in, c_in, kernel, depthwise=True, relu=False),
            *conv_bn_relu(c_in, c_out, 1),
        )


class ResidualBlock(nn.Module):
    """Residual block: two 3×3 convolutions beside a shortcut, ReLU after the sum (He 2016).

    The shortcut is the identity where c_in = c_out, else a 1×1 convolution with batch norm.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *conv_bn_relu(c_in, c_out, 3), *conv_bn_relu(c_out, c_out, 3, relu=False)
        )
        self.shortcut = SkipConnection(c_in, c_out)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, c_in, H, W) → (N, c_out, H, W)."""
        summed: Tensor = self.branch(x) + self.shortcut(x)
        return self.relu(summed)  # type: ignore[no-any-return]


class SkipConnection(nn.Sequential):
    """The identity where c_in = c_out, else a 1×1 convolution with batch norm."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(*([] if c_in == c_out else conv_bn_relu(c_in, c_out, 1, relu=False)))


class Pooling(nn.Sequential):
    """3×3 pooling of stride 1, with a 1×1 convolution and batch norm where c_in ≠ c_out.

    Pooling takes place where there are fewer channels: before a convolution that adds channels,
    or after a convolution that removes channels. A concatenation has many channels; pooling them
    all would take much of the time in which a large cell is scored.
    """

    def __init__(self, c_in: int, c_out: int, pooling: nn.Module) -> None:
        steps = [pooling, SkipConnection(c_in, c_out)]
        super().__init__(*(steps if c_in <= c_out else reversed(steps)))


class MaxPooling(nn.MaxPool2d):
    """Max pooling in the memory layout for which torch has the faster CPU kernel."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name is torch's
        """Pool (N, C, H, W), in the memory layout of the input."""
        # An exported graph must not fix the layout: it can be another where the graph runs.
        turn = (
            input.device.type == "cpu"
            and input.is_contiguous()
            and not torch.compiler.is_compiling()
        )
        x = input.contiguous(memory_format=torch.channels_last) if turn else input
        pooled: Tensor = super().forward(x)
        return pooled.contiguous() if turn else pooled


class AveragePooling(nn.AvgPool2d):
    """3×3 average pooling of stride 1; with a gradient on the CPU, a convolution computes it.

    The sum around each pixel is a depthwise convolution with ones. oneDNN has faster kernels for
    this convolution than torch has for average pooling (see studies/speed.py).
    """

    def __init__(self, *, count_include_pad: bool = True) -> None:
        super().__init__(3, stride=1, padding=1, count_include_pad=count_include_pad)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name is torch's
        """Average (N, C, H, W), in the memory layout of the input."""
        trained = torch.is_grad_enabled() and input.requires_grad
        # A compiler makes kernels of its own, and cannot ask which library there is.
        on_cpu = input.device.type == "cpu" and not torch.compiler.is_compiling()
        if not (trained and on_cpu and torch.backends.mkldnn.is_available()):
            return super().forward(input)
        summed = F.conv2d(input, self._ones(input), padding=1, groups=input.shape[1])
        if self.count_include_pad:
            return summed / 9
        return summed / F.conv2d(
            torch.ones_like(input[:1, :1]), self._ones(input[:, :1]), padding=1
        )

    @staticmethod
    def _ones(x: Tensor) -> Tensor:
        return x.new_ones((x.shape[1], 1, 3, 3))


class Gate(nn.Module):
    """A 1×1 convolution multiplied by a gate that sees the whole map (the paper's published code).

    The gate is one number per output channel in (0, 1): global average, linear layer, sigmoid.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.local = nn.Sequential(*conv_bn_relu(c_in, c_out, 1))
        self.linear = nn.Linear(c_in, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, c_in, H, W) → (N, c_out, H, W)."""
        gate = torch.sigmoid(self.linear(x.mean((2, 3))))
        gated: Tensor = self.local(x) * gate[:, :, None, None]
        return gated


# Named functions, not lambdas: pickle carries search spaces to worker processes.


def separable3x3(c_in: int, c_out: int) -> nn.Module:
    """Make a 3×3 separable convolution."""
    return SeparableConvolution(c_in, c_out, 3)


def separable5x5(c_in: int, c_out: int) -> nn.Module:
    """Make a 5×5 separable convolution."""
    return SeparableConvolution(c_in, c_out, 5)


def separable7x7(c_in: int, c_out: int) -> nn.Module:
    """Make a 7×7 separable convolution."""
    return SeparableConvolution(c_in, c_out, 7)


def average_pooling(c_in: int, c_out: int) -> nn.Module:
    """Make a 3×3 average pooling."""
    return Pooling(c_in, c_out, AveragePooling())


def max_pooling(c_in: int, c_out: int) -> nn.Module:
    """Make a 3×3 max pooling."""
    return Pooling(c_in, c_out, MaxPooling(3, stride=1, padding=1))


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "conv3x3": Convolution,
        "separable3x3": separable3x3,
        "separable5x5": separable5x5,
        "separable7x7": separable7x7,
        "residual3x3": ResidualBlock,
        "skip": SkipConnection,
        "avg_pool3x3": average_pooling,
        "max_pool3x3": max_pooling,
        "gate": Gate,
    }
)
"""Every operation of the package, by name. It is read-only: to extend it, make a new table."""

PAPER_OPERATIONS = ("conv3x3", "residual3x3", "max_pool3x3", "avg_pool3x3")
"""The space of Fig. 1: {CNN, ResidualBlock, maxPooling, avgPooling}."""


SEPARATORS = ".,:;|"
"""Characters that no name may hold: module names and the texts of a history are split at them."""


def operation_table(
    operations: Mapping[str, Operation] | Iterable[str] | None = None,
) -> dict[str, Operation]:
    """Make an ordered table of operations from names, or from a table of the user's.

    Args:
        operations: names from `OPERATIONS`; or name → factory; None for `PAPER_OPERATIONS`.

    Raises:
        OperationError: a name is unknown, unusable or given twice, there is no operation, or a
            factory is not callable.
    """
    if operations is None:
        operations = PAPER_OPERATIONS
    if isinstance(operations, str):
        operations = operations.split(",")
    if isinstance(operations, Mapping):
        table = dict(operations)
    else:
        names = [name.strip() if isinstance(name, str) else name for name in operations]
        table = {name: _known(name) for name in names}
        if len(table) < len(names):
            raise OperationError(f"operations {names}: a name is given twice; give each once")
    if not table:
        raise OperationError("operations: none given; expected at least one")
    for name, factory in table.items():
        if not isinstance(name, str) or not name.strip() or set(name) & set(SEPARATORS):
            raise OperationError(
                f"operation {name!r}: expected a name that is text, not empty, and without any of "
                f"{' '.join(SEPARATORS)}; rename it"
            )
        if not callable(factory):
            raise OperationError(
                f"operation {name!r}: expected a factory (c_in, c_out) -> nn.Module, "
                f"got {factory!r}"
            )
    return table


def build_operation(name: str, factory: Operation, c_in: int, c_out: int) -> nn.Module:
    """Call a factory and check that a module came back.

    Raises:
        OperationError: the factory raised, or returned no module.
    """
    try:
        module = factory(c_in, c_out)
    except FACTORY_ERRORS as error:
        raise OperationError(
            f"operation {name!r} with {c_in} input and {c_out} output channels: {error}"
        ) from error
    if not isinstance(module, nn.Module):
        raise OperationError(f"operation {name!r}: expected an nn.Module, got {module!r}")
    return module


FACTORY_ERRORS = (ValueError, TypeError, RuntimeError, AssertionError, ArithmeticError)
"""Errors that a factory raises when it cannot make these channel counts."""


def _known(name: str) -> Operation:
    if name not in OPERATIONS:
        raise OperationError(
            f"operation {name!r} is unknown; expected one of {', '.join(OPERATIONS)}, "
            "or pass a dictionary name → factory"
        )
    return OPERATIONS[name]
