"""Measure the size of a network: trainable parameters, multiply-accumulates, acts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pymoo_nas._machine import as_written, network_errors
from pymoo_nas.networks._operation_costs import COSTS

MAP_MAKERS = (
    torch.ops.aten.convolution,
    torch.ops.aten.max_pool2d_with_indices,
    torch.ops.aten.avg_pool2d,
    torch.ops.aten.max_pool3d_with_indices,
    torch.ops.aten.avg_pool3d,
)
"""Torch's operations whose outputs `count_acts` counts: two-dimensional maps, for the most part."""


class Counts(NamedTuple):
    """Size of a network in three measures; 0 where a measure was not counted.

    Attributes:
        params: number of trainable parameters.
        flops: number of multiply-accumulates for one image.
        acts: count of numbers that convolutions and poolings return for one image.
    """

    params: int = 0
    flops: int = 0
    acts: int = 0


def count_parameters(network: nn.Module) -> int:
    """Count the trainable parameters; a parameter that is used twice counts once."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def count_flops(network: nn.Module, images: Tensor) -> int:
    """Count multiply-accumulates of one image's forward pass: convolutions and matrix products.

    Torch's counter, with added rules (see `operation_costs`), counts a multiplication and an
    addition as two; this function returns half of its count. Pooling, normalisation, activation,
    Fourier transforms and elementwise products are free. Masked attention counts as if unmasked.

    Args:
        network: put into eval mode for the count; then every module's mode is restored.
        images: (N, C, H, W), on the network's device; only the first is used.

    Raises:
        NetworkError: the network cannot take the images.
    """
    return sum(_counted(network, images).values()) // 2


def count_acts(network: nn.Module, images: Tensor) -> int:
    """Count the numbers that convolutions and poolings return for one image.

    They are called acts (Radosavovic 2020). The time of a training step follows acts more closely
    than multiply-accumulates, which leave poolings out (see studies/speed.py).

    Args:
        network: as in `count_flops`.
        images: as in `count_flops`.

    Raises:
        NetworkError: the network cannot take the images.
    """
    counts = _counted(network, images, dict.fromkeys(MAP_MAKERS, _n_returned))
    return sum(counts.get(operation, 0) for operation in MAP_MAKERS)


COUNTERS: Mapping[str, Callable[[nn.Module, Tensor], int]] = {
    "params": lambda network, _: count_parameters(network),
    "flops": count_flops,
    "acts": count_acts,
}
"""Field of `Counts` → function that counts it."""


def count_all(network: nn.Module, images: Tensor) -> Counts:
    """Count all three measures; the arguments are those of `count_flops`."""
    return Counts(**{name: count(network, images) for name, count in COUNTERS.items()})


def _n_returned(*shapes: Any, out_shape: Any, **others: Any) -> int:
    """Count the elements of the first tensor that an operation returns: a rule for torch."""
    del shapes, others
    return math.prod(out_shape if isinstance(out_shape, torch.Size) else out_shape[0])


def _counted(
    network: nn.Module, images: Tensor, rules: Mapping[Any, Callable[..., int]] | None = None
) -> dict[Any, int]:
    """Let torch count by operation, for one image; `rules` add to torch's rules or replace them."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    counter = FlopCounterMode(display=False, custom_mapping={**COSTS, **(rules or {})})
    try:
        with torch.no_grad(), as_written(), counter, network_errors(images):
            network(images[:1].clone())  # the network may change its input in place
    finally:
        for module, training in modes:
            module.training = training
    counts: dict[Any, int] = counter.get_flop_counts().get("Global", {})
    return counts
