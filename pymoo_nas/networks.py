"""Phenotypes: the cell that a genotype spells, and the networks that are made of cells.

All take images (N, C, H, W) of any H and W from `MIN_SIZE` on and return logits (N, n_classes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas.errors import NetworkError, OperationError
from pymoo_nas.genotype import Genotype
from pymoo_nas.operations import Operation, build_operation, conv_bn_relu, operation_table

MIN_SIZE = 4
"""Smallest height and width of an image, in pixels; larger maps are halved at every cell."""

T = TypeVar("T")


class Cell(nn.Module):
    """The cell of Fig. 1: every node is the concatenation of all that flows into it.

    Args:
        genotype: channel counts, one per block and operation; nodes that cannot reach the output
            are not built.
        operations: name → factory, in the order of the genotype's counts.
        in_channels: channels of the input (node 0).
        width: factor of all channel counts.
        reduces: halve the map, by 2×2 max pooling behind each operation that takes the input, while
            it is larger than `MIN_SIZE`: a reduction cell (Liu 2018) with its operations unchanged.

    Attributes:
        out_channels: channels of the last node.

    Raises:
        NetworkError: the genotype has another number of operations, or its output is not connected
            to its input.
        OperationError: a factory cannot make the channel counts; in `forward`, an operation does
            not keep (H, W) or returns another channel count.
    """

    def __init__(
        self,
        genotype: Genotype,
        operations: Mapping[str, Operation],
        in_channels: int,
        width: int = 1,
        *,
        reduces: bool = False,
    ) -> None:
        super().__init__()
        operations = operation_table(operations)
        if genotype.n_operations != len(operations):
            raise NetworkError(
                f"genotype {genotype}: {genotype.n_operations} counts per block; "
                f"expected {len(operations)}, one per operation ({', '.join(operations)})"
            )
        live = genotype.live_nodes()
        if not live:
            raise NetworkError(f"genotype {genotype}: output not connected to the input")
        self.reduces = reduces
        channels = {0: in_channels}
        self.inputs: dict[int, list[tuple[int, str]]] = {}
        self.counts: dict[str, int] = {}
        self.operations = nn.ModuleDict()
        for target in live[1:]:
            flows = [
                (source, name, width * count)
                for source in live
                if source < target
                for name, count in zip(operations, genotype.block(source, target), strict=True)
                if count
            ]
            self.inputs[target] = [
                (source, f"{source}->{target} {name}") for source, name, _ in flows
            ]
            for (source, key), (_, name, count) in zip(self.inputs[target], flows, strict=True):
                self.counts[key] = count
                self.operations[key] = build_operation(
                    name, operations[name], channels[source], count
                )
            channels[target] = sum(count for _, _, count in flows)
        self.out_channels = channels[live[-1]]

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → (N, out_channels, H, W), or half of both where it reduces."""
        nodes = {0: x}
        for target, flows in self.inputs.items():
            parts = [self._flow(source, key, nodes[source]) for source, key in flows]
            nodes[target] = parts[0] if len(parts) == 1 else concatenate(parts)
        return nodes[target]

    def extra_repr(self) -> str:
        """What of a cell no layer shows; a training is not continued with another network."""
        return f"reduces={self.reduces}"

    def _flow(self, source: int, key: str, x: Tensor) -> Tensor:
        """One operation's output, of the shape that the genotype promises, halved if need be."""
        y: Tensor = self.operations[key](x)
        expected = (len(x), self.counts[key], *x.shape[2:])
        if tuple(y.shape) != expected:
            raise OperationError(
                f"operation {key!r}: returned {tuple(y.shape)} for {tuple(x.shape)}; "
                f"expected {expected}: height and width kept, as many channels as asked for"
            )
        return halve_features(y) if self.reduces and source == 0 else y


class CellNetwork(nn.Module):
    """A stem, cells in sequence (Fig. 3), global average pooling, one linear layer.

    The image is concatenated to the input of each later cell. From cell to cell the map is halved
    while it is larger than `MIN_SIZE`: features by 2×2 max pooling, within a cell that reduces and
    behind one that does not; the image by averages.

    With averages of the features instead, the same cells train to a lower accuracy, and both
    condition number and correlation prefer a cell with a max pooling behind its output, which is
    worse (studies/archive/reductions.md).

    Args:
        cells: factories ``in_channels -> cell``, in order; a cell keeps (H, W) or halves it as
            `Cell` does, and has ``out_channels``.
        in_channels: channels of the images.
        n_classes: number of logits.
        stem: what the first cell sees of the images: keeps (H, W) and has ``out_channels``; None
            for the images themselves.

    Raises:
        NetworkError: no cell.
    """

    def __init__(
        self,
        cells: Sequence[Callable[[int], nn.Module]],
        in_channels: int,
        n_classes: int,
        *,
        stem: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not cells:
            raise NetworkError("network: no cells given; expected at least one")
        self.stem = stem
        self.cells = nn.ModuleList()
        channels = in_channels if stem is None else out_channels(stem)
        for build_cell in cells:
            cell = build_cell(channels)
            self.cells.append(cell)
            channels = out_channels(cell) + in_channels
        self.classifier = nn.Linear(channels - in_channels, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) → logits (N, n_classes)."""
        check_size(images)
        x = self.cells[0](images if self.stem is None else self.stem(images))
        for cell in self.cells[1:]:
            x, images = next_stage(x, images)
            x = cell(torch.cat([x, images], dim=1))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


class TournamentNetwork(nn.Module):
    """The network of Fig. 2: at every depth the contenders of one slot compete in parallel.

    The output of a slot is the concatenation of softmax(alpha)_j · cell_j(x) + noise. On its way to
    the next slot a 1×1 convolution with batch norm brings it back to the mean width of the
    contenders: so a cell competes at about the input width that it has in the final network, and a
    tournament costs about size times such a network rather than size². Images and halving between
    depths are as in `CellNetwork`.

    Args:
        slots: the contenders of every depth.
        build_cell: ``(contender, in_channels) -> cell``; a cell has ``out_channels``, and all of
            a slot keep (H, W) or all halve it as `Cell` does.
        in_channels: channels of the images.
        n_classes: number of logits.
        noise: standard deviation of the Gaussian noise, in training mode only (torch's generator).

    Attributes:
        alphas: one parameter (number of contenders,) per slot, zero in the beginning.
    """

    def __init__(
        self,
        slots: Sequence[Sequence[T]],
        build_cell: Callable[[T, int], nn.Module],
        in_channels: int,
        n_classes: int,
        *,
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        if not slots or not all(slots):
            raise NetworkError(
                "tournament: a slot without contenders; expected one or more in each"
            )
        self.noise = noise
        self.slots = nn.ModuleList()
        self.projections = nn.ModuleList()
        self.alphas = nn.ParameterList([torch.zeros(len(slot)) for slot in slots])
        channels = in_channels
        for slot in slots:
            cells = [build_cell(contender, channels) for contender in slot]
            self.slots.append(nn.ModuleList(cells))
            concatenated = sum(map(out_channels, cells))
            width = math.ceil(concatenated / len(cells))
            self.projections.append(
                nn.Sequential(*conv_bn_relu(concatenated, width, 1, relu=False))
            )
            channels = width + in_channels
        self.classifier = nn.Linear(width, n_classes)

    def weights(self) -> list[nn.Parameter]:
        """All parameters but the alphas."""
        alphas = {id(alpha) for alpha in self.alphas}
        return [parameter for parameter in self.parameters() if id(parameter) not in alphas]

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W) → logits (N, n_classes)."""
        check_size(images)
        x = self._slot(0, images)
        for depth in range(1, len(self.slots)):
            x, images = next_stage(x, images)
            x = self._slot(depth, torch.cat([x, images], dim=1))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits

    def _slot(self, depth: int, x: Tensor) -> Tensor:
        cells: nn.ModuleList = self.slots[depth]  # type: ignore[assignment]
        shares = torch.softmax(self.alphas[depth], dim=0)
        output = torch.cat([share * cell(x) for share, cell in zip(shares, cells, strict=True)], 1)
        if self.training and self.noise > 0:
            output = output + self.noise * torch.randn_like(output)
        projected: Tensor = self.projections[depth](output)
        return projected


def concatenate(parts: Sequence[Tensor]) -> Tensor:
    """(N, C_i, H, W) → (N, Σ C_i, H, W); the gradient of each part is dense.

    Torch passes slices of the gradient on. The backward pass of a batch norm on the CPU is much
    slower in a slice than in a dense copy.
    """
    for part in parts:
        if part.requires_grad:
            part.register_hook(_dense)
    return torch.cat(list(parts), dim=1)


def _dense(gradient: Tensor) -> Tensor:
    last = gradient.ndim == 4 and gradient.stride(1) == 1
    return gradient.contiguous(
        memory_format=torch.channels_last if last else torch.contiguous_format
    )


def out_channels(cell: nn.Module) -> int:
    """The channels that a cell says it returns.

    Raises:
        NetworkError: it has no integer attribute ``out_channels``.
    """
    channels = getattr(cell, "out_channels", None)
    if not isinstance(channels, int):
        raise NetworkError(
            f"cell {type(cell).__name__}: out_channels is {channels!r}; expected an integer"
        )
    return channels


def halve(x: Tensor) -> Tensor:
    """2×2 average pooling, rounded up, of maps larger than `MIN_SIZE`; others stay as they are."""
    return F.avg_pool2d(x, 2, ceil_mode=True) if min(x.shape[-2:]) > MIN_SIZE else x


def halve_features(x: Tensor) -> Tensor:
    """2×2 max pooling, rounded up, of maps larger than `MIN_SIZE`; others stay as they are."""
    return F.max_pool2d(x, 2, ceil_mode=True) if min(x.shape[-2:]) > MIN_SIZE else x


def next_stage(x: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and images for the next cell, both halved once since the last one.

    Args:
        x: (N, C, H, W), what a cell has made of the images, or half as large where it reduces.
        images: (N, C, H, W).
    """
    kept = x.shape[2:] == images.shape[2:]
    return halve_features(x) if kept else x, halve(images)


def check_size(images: Tensor) -> None:
    """Refuse images that are smaller than the cells' maps.

    Raises:
        NetworkError: fewer than `MIN_SIZE` pixels in height or width, or not four dimensions.
    """
    if images.ndim != 4 or min(images.shape[-2:]) < MIN_SIZE:
        raise NetworkError(
            f"images of shape {tuple(images.shape)}: too small for the network; expected "
            f"(N, C, H, W) with H and W of at least {MIN_SIZE}; resize them (--image-size "
            "HEIGHTxWIDTH, image_size=(height, width))"
        )
