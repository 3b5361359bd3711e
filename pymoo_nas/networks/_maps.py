"""Join, halve, count and check the feature maps that pass from cell to cell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas.errors import NetworkError

MIN_SIZE = 4
"""Smallest height and width of an image, in pixels; larger maps are halved from cell to cell."""


def concatenate(parts: Sequence[Tensor]) -> Tensor:
    """Join maps (N, C_i, H, W) → (N, Σ C_i, H, W); the gradient of each part is a dense copy.

    Torch would pass slices of the gradient on. On the CPU the backward pass of a batch norm is much
    slower with a slice than with a dense copy. A compiler arranges gradients itself.
    """
    for part in parts:
        if part.requires_grad and part.device.type == "cpu" and not torch.compiler.is_compiling():
            part.register_hook(_dense)
    return torch.cat(list(parts), dim=1)


def _dense(gradient: Tensor) -> Tensor:
    last = gradient.ndim == 4 and gradient.stride(1) == 1
    return gradient.contiguous(
        memory_format=torch.channels_last if last else torch.contiguous_format
    )


def out_channels(cell: nn.Module) -> int:
    """Read how many channels a cell returns, from its attribute ``out_channels``.

    Raises:
        NetworkError: the cell has no integer attribute ``out_channels``.
    """
    channels = getattr(cell, "out_channels", None)
    if not isinstance(channels, int):
        raise NetworkError(
            f"cell {type(cell).__name__}: out_channels is {channels!r}; expected an integer"
        )
    return channels


def halve(x: Tensor) -> Tensor:
    """Halve maps larger than `MIN_SIZE` by 2×2 average pooling, rounded up; keep other maps."""
    return F.avg_pool2d(x, 2, ceil_mode=True) if min(x.shape[-2:]) > MIN_SIZE else x


def halve_features(x: Tensor) -> Tensor:
    """Halve maps larger than `MIN_SIZE` by 2×2 max pooling, rounded up; keep other maps."""
    return F.max_pool2d(x, 2, ceil_mode=True) if min(x.shape[-2:]) > MIN_SIZE else x


def next_stage(x: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Prepare features and images for the next cell; both are halved once since the last cell.

    Args:
        x: features that the last cell returned: (N, C, H, W), or half of H and W where it reduces.
        images: (N, C, H, W).
    """
    kept = x.shape[2:] == images.shape[2:]
    return halve_features(x) if kept else x, halve(images)


def check_size(images: Tensor, halvings: int = 0) -> None:
    """Refuse images that are smaller than the smallest maps of cells.

    Args:
        images: (N, C, H, W).
        halvings: how often images are halved before the first cell.

    Raises:
        NetworkError: halved images have fewer than `MIN_SIZE` pixels in height or width, or the
            images have not four dimensions.
    """
    least = MIN_SIZE * 2**halvings
    if images.ndim != 4 or min(images.shape[-2:]) < least:
        raise NetworkError(
            f"images of shape {tuple(images.shape)}: too small for the network; expected "
            f"(N, C, H, W) with H and W of at least {least}; resize them (--image-size "
            "HEIGHTxWIDTH, image_size=(height, width))"
        )
