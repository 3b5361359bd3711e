"""Residual networks for CIFAR-sized images (He 2016, section 4.2), designed by hand to compare."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas.networks._operations import conv_bn_relu

BLOCKS: Mapping[str, int] = MappingProxyType({"resnet20": 3, "resnet32": 5, "resnet56": 9})
"""Name → residual blocks per stage; the number in the name counts the layers with weights."""

STAGES = 3

WIDTH = 16
"""Channels of the first stage of the published networks; each further stage has twice as many."""


class BasicBlock(nn.Module):
    """Residual block: two 3×3 convolutions beside a shortcut without parameters, then a ReLU.

    Where the number of channels grows, the map is halved. The shortcut then takes every second
    pixel, and channels of zeros are appended (He 2016, option A).
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.added = c_out - c_in
        self.branch = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, stride=2 if self.added else 1, padding=1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(),
            *conv_bn_relu(c_out, c_out, 3, relu=False),
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, c_in, H, W) → (N, c_out, H, W), or half of H and W where c_out > c_in."""
        branch = self.branch(x)
        if self.added:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.added))
        activated: Tensor = self.relu(branch + x)
        return activated


class CifarResNet(nn.Sequential):
    """Network of a stem, three stages of residual blocks, average pooling, one linear layer.

    ResNet-20 has 0.27 million parameters on ten classes of RGB images.

    Args:
        n_blocks: residual blocks per stage.
        in_channels: channels of the images.
        n_classes: number of logits.
        width: channels of the first stage; each further stage has twice as many.
    """

    def __init__(self, n_blocks: int, in_channels: int, n_classes: int, width: int = WIDTH) -> None:
        layers: list[nn.Module] = conv_bn_relu(in_channels, width, 3)
        channels = width
        for stage in range(STAGES):
            for _ in range(n_blocks):
                layers.append(BasicBlock(channels, width * 2**stage))
                channels = width * 2**stage
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, n_classes)]
        super().__init__(*layers, *head)
