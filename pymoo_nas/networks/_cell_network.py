"""The network that is made of cells in sequence.

It takes images (N, C, H, W) with H and W of at least `MIN_SIZE`, and returns logits (N, n_classes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pymoo_nas.errors import NetworkError
from pymoo_nas.networks._maps import check_size, halve, next_stage, out_channels


class CellNetwork(nn.Module):
    """Network of a stem, cells in sequence (Fig. 3), global average pooling, one linear layer.

    The image is concatenated to the input of each later cell. From cell to cell the maps are halved
    while they are larger than `MIN_SIZE`. Features are halved by 2×2 max pooling: inside a cell
    that reduces, and behind a cell that does not. The image is halved by averages.

    If averages halve the features too, the same cells train to a lower accuracy. Condition number
    and correlation then both prefer a worse cell: a cell with a max pooling behind its output
    (studies/archive/reductions.md).

    Args:
        cells: factories ``in_channels -> cell``, in order; a cell keeps (H, W) or halves it as
            `Cell` does, and has ``out_channels``.
        in_channels: channels of the images.
        n_classes: number of logits.
        stem: module between the images and the first cell; it halves (H, W) `halvings` times and
            has ``out_channels``. None gives the first cell the images themselves.
        halvings: how often large images are halved before the first cell. Where they go into a
            cell themselves, they are halved by averages.

    Raises:
        NetworkError: there is no cell.
    """

    def __init__(
        self,
        cells: Sequence[Callable[[int], nn.Module]],
        in_channels: int,
        n_classes: int,
        *,
        stem: nn.Module | None = None,
        halvings: int = 0,
    ) -> None:
        super().__init__()
        if not cells:
            raise NetworkError("network: no cells given; expected at least one")
        self.stem = stem
        self.halvings = halvings
        self.cells = nn.ModuleList()
        channels = in_channels if stem is None else out_channels(stem)
        for build_cell in cells:
            cell = build_cell(channels)
            self.cells.append(cell)
            channels = out_channels(cell) + in_channels
        self.classifier = nn.Linear(channels - in_channels, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) → logits (N, n_classes)."""
        check_size(images, self.halvings)
        stemmed = None if self.stem is None else self.stem(images)
        for _ in range(self.halvings):
            images = halve(images)
        x = self.cells[0](images if stemmed is None else stemmed)
        for cell in self.cells[1:]:
            x, images = next_stage(x, images)
            x = cell(torch.cat([x, images], dim=1))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits

    def extra_repr(self) -> str:
        """Show in `repr` how often images are halved, because no layer shows it."""
        return f"halvings={self.halvings}" if self.halvings else ""
