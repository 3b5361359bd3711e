"""The stems of a network of cells: they transform image patches so that they are not correlated."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas.networks._operations import conv_bn_relu

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
        stride: 1 for the patch of each pixel; `PATCH` for patches side by side, which halve H and W
            and lose nothing.

    Attributes:
        out_channels: channels of the output, eight times as many.
    """

    def __init__(self, in_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        side = _cosines(PATCH)
        basis = torch.einsum("ac,py,qx->apqcyx", _cosines(in_channels), side, side)
        self.basis: Tensor
        self.register_buffer("basis", basis.reshape(-1, in_channels, PATCH, PATCH).contiguous())
        n_coefficients = in_channels * PATCH**2
        self.norm = nn.BatchNorm2d(n_coefficients, affine=False)
        self.out_channels = 2 * n_coefficients

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) → (N, out_channels, H, W), at least 0; pad images with 0.

        With a stride, H and W are divided by it, and rounded up.
        """
        if self.stride == 1:
            padded = F.pad(images, 2 * (PATCH - 1, 0))
        else:
            padded = F.pad(images, (0, -images.shape[3] % PATCH, 0, -images.shape[2] % PATCH))
        whitened = self.norm(F.conv2d(padded, self.basis, stride=self.stride))
        return F.relu(torch.cat([whitened, -whitened], dim=1))


class ReducingStem(nn.Sequential):
    """Stem for large images: patches side by side, then convolutions with stride 2.

    Residual networks reduce images of 224×224 to maps of 56×56 in the same way before their first
    block (He 2016). Cells on maps of the full size would cost sixteen times as much. The first
    halving is that of the patches. Each further one is a depthwise 3×3 convolution with stride 2
    and a pointwise one, as in MobileNet (Howard 2017), since convolutions that mix all channels of
    such large maps would cost more than the cells behind them.

    Args:
        in_channels: channels of the images.
        halvings: how often H and W are halved, rounded up; at least 1.

    Attributes:
        out_channels: channels of the output, eight times as many.
    """

    def __init__(self, in_channels: int, halvings: int) -> None:
        patches = PatchStem(in_channels, stride=PATCH)
        self.out_channels = channels = patches.out_channels
        super().__init__(patches)
        for _ in range(halvings - 1):
            self.extend(
                [
                    *conv_bn_relu(channels, channels, 3, depthwise=True, relu=False, stride=2),
                    *conv_bn_relu(channels, channels, 1),
                ]
            )


def _cosines(n: int) -> Tensor:
    """Compute the orthonormal cosine transform of n numbers, one basis vector per row."""
    rows, columns = torch.arange(n)[:, None], torch.arange(n)[None]
    basis = torch.cos(math.pi / n * (columns + 0.5) * rows)
    lengths: Tensor = basis.norm(dim=1, keepdim=True)
    return basis / lengths
