"""Batches of the images that are trained on, made on the device of the training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pymoo_nas.datasets import Dataset
from pymoo_nas.training._augmentation import shift_and_flip

SHARE = 0.25
"""The part of a card's free memory that the training images may take; a network needs the rest."""

AT_ONCE = 64 * 2**20
"""Bytes of images that are copied to the device at once."""


class Batches:
    """Indexes training images, and makes batches of them: augmented, normalised, on the device.

    On a CUDA device all images stay as they are stored (uint8 as uint8) in its memory, where they
    fit into `SHARE` of what is free. Elsewhere the images of a batch are copied to the device as
    they are stored; they may be mapped from a file that is larger than memory. Augmentation and
    normalisation take place on the device, and give the numbers of `Dataset.normalized`.

    Args:
        dataset: see `load_dataset`; its training images are read, and are not written to.
        device: device of the batches.
        kept: whether all images are copied to the device; None decides by its memory.

    Attributes:
        kept: whether all images are on the device.
    """

    def __init__(self, dataset: Dataset, device: torch.device, *, kept: bool | None = None) -> None:
        self._images: Any = dataset.train_images
        self._device = device
        self.kept = fits(dataset.train_images.nbytes, device) if kept is None else kept
        self._held = _copied(self._images, device) if self.kept else None
        scale = 255.0 if self._images.dtype == np.uint8 else 1.0
        # A row of pixels at a time: rows are long enough for the vector units, channels are not.
        width = self._images.shape[2]
        self._shift, self._divisor = (
            torch.from_numpy(np.tile((scale * values).astype(np.float32), width)).to(device)
            for values in (dataset.mean, dataset.std)
        )

    def places(self, chosen: np.ndarray) -> Any:
        """Return indices in the form in which `take` needs no further copy to the device.

        Args:
            chosen: (n,) indices of training images.
        """
        return torch.from_numpy(chosen).to(self._device) if self.kept else chosen

    def take(self, places: Any, shifts: Tensor | None = None) -> Tensor:
        """Make a batch.

        Args:
            places: (n,) indices of training images, of `places`.
            shifts: (3, n) on the device, see `draw_shifts`; None leaves the images as they are.

        Returns:
            float32 (n, C, H, W) on the device, see `Dataset.normalized`.
        """
        if self._held is None:
            images, chosen = self._to_device(np.ascontiguousarray(self._images[places])), None
        else:
            images, chosen = self._held, places
        if shifts is not None:
            down, right, flip = shifts
            images = shift_and_flip(images, down, right, flip, chosen)
        elif chosen is not None:
            images = images.index_select(0, chosen)
        return self._normalized(images)

    def _to_device(self, images: np.ndarray) -> Tensor:
        batch = torch.from_numpy(images)
        if self._device.type == "cuda":
            batch = batch.pin_memory()  # otherwise the copy would wait for the device
        return batch.to(self._device, non_blocking=True)

    def _normalized(self, images: Tensor) -> Tensor:
        n_images, height, width, channels = images.shape
        rows = images.reshape(n_images, height, width * channels).to(torch.float32, copy=True)
        rows.sub_(self._shift).div_(self._divisor)
        if channels == 1:  # strides of NHWC would let torch take one channel for channels_last
            return rows.view(n_images, 1, height, width)
        return rows.view(n_images, height, width, channels).permute(0, 3, 1, 2)


def fits(n_bytes: int, device: torch.device) -> bool:
    """Whether training images are kept on a device: on CUDA, where they take little of its memory.

    On the CPU they are there already.
    """
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return n_bytes <= SHARE * free


def _copied(images: Any, device: torch.device, at_once: int = AT_ONCE) -> Tensor:
    """Copy images to a device, piece by piece: they may be mapped from a large file."""
    step = max(1, at_once // max(1, images[:1].nbytes))
    parts = (
        np.array(images[start : start + step], order="C") for start in range(0, len(images), step)
    )
    kept = None
    for index, part in enumerate(map(torch.from_numpy, parts)):
        if kept is None:
            kept = torch.empty((len(images), *part.shape[1:]), dtype=part.dtype, device=device)
        kept[index * step : index * step + len(part)].copy_(part)
    assert kept is not None  # a data set has images
    return kept
