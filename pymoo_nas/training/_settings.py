"""The settings of a training; batch size and epochs can follow from the number of images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from pymoo_nas._machine import LARGEST, MAX_SEED
from pymoo_nas.datasets import AUGMENTATIONS
from pymoo_nas.errors import SearchError
from pymoo_nas.training._optimizers import OPTIMIZERS

AUTO = "auto"
"""Value of a setting that is chosen from the data set."""

FLIP = "flip"
"""The augmentation that mirrors images; the only one with which mirror images are tested."""

OWN_IMAGES = "val"
"""Value of `Settings.validation` for the data set's own validation images."""

HELD_OUT = 0.1
"""The share of the training images that is held out where there are no validation images."""

PRECISIONS = (AUTO, "float32", "bfloat16")
"""Number formats of the passes in training; weights and test are always float32."""

BATCH_SIZES = (8, 128)
"""Smallest and largest batch size that is chosen."""

STEPS_PER_EPOCH = 16
"""Desired steps per epoch; the batch size is the power of two that gives about this number."""

EPOCHS = 20
"""Smallest number of epochs that is chosen."""

STEPS = 1500
"""Smallest number of steps of a training whose epochs are chosen (studies/epochs.py)."""

SHORT_EPOCHS = 2
"""Smallest number of epochs of the short trainings in `try_out`."""

SHORT_STEPS = 100
"""Smallest number of steps of the short trainings in `try_out`."""


@dataclass(frozen=True)
class Settings:
    """The keyword arguments of `train` that decide its result.

    `with_validation` replaces "auto" in `validation`, `with_precision` in `precision`, and
    `resolved` in the other settings.

    Raises:
        SearchError: a setting that is out of range.
    """

    epochs: int | str = AUTO
    batch_size: int | str = AUTO
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    augment: str = "none"
    validation: float | str = AUTO
    seed: int = 0
    precision: str = AUTO
    optimizer: str = "muon"
    balance: bool = False
    ema: float = 0.0
    cutout: int = 0
    test_flip: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.generic):  # a number of numpy becomes Python's
                object.__setattr__(self, field.name, value.item())
        for name, (kind, fits, expected) in _LIMITS.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or not fits(value):
                raise SearchError(f"training: {name} is {value!r}; expected {expected}")
        if self.test_flip and self.augment != FLIP:
            raise SearchError(
                f"training: test_flip with augment {self.augment!r}; a network that was trained "
                "without mirrored images is not tested on them; expected augment 'flip' with it"
            )

    def resolved(
        self,
        n_images: int,
        *,
        least_epochs: int = EPOCHS,
        least_steps: int = STEPS,
    ) -> Settings:
        """Return the settings with numbers for batch size and epochs.

        The batch size is the power of two from 8 to 128 that gives an epoch about 16 steps. The
        number of epochs is `least_epochs`, or more where `least_steps` steps need more.

        Args:
            n_images: images that are trained on.
            least_epochs: smallest number of epochs that is chosen.
            least_steps: smallest number of steps that is chosen.

        >>> few, many = Settings().resolved(144), Settings().resolved(45_000)
        >>> (few.batch_size, few.epochs), (many.batch_size, many.epochs)
        ((8, 84), (128, 20))
        """
        size, epochs = self.batch_size, self.epochs
        if isinstance(size, str):
            power = 2 ** math.floor(math.log2(max(1, n_images / STEPS_PER_EPOCH)))
            size = min(max(power, BATCH_SIZES[0]), BATCH_SIZES[1])
        if isinstance(epochs, str):
            n_steps = number_of_batches(n_images, size)
            epochs = max(least_epochs, math.ceil(least_steps / n_steps))
        return replace(self, batch_size=size, epochs=epochs)


def with_precision(settings: Settings, device: torch.device) -> Settings:
    """Return settings that name the number format of the passes.

    "auto" is bfloat16 on CUDA devices that compute with it, and float32 elsewhere: processors
    differ, and many lose time by bfloat16.

    >>> with_precision(Settings(), torch.device("cpu")).precision
    'float32'
    """
    if settings.precision != AUTO:
        return settings
    half = False
    if device.type == "cuda":
        with torch.cuda.device(device):
            half = torch.cuda.is_bf16_supported(including_emulation=False)
    return replace(settings, precision="bfloat16" if half else "float32")


def number_of_batches(n_images: int, batch_size: int) -> int:
    """Number of batches of an epoch: the fewest that hold all images, but no batch of one image.

    A batch norm on maps of one pixel cannot take a single image. So a batch of two may become
    three. Batches of one image remain where the batch size or the number of images is one.

    >>> number_of_batches(25, 8), number_of_batches(7, 2), number_of_batches(3, 1)
    (4, 3, 3)
    """
    enough = math.ceil(n_images / batch_size)
    return enough if batch_size == 1 else max(1, min(enough, n_images // 2))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST


def _is_share(value: Any) -> bool:
    return not isinstance(value, str) and 0 <= value < 1


_BELOW_ONE = "a decay from 0 (no average) to below 1"
_WHOLE = 'a whole number from 1 to 2^53, or "auto"'

_LIMITS: dict[str, tuple[Any, Callable[[Any], bool], str]] = {
    "epochs": (int | str, lambda x: x == AUTO or _is_whole(x), _WHOLE),
    "batch_size": (int | str, lambda x: x == AUTO or _is_whole(x), _WHOLE),
    "learning_rate": (int | float, lambda x: 0 < x <= 1e30, "a number above 0, at most 1e30"),
    "weight_decay": (int | float, lambda x: 0 <= x <= 1e30, "a number from 0 to 1e30"),
    "label_smoothing": (int | float, lambda x: 0 <= x <= 1, "a number from 0 to 1"),
    "augment": (str, AUGMENTATIONS.__contains__, ", ".join(AUGMENTATIONS)),
    "validation": (
        int | float | str,
        lambda x: x in (AUTO, OWN_IMAGES) or _is_share(x),
        'a fraction from 0 to below 1, "val", or "auto"',
    ),
    "optimizer": (str, OPTIMIZERS.__contains__, " or ".join(OPTIMIZERS)),
    "precision": (str, PRECISIONS.__contains__, "auto, float32 or bfloat16"),
    "balance": (bool, lambda _: True, "True or False"),
    "ema": (int | float, lambda x: not isinstance(x, bool) and 0 <= x < 1, _BELOW_ONE),
    "cutout": (int, lambda x: not isinstance(x, bool) and x >= 0, "a number of pixels, or 0"),
    "test_flip": (bool, lambda _: True, "True or False"),
    "compile": (bool, lambda _: True, "True or False"),
    "seed": (int, lambda x: 0 <= x <= MAX_SEED, "a whole number from 0 to 2^63 - 1"),
}
