"""Phenotypes of NAS-Bench-201: its cell, and the published skeleton around cells (Dong 2020).

Three stages of cells, with a residual reduction block between two stages, make the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

from pymoo_nas._machine import whole
from pymoo_nas.errors import NetworkError
from pymoo_nas.networks import AveragePooling, check_size, conv_bn_relu
from pymoo_nas.spaces.nasbench201._genotype import N_NODES, NONE, SKIP, NASBench201Genotype

N_STAGES = 3
"""Number of stages; between two stages the map is halved and the width doubled."""


class NASBench201Cell(nn.Module):
    """The cell that a genotype spells; every operation keeps channels and (H, W).

    Operations that cannot reach the output are built and run too. The published networks do the
    same, and count them in parameters and FLOPs. Only 177 canonical genotypes have such operations.
    ``none`` is no module at all.

    Attributes:
        out_channels: channels of the output, as many as the input has.
    """

    def __init__(self, genotype: NASBench201Genotype, channels: int) -> None:
        super().__init__()
        self.operations = nn.ModuleDict()
        self.inputs: dict[int, list[tuple[int, str]]] = {}
        for target in range(1, N_NODES + 1):
            self.inputs[target] = []
            for source, name in genotype.flows(target):
                if name != NONE:
                    key = f"{source}->{target} {name}"
                    self.operations[key] = FACTORIES[name](channels)
                    self.inputs[target].append((source, key))
        self.out_channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) → (N, C, H, W); zeros where no operation reaches the output."""
        nodes = [x]
        for flows in self.inputs.values():
            parts = [self.operations[key](nodes[source]) for source, key in flows]
            nodes.append(sum(parts[1:], start=parts[0]) if parts else torch.zeros_like(x))
        return nodes[-1]


class ProjectedCell(nn.Sequential):
    """A 1×1 convolution and batch norm to the channels of a cell, then the cell."""

    def __init__(self, in_channels: int, cell: NASBench201Cell) -> None:
        super().__init__(*conv_bn_relu(in_channels, cell.out_channels, 1, relu=False), cell)
        self.out_channels = cell.out_channels


class ReductionBlock(nn.Module):
    """Residual block of stride 2 between two stages: (N, C, H, W) → (N, 2C, ⌈H/2⌉, ⌈W/2⌉)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            relu_conv_bn(channels, 2 * channels, kernel=3, stride=2),
            relu_conv_bn(2 * channels, 2 * channels, kernel=3),
        )
        # Rounding up makes shortcut and branch agree on odd sizes; even sizes are as published.
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(channels, 2 * channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add branch and shortcut, without a ReLU: the next operation begins with a ReLU."""
        summed: Tensor = self.branch(x) + self.shortcut(x)
        return summed


class NASBench201Network(nn.Module):
    """The published skeleton around cells: images (N, C, H, W) → logits (N, n_classes).

    Args:
        genotypes: stage i is made of genotypes[i modulo their number]; genotypes after the third
            are not used.
        in_channels: channels of the images.
        n_classes: number of logits.
        width: channels of the first stage, doubled twice.
        cells_per_stage: cells of each of the three stages.

    Raises:
        NetworkError: there is no genotype, or there are no channels or classes; in `forward`, the
            images are smaller than 4×4.
    """

    def __init__(
        self,
        genotypes: Sequence[NASBench201Genotype],
        in_channels: int,
        n_classes: int,
        *,
        width: int,
        cells_per_stage: int,
    ) -> None:
        super().__init__()
        if not genotypes:
            raise NetworkError("network: no genotype given; expected at least one")
        in_channels = whole("NAS-Bench-201: in_channels", in_channels, error=NetworkError)
        n_classes = whole("NAS-Bench-201: n_classes", n_classes, error=NetworkError)
        stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        body: list[nn.Module] = [stem, nn.BatchNorm2d(width)]
        for stage in range(N_STAGES):
            if stage > 0:
                body.append(ReductionBlock(width))
                width *= 2
            genotype = genotypes[stage % len(genotypes)]
            body += [NASBench201Cell(genotype, width) for _ in range(cells_per_stage)]
        self.body = nn.Sequential(*body, nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Linear(width, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) → logits (N, n_classes)."""
        check_size(images)
        logits: Tensor = self.classifier(self.body(images).mean((2, 3)))
        return logits


def relu_conv_bn(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Make a ReLU, a k×k convolution without bias, and a batch norm: the order of Dong 2020."""
    convolution = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(c_out))


FACTORIES: Mapping[str, Callable[[int], nn.Module]] = MappingProxyType(
    {
        SKIP: lambda _: nn.Identity(),
        "nor_conv_1x1": lambda channels: relu_conv_bn(channels, channels, kernel=1),
        "nor_conv_3x3": lambda channels: relu_conv_bn(channels, channels, kernel=3),
        "avg_pool_3x3": lambda _: AveragePooling(count_include_pad=False),
    }
)
"""Operation → factory of its module for so many channels; ``none`` has no factory."""
