"""Measure the size of a network: parameters, multiply-accumulates, acts, memory of its maps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pymoo_nas._machine import as_written, network_errors
from pymoo_nas.networks._maps_in_memory import MapRecorder
from pymoo_nas.networks._operation_costs import cost_rules


class Counts(NamedTuple):
    """Size of a network in four measures; 0 where a measure was not counted.

    Attributes:
        params: number of trainable parameters.
        flops: number of multiply-accumulates for one image.
        acts: count of numbers that convolutions and poolings return for one image.
        peak_memory: most bytes of feature maps that live at one time, for one image.
    """

    params: int = 0
    flops: int = 0
    acts: int = 0
    peak_memory: int = 0


def count_parameters(network: nn.Module) -> int:
    """Count the trainable parameters; a parameter that is used twice counts once."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def count_flops(network: nn.Module, images: Tensor) -> int:
    """Count multiply-accumulates of one image's forward pass: convolutions and matrix products.

    The rules of torch's counter, and added ones (see `operation_costs`), count a multiplication and
    an addition as two; this function returns half of their count. Pooling, normalisation,
    activation, Fourier transforms and elementwise products are free. Masked attention counts as if
    unmasked.

    Args:
        network: put into eval mode for the count; then every module's mode is restored.
        images: (N, C, H, W), on the network's device; only the first is used.

    Raises:
        NetworkError: the network cannot take the images.
    """
    return count_all(network, images).flops


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
    return count_all(network, images).acts


def count_all(network: nn.Module, images: Tensor) -> Counts:
    """Count all measures in one forward pass; the arguments are those of `count_flops`.

    ``peak_memory`` is the memory that a device needs for the maps, in bytes of the numbers that
    the network computes with: 4 each in float32, a quarter of that in an int8 network (see
    `MapRecorder.peak_memory`).
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    recorder = MapRecorder(cost_rules())
    image = images[:1].clone()  # the network may change its input in place
    try:
        with torch.no_grad(), as_written(), recorder, network_errors(images):
            output = network(image)
    finally:
        for module, training in modes:
            module.training = training
    return Counts(
        count_parameters(network),
        recorder.cost // 2,
        recorder.acts(),
        recorder.peak_memory(image, output),
    )
