"""Networks that `train` has written to a folder, ready for new images."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from pymoo_nas._machine import whole
from pymoo_nas.datasets import (
    FULL_RANGE,
    MODES,
    UNREADABLE,
    Dataset,
    GreyRange,
    as_pixels,
    channels_last,
    find_images,
    normalize,
    read_images,
    resize,
    same_type,
)
from pymoo_nas.errors import DatasetError, PymooNasError, RunError
from pymoo_nas.spaces import Architecture, design_of, title_of
from pymoo_nas.training._evaluation import logits_of
from pymoo_nas.training._weights import DESCRIPTION, load_weights, read_description


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A trained network with all that is needed to use it.

    Attributes:
        network: normalised images (N, C, H, W) → logits (N, n_classes); in eval mode.
        class_names: names of the classes of logit 0, 1, ….
        image_size: (H, W) of the training images, in pixels.
        mean: (C,), mean of the training pixels; 0..255 counts as 0..1, floats as they were.
        std: (C,), standard deviation of the training pixels, on the same scale.
        pixels: "uint8", or "float32" where the training images were floats on a scale of their own.
        device: where the network is.
        title: genotypes, or the model's name, in words.
        folder: folder that the network was loaded from.
        test_accuracy: fraction of correct answers on the test images, with the kept weights.
        grey_range: levels of 16-bit grey files that became 0 and 255 in training; None where the
            training images were other files or arrays.
        whole: whether the training images were floats with whole numbers only; integers that 8 bits
            cannot hold become such floats.
        test_flip: whether probabilities are the mean over an image and its mirror image.
    """

    network: nn.Module
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    pixels: str
    device: torch.device
    title: str
    folder: Path
    test_accuracy: float
    grey_range: GreyRange | None = FULL_RANGE
    whole: bool = False
    test_flip: bool = False

    def probabilities(self, images: Any, *, batch_size: int = 256) -> NDArray[np.float32]:
        """The softmax of the logits, (n, n_classes): rows sum to 1.

        With `test_flip` it is the mean over each image and its mirror image.

        Args:
            images: one image or several, resized to the size of the training images. One of

                - the path of an image file, or of a folder of them (sorted, with those below);
                - an image of PIL;
                - numpy (n, H, W, C) or (n, H, W), or torch (n, C, H, W) or (n, H, W), with the
                  pixels and channels of the training images;
                - one image of these: numpy (H, W) or (H, W, C), torch (H, W) or (C, H, W);
                - a list of any of them, also of different sizes.
            batch_size: images at a time; changes only memory and speed.

        Raises:
            DatasetError: no such file, one that cannot be read, pixels of another type, or another
                number of channels or dimensions.
            NetworkError: outputs that are NaN or infinite.
            SearchError: a batch size below 1.
        """
        logits = logits_of(
            self.network,
            self._prepared(images),
            lambda batch: normalize(batch, self.mean, self.std),
            batch_size=whole("batch_size", batch_size),
            device=self.device,
            flip=self.test_flip,
        )
        return torch.softmax(logits, dim=1).numpy()

    def check_files(self) -> None:
        """Refuse image files for a network whose training images no image file can hold.

        Raises:
            DatasetError: the network was trained on floats, or on another number of channels.
        """
        channels = len(self.mean)
        if self.pixels != "uint8" or channels not in MODES:
            raise DatasetError(
                f"{self.folder}: trained on {self.pixels} pixels of {channels} channels; image "
                "files hold uint8 of 1 or 3; give a .npy file of such pixels, or use "
                "load_trained(...).probabilities(images) in Python"
            )

    def _prepared(self, images: Any) -> NDArray[Any]:
        """Turn images in a form of `probabilities` into (n, *image_size, C), as trained on."""
        if isinstance(images, str | Path):
            return self._of_files(find_images(Path(images)))
        if isinstance(images, Image.Image):
            self.check_files()
            return self._stacked([self._of_picture(images)])
        if isinstance(images, list | tuple) and any(isinstance(i, _SINGLE) for i in images):
            return np.concatenate([self._prepared(image) for image in images])
        array = channels_last(self._batched(images), "images", n_channels=len(self.mean))
        return resize(self._as_trained(array), self.image_size)

    def _of_files(self, paths: list[Path]) -> NDArray[Any]:
        self.check_files()
        channels = len(self.mean)
        read = read_images(paths, self.image_size, channels=channels, grey_range=self.grey_range)
        for path, why in read.skipped.items():
            raise DatasetError(f"image {path}: {why}; expected a readable image file")
        return self._stacked(list(read.images.values()))

    def _of_picture(self, picture: Image.Image) -> NDArray[Any]:
        channels = len(self.mean)
        if 0 in picture.size:
            raise DatasetError(f"image {picture}: has no pixel; expected at least one")
        try:
            # A copy, as reading takes its metadata away.
            return as_pixels(
                picture.copy(), self.image_size, channels=channels, grey_range=self.grey_range
            ).pixels
        except UNREADABLE as error:
            raise DatasetError(f"image {picture}: cannot be read ({error}); convert it") from error

    def _stacked(self, pixels: list[NDArray[Any]]) -> NDArray[Any]:
        return np.stack(pixels).reshape(len(pixels), *self.image_size, len(self.mean))

    def _batched(self, images: Any) -> Any:
        """Turn one image of numpy or torch into a batch of one; leave batches as they are."""
        if not isinstance(images, np.ndarray | Tensor):
            return images
        if images.ndim < 2 or 0 in images.shape:
            raise DatasetError(
                f"images: got an array of shape {tuple(images.shape)}; expected (H, W), (n, H, W) "
                "or one with channels, of at least one pixel"
            )
        # Grey images (n, H, W) are a batch; a short last axis is the channels of one image, which
        # are refused later where they are of colours.
        channels = (1, 3, 4) if self.image_size[1] > 4 else (1,)
        with_channel = len(self.mean) > 1 or (
            isinstance(images, np.ndarray) and images.shape[-1] in channels
        )
        return images[None] if images.ndim == 2 or (images.ndim == 3 and with_channel) else images

    def _as_trained(self, images: NDArray[Any]) -> NDArray[Any]:
        """Convert images to the type of the training images, by the same rule as in training.

        Raises:
            DatasetError: the images cannot be converted, or have another number of channels.
        """
        if self.whole and images.dtype.kind in "iu" and images.dtype != np.uint8:
            # Dark images, which 8 bits could hold, are on the scale of the other images.
            images = images.astype(np.float32)
        array = same_type({"given": images}, "images")["given"]
        if str(array.dtype) != self.pixels or array.shape[3] != len(self.mean):
            expected = "uint8 from 0 to 255" if self.pixels == "uint8" else "finite float32"
            raise DatasetError(
                f"images: got {images.dtype} from {images.min()} to {images.max()}, channels: "
                f"{images.shape[3]}; the network was trained on {expected}, channels: "
                f"{len(self.mean)}; convert them"
            )
        if self.pixels != "uint8":
            self._warn_of_scale(array)
        return array

    def _warn_of_scale(self, images: NDArray[Any]) -> None:
        """Warn of floats that lie far from those of the training images.

        Warns:
            UserWarning: the mean of a channel differs by more than `FAR` standard deviations.
        """
        found = images.mean((0, 1, 2), dtype=np.float64)
        far = np.abs(found - self.mean) > FAR * np.maximum(self.std, np.abs(self.mean) * 1e-3)
        if far.any():
            channel = int(np.argmax(far))
            warnings.warn(
                f"images: channel {channel} has a mean of {found[channel]:.3g}, that of the "
                f"training images has {self.mean[channel]:.3g} ± {self.std[channel]:.3g}; give "
                "pixels on the same scale",
                stacklevel=2,
            )


FAR = 5
"""Standard deviations of the training images' pixels beyond which a mean is on another scale."""

_SINGLE = (str, Path, Image.Image, np.ndarray, Tensor)
"""Types of the items in a list of separate images."""


def describe_images(dataset: Dataset) -> dict[str, Any]:
    """Describe the images that a trained network takes, as plain values for `DESCRIPTION`."""
    pixels = dataset.train_images
    return {
        "class_names": list(dataset.class_names),
        "in_channels": dataset.in_channels,
        "image_size": list(dataset.image_size),
        "pixels": str(pixels.dtype),
        "mean": dataset.mean.tolist(),
        "std": dataset.std.tolist(),
        "whole": pixels.dtype != np.uint8 and bool((pixels == np.floor(pixels)).all()),
        "grey_range": None if dataset.grey_range is None else list(dataset.grey_range),
    }


def load_training(
    folder: Path, *, network: nn.Module | None = None, device: torch.device
) -> TrainedNetwork:
    """Load the network from the folder of its training, see `load_trained`.

    Raises:
        RunError: no finished training there, damaged files, weights that do not fit, or a network
            that only its user can build.
    """
    absent = (
        f"folder {folder} holds no finished training ({DESCRIPTION} is missing); train a network "
        "with pymoo-nas train; one that was interrupted is continued by train --resume"
    )
    described = read_description(folder, absent)
    try:
        built = _rebuild(folder, described) if network is None else network
        trained = TrainedNetwork(
            network=built,
            class_names=tuple(map(str, described["class_names"])),
            image_size=(int(described["image_size"][0]), int(described["image_size"][1])),
            mean=np.array(described["mean"], dtype=np.float64),
            std=np.array(described["std"], dtype=np.float64),
            pixels=str(described["pixels"]),
            device=device,
            title=title_of(described["network"]),
            folder=folder,
            test_accuracy=float(described["test_accuracy"]),
            grey_range=_grey_range(described),
            whole=bool(described.get("whole", False)),
            # Earlier versions tested without mirror images.
            test_flip=bool(dict(described.get("settings", {})).get("test_flip", False)),
        )
    except PymooNasError:
        raise
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(
            f"{folder / DESCRIPTION}: damaged, or of a version that kept less ({error!r}); train "
            "again, or build the network and use load_weights"
        ) from error
    load_weights(built, folder)
    built.to(device).eval()
    return trained


def _grey_range(described: Mapping[str, Any]) -> GreyRange | None:
    """The grey range in a description; earlier versions divided all 16-bit levels by 257."""
    kept = described.get("grey_range", FULL_RANGE)
    return None if kept is None else (int(kept[0]), int(kept[1]))


class _Images(NamedTuple):
    """Channels of images and number of classes, for which a network is built."""

    in_channels: int
    n_classes: int


def _rebuild(folder: Path, described: Mapping[str, Any]) -> nn.Module:
    """Build a network from its description; the weights are drawn anew.

    Raises:
        RunError: a network of the user's own, or a design that this version builds otherwise.
    """
    if described["network"] is None:
        raise RunError(
            f"{folder}: the network, or an operation of it, was the user's own; build it in "
            "Python and give it: load_trained(folder, network=...)"
        )
    images = _Images(int(described["in_channels"]), len(described["class_names"]))
    try:
        architecture = Architecture.from_description(described["network"])
        # Of a NAS-Bench-201 cell, earlier versions trained the network that is scored.
        earlier = ["scored"] if architecture.model and architecture.genotypes else []
        for role in ("trained", *earlier):
            network = architecture.build(role, images)
            if design_of(network) == described["design"]:
                return network
    except PymooNasError as error:
        raise RunError(
            f"{folder / DESCRIPTION}: the network cannot be built again ({error}); train again"
        ) from error
    raise RunError(
        f"{folder}: the network was changed after it was built, or is built otherwise by "
        "this version; build it in Python and give it: load_trained(folder, network=...)"
    )
