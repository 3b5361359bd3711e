"""What decides the result of a training, and how it follows from the number of images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from pymoo_nas.datasets import AUGMENTATIONS
from pymoo_nas.errors import SearchError
from pymoo_nas.training._optimizers import OPTIMIZERS

AUTO = "auto"
"""Of `Settings`: chosen from the data set."""

OWN_IMAGES = "val"
"""Of `Settings.validation`: the validation images that the data set has."""

HELD_OUT = 0.1
"""The share of the training images that is held out where the data set has no such images."""

PRECISIONS = ("float32", "bfloat16")
"""Number formats of the passes in training; weights and test are always float32."""

BATCH_SIZES = (8, 128)
"""Smallest and largest batch size that is chosen."""

STEPS_PER_EPOCH = 16
"""As many steps are meant to be in an epoch; the batch is the power of two that gives so many."""

EPOCHS = 20
"""Least number of epochs that is chosen."""

STEPS = 200
"""Least number of steps of a training of so many epochs as are chosen (studies/batch_size.py)."""

SHORT_EPOCHS, SHORT_STEPS = 2, 100
"""The same of the short trainings from which `try_out` chooses."""


@dataclass(frozen=True)
class Settings:
    """The keyword arguments of `train` that decide its result.

    "auto" stands for what `resolved` chooses.

    Raises:
        SearchError: one that is out of range.
    """

    epochs: int | str = AUTO
    batch_size: int | str = AUTO
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    augment: str = "none"
    validation: float | str = AUTO
    seed: int = 0
    precision: str = "float32"
    optimizer: str = "muon"
    balance: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.generic):  # a number of numpy's is as good as Python's
                object.__setattr__(self, field.name, value.item())
        for name, (kind, fits, expected) in _LIMITS.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or not fits(value):
                raise SearchError(f"training: {name} is {value!r}; expected {expected}")

    def resolved(
        self,
        n_images: int,
        *,
        least_epochs: int = EPOCHS,
        least_steps: int = STEPS,
    ) -> Settings:
        """Batch size and epochs as numbers.

        The batch size is the power of two from 8 to 128 that gives an epoch about 16 steps. Epochs
        are `least_epochs`, or as many more as `least_steps` take.

        Args:
            n_images: images that are trained on.
            least_epochs: smallest number of epochs that is chosen.
            least_steps: smallest number of steps that is chosen.

        >>> few, many = Settings().resolved(144), Settings().resolved(45_000)
        >>> (few.batch_size, few.epochs), (many.batch_size, many.epochs)
        ((8, 20), (128, 20))
        """
        size, epochs = self.batch_size, self.epochs
        if isinstance(size, str):
            power = 2 ** math.floor(math.log2(max(1, n_images / STEPS_PER_EPOCH)))
            size = min(max(power, BATCH_SIZES[0]), BATCH_SIZES[1])
        if isinstance(epochs, str):
            n_steps = number_of_batches(n_images, size)
            epochs = max(least_epochs, math.ceil(least_steps / n_steps))
        return replace(self, batch_size=size, epochs=epochs)


def number_of_batches(n_images: int, batch_size: int) -> int:
    """Batches of an epoch: as few as hold all images, none of a single image where that can be.

    A batch norm on maps of one pixel cannot take a single image; batches of two may become three.

    >>> number_of_batches(25, 8), number_of_batches(7, 2), number_of_batches(3, 1)
    (4, 3, 3)
    """
    enough = math.ceil(n_images / batch_size)
    return enough if batch_size == 1 else max(1, min(enough, n_images // 2))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_share(value: Any) -> bool:
    return not isinstance(value, str) and 0 <= value < 1


_WHOLE = 'a whole number from 1, or "auto"'

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
    "precision": (str, PRECISIONS.__contains__, "float32 or bfloat16"),
    "balance": (bool, lambda _: True, "True or False"),
    "seed": (int, lambda x: 0 <= x < 2**63, "a whole number from 0 to 2^63 - 1"),
}
