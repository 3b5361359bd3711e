"""The paper's cells with one change each: other widths, operations, stages, halving, shortcuts.

Or a norm, or a squeeze-and-excitation, behind each cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from common.halving import INSIDE
from common.hand_designed import CLASSES, Limits, widest
from pymoo_nas.networks import (
    OPERATIONS,
    PAPER_OPERATIONS,
    CellNetwork,
    Operation,
    PatchStem,
    conv_bn_relu,
    halve_features,
)
from pymoo_nas.spaces import CellSpace, Genotype, SearchSpace
from pymoo_nas.spaces.cell import Cell

Stages: TypeAlias = tuple[Genotype, ...]

RESIDUAL = "residual3x3"

FACTORS = [step / 32 for step in range(4, 257)]
"""What channel counts are multiplied with to fit a cell to limits, ascending."""

GROUP = 8
"""Channels per group of the grouped convolution."""


class SqueezeAndExcitation(nn.Module):
    """Weights of the channels by two linear layers that see the mean of each map (Hu 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, squeezed)
        self.relu = nn.ReLU()
        self.excite = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) → (N, C, H, W)."""
        hidden = self.relu(self.squeeze(x.mean((2, 3))))
        return x * torch.sigmoid(self.excite(hidden))[:, :, None, None]


class InvertedResidual(nn.Module):
    """Pointwise to four times c_out, depthwise 3×3, squeeze-and-excitation, pointwise to c_out.

    Beside it is a shortcut; no ReLU follows the sum (Sandler 2018, Howard 2019).
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        wide = 4 * c_out
        self.branch = nn.Sequential(
            *conv_bn_relu(c_in, wide, 1),
            *conv_bn_relu(wide, wide, 3, depthwise=True),
            SqueezeAndExcitation(wide, c_out),
            *conv_bn_relu(wide, c_out, 1, relu=False),
        )
        self.shortcut = OPERATIONS["skip"](c_in, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, c_in, H, W) → (N, c_out, H, W)."""
        summed: Tensor = self.branch(x) + self.shortcut(x)
        return summed


def grouped3x3(c_in: int, c_out: int) -> nn.Module:
    """A pointwise convolution, then a 3×3 one in groups of about `GROUP` channels (Xie 2017)."""
    groups = math.gcd(c_out, max(1, c_out // GROUP))
    grouped = nn.Conv2d(c_out, c_out, 3, padding=1, groups=groups, bias=False)
    return nn.Sequential(*conv_bn_relu(c_in, c_out, 1), grouped, nn.BatchNorm2d(c_out), nn.ReLU())


def for_residual(name: str, factory: Operation) -> dict[str, Operation]:
    """The paper's operations with another one in the place of the residual block."""
    return {
        name if known == RESIDUAL else known: factory if known == RESIDUAL else OPERATIONS[known]
        for known in PAPER_OPERATIONS
    }


class PaddedShortcut(nn.Module):
    """A cell, and around it its input: halved as the cell does, with as many channels, then added.

    Channels are made as many by zeros, or by leaving out the last ones (He 2016, option A).
    """

    def __init__(self, cell: Cell, in_channels: int) -> None:
        super().__init__()
        self.cell = cell
        self.missing = cell.out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) → what the cell returns."""
        around = halve_features(x) if self.cell.reduces else x
        if self.missing:
            around = nn.functional.pad(around, (0, 0, 0, 0, 0, self.missing))
        summed: Tensor = self.cell(x) + around
        return summed


class StagedSpace(CellSpace):
    """`CellSpace` whose stages can be made in other ways.

    Args:
        cells: how often the cell stands in each stage; if cells reduce "inside", the first does.
        padded: whether each cell has a shortcut without parameters.
        norm: whether a batch norm stands behind each cell.
        excited: whether a squeeze-and-excitation stands behind each cell.
        reduction: of `CellSpace`; with "between" the map is halved behind each stage.
        **settings: arguments of `CellSpace`.
    """

    def __init__(
        self,
        *,
        cells: int = 1,
        padded: bool = False,
        norm: bool = False,
        excited: bool = False,
        reduction: str = "inside",
        **settings: Any,
    ) -> None:
        super().__init__(reduction=reduction, **settings)
        self.cells = cells
        self.padded = padded
        self.norm = norm
        self.excited = excited

    def build_final(
        self, genotypes: Sequence[Genotype], in_channels: int, n_classes: int
    ) -> nn.Module:
        """The network to train: a stem, and these stages."""
        makers = self._makers(genotypes)
        return CellNetwork(makers, in_channels, n_classes, stem=PatchStem(in_channels))

    def build_body(
        self, genotypes: Sequence[Genotype], in_channels: int, n_classes: int
    ) -> nn.Module:
        """The network of `build_final` without its stem."""
        return CellNetwork(self._makers(genotypes), in_channels, n_classes)

    def _makers(self, genotypes: Sequence[Genotype]) -> list[Callable[[int], nn.Module]]:
        widths = self.widths or (1, 2, 4)
        return [
            partial(self._stage, genotype, width=width)
            for genotype, width in zip(genotypes, widths, strict=True)
        ]

    def _stage(self, genotype: Genotype, in_channels: int, width: float) -> nn.Module:
        stage, channels = Stage(), in_channels
        for place in range(self.cells):
            reduces = self.reduction == "inside" and place == 0
            cell = Cell(genotype, self.operations, channels, width, reduces=reduces)
            stage.append(PaddedShortcut(cell, channels) if self.padded else cell)
            stage.out_channels = channels = cell.out_channels
            if self.norm:
                stage.append(nn.BatchNorm2d(channels))
            if self.excited:
                stage.append(SqueezeAndExcitation(channels, max(1, channels // 4)))
        return stage


class Stage(nn.Sequential):
    """Cells in sequence, with the ``out_channels`` of the last."""

    out_channels: int


class DifferentCells(SearchSpace[Stages]):
    """Another cell of a `CellSpace` at each of three stages, written with / between them."""

    n_cells = 1
    any_n_cells = False
    mutation_kinds = CellSpace.mutation_kinds
    placing_kinds = CellSpace.placing_kinds

    def __init__(self, space: CellSpace = INSIDE) -> None:
        self.space = space
        self.operation_names = self.space.operation_names

    def parse(self, text: str) -> Stages:
        """Read the cells."""
        return tuple(map(self.space.parse, text.split("/")))

    def format(self, genotype: Stages) -> str:
        """Write the cells."""
        return "/".join(map(str, genotype))

    def canonical(self, genotype: Stages) -> Stages:
        """Each cell in its canonical form."""
        return tuple(map(self.space.canonical, genotype))

    def sample(self, rng: np.random.Generator) -> Stages:
        """Draw each cell."""
        return tuple(self.space.sample(rng) for _ in range(self.space.n_cells))

    def crossover(self, a: Stages, b: Stages, rng: np.random.Generator) -> Stages:
        """Cross the cells of each stage."""
        return tuple(self.space.crossover(*pair, rng) for pair in zip(a, b, strict=True))

    def mutate(
        self, genotype: Stages, kind: str, operation: str, rng: np.random.Generator
    ) -> Stages:
        """Change one of the cells."""
        place = int(rng.integers(len(genotype)))
        changed = self.space.mutate(genotype[place], kind, operation, rng)
        return (*genotype[:place], changed, *genotype[place + 1 :])

    def shrink(self, genotype: Stages, rng: np.random.Generator) -> Stages:
        """Make one of the cells smaller."""
        place = int(rng.integers(len(genotype)))
        smaller = self.space.shrink(genotype[place], rng)
        return (*genotype[:place], smaller, *genotype[place + 1 :])

    def build(self, genotype: Stages, in_channels: int, n_classes: int) -> nn.Module:
        """The scored network of these cells."""
        return self.space.build_body(genotype, in_channels, n_classes)

    def build_final(
        self, genotypes: Sequence[Stages], in_channels: int, n_classes: int
    ) -> nn.Module:
        """The network to train, of the cells of the one genotype."""
        (stages,) = genotypes
        return self.space.build_final(stages, in_channels, n_classes)

    def build_body(
        self, genotypes: Sequence[Stages], in_channels: int, n_classes: int
    ) -> nn.Module:
        """The network of `build_final` without its stem."""
        (stages,) = genotypes
        return self.build(stages, in_channels, n_classes)


SEPARABLE = for_residual("separable3x3", OPERATIONS["separable3x3"])
NARROW = (1, 1.5, 2)

Inside = partial(CellSpace, reduction="inside")

VARIANTS: dict[str, Callable[[], SearchSpace[Any]]] = {
    "base": Inside,
    "widths-1-1.5-2": partial(Inside, widths=NARROW),
    "widths-1-1-1": partial(Inside, widths=(1, 1, 1)),
    "widths-1-1-2": partial(Inside, widths=(1, 1, 2)),
    "inverted": partial(Inside, for_residual("inverted3x3", InvertedResidual)),
    "grouped": partial(Inside, for_residual("grouped3x3", grouped3x3)),
    "separable": partial(Inside, SEPARABLE),
    "shortcut": partial(Inside, shortcut=True),
    "padded": partial(StagedSpace, padded=True),
    "two-cells": partial(StagedSpace, cells=2, channel_step=4),
    "norm": partial(StagedSpace, norm=True),
    "different": DifferentCells,
    "widths-shortcut": partial(Inside, shortcut=True, widths=NARROW),
    "widths-two-cells": partial(StagedSpace, cells=2, channel_step=4, widths=NARROW),
    "separable-widths": partial(Inside, SEPARABLE, widths=NARROW),
    "separable-shortcut": partial(Inside, SEPARABLE, shortcut=True),
    "separable-padded": partial(StagedSpace, operations=SEPARABLE, padded=True),
    "all-three": partial(Inside, SEPARABLE, shortcut=True, widths=NARROW),
    "between": CellSpace,
    "between-separable": partial(CellSpace, SEPARABLE),
    "between-excited": partial(StagedSpace, excited=True, reduction="between"),
}
"""Name → how to make the space; "base" has the widths 1, 2, 4. All but those that begin with
"between" halve the map inside their cells."""


def fitted(variant: str, cells: Sequence[str], limits: Limits) -> str:
    """Cells of the paper's space, as wide as limits allow in a variant of the space.

    Args:
        variant: one of `VARIANTS`.
        cells: genotypes, one for each stage where stages have different ones; else the first one
            is taken for all.
        limits: of the network to train.
    """
    space = VARIANTS[variant]()
    read = tuple(map(CellSpace().parse, cells))
    genotype: Any = read if isinstance(space, DifferentCells) else read[0]

    def make(factor: float) -> nn.Module:
        return space.build_final([scaled(genotype, factor)] * space.n_cells, 3, CLASSES)

    return space.format(scaled(genotype, widest(variant, make, FACTORS, limits)))


def scaled(genotype: Any, factor: float) -> Any:
    """A cell, or several, with channel counts multiplied and rounded to even numbers."""
    if not isinstance(genotype, Genotype):
        return tuple(scaled(cell, factor) for cell in genotype)
    return Genotype(
        tuple(
            tuple(2 * max(1, round(count * factor / 2)) if count else 0 for count in block)
            for block in genotype.blocks
        )
    )
