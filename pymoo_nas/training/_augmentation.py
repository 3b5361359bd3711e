"""Augmentation of training images: mirrored and shifted crops of images, squares cut out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def draw_epoch(
    sizes: Sequence[int],
    size: tuple[int, int],
    generator: torch.Generator,
    *,
    augment: str,
    cutout: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Draw what changes the images of an epoch.

    Args:
        sizes: number of images of each batch.
        size: (H, W) in pixels.
        generator: see `draw_shifts`.
        augment: "flip", "shift" or "none", see `train`.
        cutout: whether squares are cut out.

    Returns:
        shifts, int64 (3, n), see `draw_shifts`, and centres of squares, int64 (2, n), see
        `draw_centres`, on the CPU; None in the place of what is not drawn.
    """
    shifts: list[Tensor] = []
    centres: list[Tensor] = []
    for n_images in sizes:
        if augment != "none":
            shifts.append(draw_shifts(n_images, size, generator, flip=augment == "flip"))
        if cutout:
            centres.append(draw_centres(n_images, size, generator))
    of_shifts, of_centres = (torch.cat(drawn, 1) if drawn else None for drawn in (shifts, centres))
    return of_shifts, of_centres


def draw_shifts(
    n_images: int, size: tuple[int, int], generator: torch.Generator, *, flip: bool = True
) -> Tensor:
    """Draw a shift for every image, and mirror it with probability 1/2.

    The shift in each direction is uniform in −m..m, m = max(1, size // 8). For 32×32 pixels these
    are the usual reflected 4-pixel crops; larger images have larger shifts.

    Args:
        n_images: number of images.
        size: (H, W) in pixels.
        generator: on the CPU, so that a seed means the same on every device.
        flip: whether images are mirrored left to right; text and signs must not be mirrored.

    Returns:
        int64 (3, n_images): the arguments `down`, `right` and `flip` of `shift_and_flip`.
    """
    mirrored = (torch.rand(n_images, generator=generator) < 0.5) & flip
    down, right = (
        torch.randint(-margin, margin + 1, (n_images,), generator=generator)
        for margin in map(crop_margin, size)
    )
    return torch.stack([down, right, mirrored.long()])


def crop_margin(size: int) -> int:
    """Largest shift for a size in pixels; reflection allows at most size − 1."""
    return min(max(1, size // 8), size - 1)


def shift_and_flip(
    images: Tensor, down: Tensor, right: Tensor, flip: Tensor, chosen: Tensor | None = None
) -> Tensor:
    """Crop each image at an offset, its border reflected, and then mirror some left to right.

    One gather takes whole pixels, of all channels at once. So it reads a batch out of all images
    without a copy in between.

    Args:
        images: (N, H, W, C) of any type, contiguous.
        down: (n,) integers in −(H − 1)..H − 1: output row r shows input row r + down.
        right: (n,) integers, likewise for the columns.
        flip: (n,) booleans, or 0 and 1.
        chosen: (n,) integers, the places of the images that are taken; None takes all N = n.

    Returns:
        (n, H, W, C).
    """
    n_images, height, width, channels = images.shape
    device = images.device
    if chosen is None:
        chosen = torch.arange(n_images, device=device)
    across = torch.arange(width, device=device)
    across = torch.where(flip[:, None].bool(), width - 1 - across, across)
    rows = _reflected(torch.arange(height, device=device) + down[:, None], height)
    columns = _reflected(across + right[:, None], width)
    pixels = (chosen[:, None] * height + rows)[:, :, None] * width + columns[:, None, :]
    taken = images.view(-1, channels).index_select(0, pixels.flatten())
    return taken.view(len(chosen), height, width, channels)


def draw_centres(n_images: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draw a pixel of every image, all with the same probability.

    Args:
        n_images: number of images.
        size: (H, W) in pixels.
        generator: on the CPU, so that a seed means the same on every device.

    Returns:
        int64 (2, n_images): rows and columns.
    """
    return torch.stack([torch.randint(n, (n_images,), generator=generator) for n in size])


def cut_out(images: Tensor, centres: Tensor, side: int) -> Tensor:
    """Set a square of each image to zero, in place (DeVries 2017).

    Args:
        images: (n, C, H, W), normalised, so that zero is the mean colour.
        centres: (2, n), see `draw_centres`. Where it is close to a border, a part of the square is
            outside of the image.
        side: of the square, in pixels. Of an even number, one more is above and left of the centre.

    Returns:
        the same images.
    """
    rows, columns = (
        _within(n, centre - side // 2, side)
        for n, centre in zip(images.shape[2:], centres, strict=True)
    )
    return images.masked_fill_((rows[:, :, None] & columns[:, None])[:, None], 0.0)


def _within(size: int, first: Tensor, side: int) -> Tensor:
    """Which of the places 0..size - 1 are first..first + side - 1; (n, size)."""
    from_first = torch.arange(size, device=first.device) - first[:, None]
    return (from_first >= 0) & (from_first < side)


def _reflected(index: Tensor, size: int) -> Tensor:
    """Positions up to size - 1 beyond either border, mirrored at the border pixel's centre."""
    return size - 1 - (size - 1 - index.abs()).abs()
