"""The network that is exported: it takes raw pixels and returns probabilities."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pymoo_nas._version import VERSION
from pymoo_nas.errors import ExportError
from pymoo_nas.training import TrainedNetwork, mirrored_logits

TYPES = {"uint8": torch.uint8, "float32": torch.float32}
"""Name of the pixels' type → torch's type."""

Runner: TypeAlias = Callable[[Tensor], Tensor]
"""Runs a network: raw pixels (N, C, H, W) → probabilities (N, n_classes)."""


class Deployed(nn.Module):
    """Normalisation, a network and the softmax: raw pixels → probabilities.

    The arithmetic is that of `TrainedNetwork.probabilities`, to the bit.

    Args:
        network: normalised images (N, C, H, W) → logits (N, n_classes).
        shift: (C,), what is subtracted from the pixels.
        scale: (C,), by which the difference is divided.
        flip: whether probabilities are the mean over an image and its mirror image.
    """

    def __init__(
        self, network: nn.Module, shift: NDArray[Any], scale: NDArray[Any], *, flip: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.flip = flip
        for name, values in (("shift", shift), ("scale", scale)):
            column = torch.from_numpy(values.astype(np.float32)).view(1, -1, 1, 1)
            self.register_buffer(name, column)
        self.shift: Tensor
        self.scale: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """Map raw pixels (N, C, H, W) → probabilities (N, n_classes)."""
        normalised = self.normalised(images)
        if self.flip:
            return torch.softmax(mirrored_logits(self.network, normalised), dim=1)
        return torch.softmax(self.network(normalised), dim=1)

    def normalised(self, images: Tensor) -> Tensor:
        """Map raw pixels → what the network was trained on, of the same shape."""
        return (images.to(torch.float32) - self.shift) / self.scale


def deployed(trained: TrainedNetwork) -> Deployed:
    """Copy a trained network to the CPU, in eval mode and without gradients, to export it."""
    network = copy.deepcopy(trained.network).cpu().eval().requires_grad_(False)
    factor = 255.0 if trained.pixels == "uint8" else 1.0
    shift, scale = factor * trained.mean, factor * trained.std
    return Deployed(network, shift, scale, flip=trained.test_flip).eval()


def pixels_of(trained: TrainedNetwork, pixels: str | None) -> str:
    """Return the type of pixels that the exported file takes.

    Args:
        trained: the network.
        pixels: "uint8" or "float32", from 0 to 255; None for the type of the training images.

    Raises:
        ExportError: an unknown type, or uint8 for a network of floats on another scale.
    """
    if pixels is None:
        return trained.pixels
    if pixels not in TYPES:
        raise ExportError(f"pixels {pixels!r}; expected one of {', '.join(TYPES)}")
    if pixels == "uint8" and trained.pixels != "uint8":
        raise ExportError(
            f"{trained.folder}: trained on floats on a scale of their own, which uint8 pixels "
            "cannot hold; leave --pixels out"
        )
    return pixels


def raw(images: NDArray[Any], pixels: str) -> Tensor:
    """Turn images (n, H, W, C) into the raw pixels that a file takes, (n, C, H, W)."""
    # A copy: a view of grey images has the strides of another layout, which torch would keep.
    planes = np.array(np.moveaxis(images, 3, 1), order="C")
    return torch.from_numpy(planes).to(TYPES[pixels])


def run_in_batches(runner: Runner, images: NDArray[Any], pixels: str, batch_size: int) -> Tensor:
    """Run images (n, H, W, C) batch by batch: probabilities (n, n_classes)."""
    starts = range(0, len(images), batch_size)
    with torch.no_grad():
        return torch.cat([runner(raw(images[s : s + batch_size], pixels)) for s in starts])


def describe(trained: TrainedNetwork, pixels: str) -> dict[str, Any]:
    """Describe an exported network in plain values, which its file keeps."""
    scale = "on the scale of the training images"
    if trained.pixels == "uint8":
        scale = "from 0 to 255; of image files: upright by EXIF, resized as by Pillow's BILINEAR"
    return {
        "producer": f"pymoo-nas {VERSION}",
        "title": trained.title,
        "class_names": list(trained.class_names),
        "image_size": list(trained.image_size),
        "mean": trained.mean.tolist(),
        "std": trained.std.tolist(),
        "pixels": trained.pixels,
        "whole": trained.whole,
        "grey_range": None if trained.grey_range is None else list(trained.grey_range),
        "test_accuracy": trained.test_accuracy,
        "test_flip": trained.test_flip,
        "input": f"images: {pixels} (N, {len(trained.mean)}, {trained.image_size[0]}, "
        f"{trained.image_size[1]}), raw pixels {scale}",
        "output": f"probabilities: float32 (N, {len(trained.class_names)})",
    }
