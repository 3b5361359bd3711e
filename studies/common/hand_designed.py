"""Networks designed by hand, scaled in width to the largest that keep given limits."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torchvision.models import MobileNetV2, ShuffleNetV2
from torchvision.ops import Conv2dNormActivation

from pymoo_nas.networks import CifarResNet, count_all

Maker = Callable[[float], nn.Module]
"""Width → a network for images of 32×32 in colour, of ten classes."""

CLASSES = 10

INVERTED_RESIDUALS = [
    *([1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 2], [6, 64, 4, 2]),
    *([6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]),
]
"""Expansion, channels, blocks and stride of MobileNetV2's stages; the first halvings are left out,
as usual for images of 32 pixels."""


class Limits(NamedTuple):
    """The largest network of a budget: parameters, and multiply-accumulates per image."""

    params: int
    flops: int


def resnet(depth: int) -> Maker:
    """CIFAR's residual network of so many layers (He 2016), by the width of its first stage."""
    return lambda width: CifarResNet((depth - 2) // 6, 3, CLASSES, width=round(width))


def mobilenet_v2(width: float) -> nn.Module:
    """MobileNetV2 (Sandler 2018) whose layers all have `width` times the published channels."""
    network = MobileNetV2(CLASSES, width, INVERTED_RESIDUALS, round_nearest=4)
    network.features[0][0].stride = (1, 1)
    before = network.features[-1][0].in_channels
    last = max(4, round(1280 * width))
    network.features[-1] = Conv2dNormActivation(
        before, last, kernel_size=1, activation_layer=nn.ReLU6
    )
    network.classifier[-1] = nn.Linear(last, CLASSES)
    made: nn.Module = network
    return made


def shufflenet_v2(width: float) -> nn.Module:
    """ShuffleNetV2 (Ma 2018) whose layers all have `width` times the channels of its size 1."""
    channels = [max(2, 2 * round(n * width / 2)) for n in (24, 116, 232, 464, 1024)]
    network = ShuffleNetV2([4, 8, 4], channels, num_classes=CLASSES)
    network.conv1[0].stride = (1, 1)
    network.maxpool = nn.Identity()
    made: nn.Module = network
    return made


HAND_DESIGNED: dict[str, tuple[Maker, Sequence[float]]] = {
    **{f"resnet{depth}": (resnet(depth), range(2, 129)) for depth in (8, 14, 20, 32)},
    "mobilenetv2": (mobilenet_v2, [step / 40 for step in range(2, 80)]),
    "shufflenetv2": (shufflenet_v2, [step / 40 for step in range(2, 80)]),
}
"""Name → how to make it, and the widths that are tried, ascending."""


def largest_within(name: str, limits: Limits) -> float:
    """The largest width of a network that keeps the limits."""
    return widest(name, *HAND_DESIGNED[name], limits)


def widest(name: str, make: Maker, widths: Sequence[float], limits: Limits) -> float:
    """The largest of ascending widths whose network keeps the limits; counts grow with the width.

    Raises:
        ValueError: none does.
    """
    n_kept = bisect_left(widths, True, key=lambda width: not keeps(make, width, limits))
    if not n_kept:
        raise ValueError(f"{name} has no width within {limits}; expected higher limits")
    return widths[n_kept - 1]


def keeps(make: Maker, width: float, limits: Limits) -> bool:
    """Whether the network of a width keeps the limits; it is counted without memory."""
    with torch.device("meta"):
        network = make(width)
        counts = count_all(network, torch.empty(1, 3, 32, 32))
    return counts.params <= limits.params and counts.flops <= limits.flops
