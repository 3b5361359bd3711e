"""The network in which cells compete for their places."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from pymoo_nas.errors import NetworkError
from pymoo_nas.networks._maps import check_size, halve, next_stage, out_channels
from pymoo_nas.networks._operations import conv_bn_relu

T = TypeVar("T")


class TournamentNetwork(nn.Module):
    """The network of Fig. 2: at every depth the contenders of one slot compete in parallel.

    The output of a slot is the concatenation of softmax(alpha)_j · cell_j(x) + noise. Before the
    next slot, a 1×1 convolution with batch norm reduces this output to the mean width of the
    contenders. So a cell competes at about the input width that it has in the final network. With
    k contenders per slot, a tournament costs about k times as much as such a network, not k² times.
    Images and halving between depths are as in `CellNetwork`.

    Args:
        slots: contenders of every depth.
        build_cell: ``(contender, in_channels) -> cell``; a cell has ``out_channels``. The cells of
            a slot all keep (H, W), or all halve it as `Cell` does.
        in_channels: channels of the images.
        n_classes: number of logits.
        noise: standard deviation of the Gaussian noise, in training mode only (torch's generator).
        halvings: how often large images are halved before the first slot, by averages.

    Attributes:
        alphas: one parameter (number of contenders,) per slot, zero at the start.
    """

    def __init__(
        self,
        slots: Sequence[Sequence[T]],
        build_cell: Callable[[T, int], nn.Module],
        in_channels: int,
        n_classes: int,
        *,
        noise: float = 0.0,
        halvings: int = 0,
    ) -> None:
        super().__init__()
        if not slots or not all(slots):
            raise NetworkError(
                "tournament: a slot without contenders; expected one or more in each"
            )
        self.noise = noise
        self.halvings = halvings
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
        """List all parameters except the alphas."""
        alphas = {id(alpha) for alpha in self.alphas}
        return [parameter for parameter in self.parameters() if id(parameter) not in alphas]

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) → logits (N, n_classes)."""
        check_size(images, self.halvings)
        for _ in range(self.halvings):
            images = halve(images)
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
