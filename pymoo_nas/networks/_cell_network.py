"""The network that is made of cells in sequence.

It takes images (N, C, H, W) of any H and W from `MIN_SIZE` on and returns logits (N, n_classes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pymoo_nas.errors import NetworkError
from pymoo_nas.networks._maps import check_size, next_stage, out_channels


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
