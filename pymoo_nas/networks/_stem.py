"""The stem of a network of cells: it transforms image patches so that they are not correlated."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 2
"""Height and width of a patch, in pixels."""


class PatchStem(nn.Module):
    """Stem that cosine-transforms each pixel's 2×2 patch, whitens it and splits it by sign.

    Neighbouring pixels and the channels of a colour image are strongly correlated. The cosine
    transform nearly removes these correlations from natural images (Ahmed 1974). A batch norm
    without parameters gives every coefficient the same variance. The positive and the negative part
    become two channels (Shang 2016). The first convolution then learns fine structure as fast as
    mean brightness. A stem whitened by the training images does the same (Jordan 2024); this stem
    depends on no image, and has nothing to train.

    Args:
        in_channels: channels of the images.

    Attributes:
        out_channels: channels of the output, eight times as many.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        side = _cosines(PATCH)
        basis = torch.einsum("ac,py,qx->apqcyx", _cosines(in_channels), side, side)
        self.basis: Tensor
        self.register_buffer("basis", basis.reshape(-1, in_channels, PATCH, PATCH).contiguous())
        n_coefficients = in_channels * PATCH**2
        self.norm = nn.BatchNorm2d(n_coefficients, affine=False)
        self.out_channels = 2 * n_coefficients

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) → (N, out_channels, H, W), at least 0; pad images with 0."""
        before = (PATCH - 1, 0)
        whitened = self.norm(F.conv2d(F.pad(images, before + before), self.basis))
        return F.relu(torch.cat([whitened, -whitened], dim=1))


def _cosines(n: int) -> Tensor:
    """Compute the orthonormal cosine transform of n numbers, one basis vector per row."""
    rows, columns = torch.arange(n)[:, None], torch.arange(n)[None]
    basis = torch.cos(math.pi / n * (columns + 0.5) * rows)
    lengths: Tensor = basis.norm(dim=1, keepdim=True)
    return basis / lengths
