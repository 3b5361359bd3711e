"""Random flips and shifted crops of images."""

from __future__ import annotations

import torch
from torch import Tensor


def augment_images(images: Tensor, generator: torch.Generator, *, flip: bool = True) -> Tensor:
    """Shift every image at random and mirror it with probability 1/2, in one gather.

    The shift in each direction is uniform in −m..m, m = max(1, size // 8). For 32×32 pixels these
    are the usual reflected 4-pixel crops; larger images have larger shifts.

    Args:
        images: (N, C, H, W).
        generator: on the CPU, so that a seed means the same on every device.
        flip: whether images are mirrored left to right; text and signs must not be mirrored.
    """
    n_images, _, height, width = images.shape
    mirrored = (torch.rand(n_images, generator=generator) < 0.5) & flip
    down, right = (
        torch.randint(-margin, margin + 1, (n_images,), generator=generator)
        for margin in (crop_margin(height), crop_margin(width))
    )
    return shift_and_flip(images, down, right, mirrored)


def crop_margin(size: int) -> int:
    """Largest shift for a size in pixels; reflection allows at most size − 1."""
    return min(max(1, size // 8), size - 1)


def shift_and_flip(images: Tensor, down: Tensor, right: Tensor, flip: Tensor) -> Tensor:
    """Crop each image at an offset, its border reflected, and then mirror some left to right.

    Args:
        images: (N, C, H, W).
        down: (N,) integers in −(H − 1)..H − 1: output row r shows input row r + down.
        right: (N,) integers, likewise for the columns.
        flip: (N,) booleans.
    """
    height, width = images.shape[2:]
    across = torch.arange(width).expand(len(images), width)
    across = torch.where(flip[:, None], width - 1 - across, across)
    rows = _reflected(torch.arange(height) + down[:, None], height).to(images.device)
    columns = _reflected(across + right[:, None], width).to(images.device)
    which = torch.arange(len(images), device=images.device)[:, None, None]
    # The slice between the index tensors moves the channels to the end: (N, H, W, C).
    return images[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _reflected(index: Tensor, size: int) -> Tensor:
    """Positions up to size - 1 beyond either border, mirrored at the border pixel's centre."""
    return size - 1 - (size - 1 - index.abs()).abs()
