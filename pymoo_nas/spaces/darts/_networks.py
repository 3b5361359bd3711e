"""Phenotypes of DARTS: its cells, and the published network around them (Liu 2018).

Operations, cells and network are those of https://github.com/quark0/darts, without the auxiliary
head and without dropped paths. Where a map is halved its size is rounded up, as the published
factorised reduction does not on odd sizes; on even ones everything is as published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas._machine import whole
from pymoo_nas.errors import NetworkError
from pymoo_nas.networks import AveragePooling, MaxPooling, check_size, concatenate
from pymoo_nas.spaces.darts._genotype import (
    N_INPUTS,
    NODES,
    NONE,
    SKIP,
    CellEdges,
    DARTSGenotype,
    flows,
)

STEM_MULTIPLIER = 3
"""Channels of the stem, as a multiple of those of the first cell's operations."""


class FactorizedReduce(nn.Module):
    """ReLU, two 1×1 convolutions of stride 2, one of them shifted by a pixel, batch norm.

    (N, c_in, H, W) → (N, c_out, ⌈H/2⌉, ⌈W/2⌉). Each convolution makes half of the channels; of an
    odd number the first makes one more.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.straight = nn.Conv2d(c_in, c_out - c_out // 2, 1, stride=2, bias=False)
        self.shifted = nn.Conv2d(c_in, c_out // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, H, W) → (N, c_out, ⌈H/2⌉, ⌈W/2⌉)."""
        x = self.relu(x)
        height, width = x.shape[-2:]
        # The last row and column of an odd map have no shifted neighbour: zeros stand there.
        padded = F.pad(x, (0, width % 2, 0, height % 2))
        parts = [self.straight(x), self.shifted(padded[:, :, 1:, 1:])]
        reduced: Tensor = self.norm(concatenate(parts))
        return reduced


class DARTSCell(nn.Module):
    """A cell of a genotype: every inner node is a sum, the output concatenates the inner nodes.

    ``none`` is no module at all; a node into which nothing else leads is zero.

    Args:
        edges: of the cell.
        before: channels of the outputs of the two cells before, the last one second.
        channels: of every node.
        reduces: halve the map, by a stride of 2 of the operations that take the inputs.
        follows_reduction: the first input has a map twice as large as the second.

    Attributes:
        out_channels: channels of the output.
    """

    def __init__(
        self,
        edges: CellEdges,
        before: tuple[int, int],
        channels: int,
        *,
        reduces: bool,
        follows_reduction: bool,
    ) -> None:
        super().__init__()
        first, second = before
        self.preprocess0 = (
            FactorizedReduce(first, channels)
            if follows_reduction
            else relu_conv_bn(first, channels)
        )
        self.preprocess1 = relu_conv_bn(second, channels)
        self.stride = 2 if reduces else 1
        self.operations = nn.ModuleDict()
        self.inputs: dict[int, list[tuple[int, str]]] = {node: [] for node in NODES}
        for node, pair in flows(edges):
            for place, (name, source) in enumerate(pair):
                if name != NONE:
                    key = f"{source}->{node} {place} {name}"
                    stride = self.stride if source < N_INPUTS else 1
                    self.operations[key] = FACTORIES[name](channels, stride)
                    self.inputs[node].append((source, key))
        self.out_channels = len(NODES) * channels

    def forward(self, last_but_one: Tensor, last: Tensor) -> Tensor:
        """(N, C_i, H_i, W_i) of both cells before → (N, out_channels, H, W)."""
        nodes = [self.preprocess0(last_but_one), self.preprocess1(last)]
        for pair in self.inputs.values():
            parts = [self.operations[key](nodes[source]) for source, key in pair]
            nodes.append(sum(parts[1:], start=parts[0]) if parts else self._zeros(nodes[0]))
        return concatenate(nodes[N_INPUTS:])

    def extra_repr(self) -> str:
        """Show in `repr` whether the cell halves the map, also where no operation does."""
        return f"reduces={self.stride > 1}"

    def _zeros(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class DARTSNetwork(nn.Module):
    """The published network of both cells: images (N, C, H, W) → logits (N, n_classes).

    Cells at one and at two thirds of the layers are reduction cells, with twice the channels from
    there on. Each cell takes the outputs of the two cells before it, the first ones the stem's.

    Args:
        genotype: of both cells.
        in_channels: channels of the images.
        n_classes: number of logits.
        layers: number of cells, at least 3.
        channels: of the nodes of the first cell.

    Raises:
        NetworkError: no channels or classes; in `forward`, images smaller than 4×4.
    """

    def __init__(
        self,
        genotype: DARTSGenotype,
        in_channels: int,
        n_classes: int,
        *,
        layers: int,
        channels: int,
    ) -> None:
        super().__init__()
        in_channels = whole("DARTS: in_channels", in_channels, error=NetworkError)
        n_classes = whole("DARTS: n_classes", n_classes, error=NetworkError)
        stem = STEM_MULTIPLIER * channels
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem)
        )
        self.cells = nn.ModuleList()
        before, follows_reduction = (stem, stem), False
        for layer in range(layers):
            reduces = layer in (layers // 3, 2 * layers // 3)
            channels = 2 * channels if reduces else channels
            cell = DARTSCell(
                genotype.reduce if reduces else genotype.normal,
                before,
                channels,
                reduces=reduces,
                follows_reduction=follows_reduction,
            )
            self.cells.append(cell)
            before, follows_reduction = (before[1], cell.out_channels), reduces
        self.classifier = nn.Linear(before[1], n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) → logits (N, n_classes)."""
        check_size(images)
        last_but_one = last = self.stem(images)
        for cell in self.cells:
            last_but_one, last = last, cell(last_but_one, last)
        logits: Tensor = self.classifier(last.mean((2, 3)))
        return logits


def relu_conv_bn(c_in: int, c_out: int) -> nn.Sequential:
    """ReLU, 1×1 convolution without bias, batch norm: what an input of a cell goes through."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))


def _depthwise(channels: int, kernel: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    """ReLU, depthwise k×k and pointwise convolution without bias, batch norm."""
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(
            channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False
        ),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]


def separable(channels: int, stride: int, *, kernel: int) -> nn.Sequential:
    """A separable convolution, applied twice; the first time with the stride."""
    return nn.Sequential(*_depthwise(channels, kernel, stride), *_depthwise(channels, kernel, 1))


def dilated(channels: int, stride: int, *, kernel: int) -> nn.Sequential:
    """A separable convolution of dilation 2, applied once."""
    return nn.Sequential(*_depthwise(channels, kernel, stride, dilation=2))


def skip(channels: int, stride: int) -> nn.Module:
    """The identity, or a `FactorizedReduce` where the map is halved."""
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels)


def max_pooling(_: int, stride: int) -> nn.Module:
    """3×3 max pooling."""
    return MaxPooling(3, stride, padding=1)


def average_pooling(_: int, stride: int) -> nn.Module:
    """3×3 average pooling, of the pixels inside the map only."""
    if stride == 1:
        return AveragePooling(count_include_pad=False)
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


FACTORIES: Mapping[str, Callable[[int, int], nn.Module]] = MappingProxyType(
    {
        "max_pool_3x3": max_pooling,
        "avg_pool_3x3": average_pooling,
        SKIP: skip,
        "sep_conv_3x3": partial(separable, kernel=3),
        "sep_conv_5x5": partial(separable, kernel=5),
        "dil_conv_3x3": partial(dilated, kernel=3),
        "dil_conv_5x5": partial(dilated, kernel=5),
    }
)
"""Operation → factory of its module for so many channels and a stride; ``none`` has none."""
