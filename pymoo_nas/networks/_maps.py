"""Feature maps on their way from cell to cell: joined, halved, counted and checked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pymoo_nas.errors import NetworkError

MIN_SIZE = 4
"""Smallest height and width of an image, in pixels; larger maps are halved at every cell."""


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
