"""The curves of a training for TensorBoard, a step per epoch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from pymoo_nas._machine import TENSORBOARD, Curves
from pymoo_nas.errors import RunError

TAGS = {
    "loss": "loss/training",
    "train_accuracy": "accuracy/training",
    "validation_accuracy": "accuracy/validation",
    "validation_balanced_accuracy": "accuracy/validation, balanced",
    "learning_rate": "learning rate",
    "seconds": "seconds",
}
"""Column of `Training.epochs` → tag of its curve."""


def curves_of(
    tensorboard: bool | str | Path, folder: Path | None
) -> AbstractContextManager[Curves | None]:
    """Open the curves of a training; None where there are to be none.

    Args:
        tensorboard: whether to write curves, beside the other files; or a folder for them.
        folder: folder of the training.

    Raises:
        RunError: curves without any folder.
        SearchError: the package tensorboard is missing.
    """
    if tensorboard is False:
        return nullcontext()
    if tensorboard is not True:
        return Curves(tensorboard)
    if folder is None:
        raise RunError("tensorboard=True without out; expected out=, or a folder for the curves")
    return Curves(folder / TENSORBOARD)


def show_epoch(curves: Curves | None, row: Mapping[str, float]) -> None:
    """Write the values of an epoch."""
    if curves is not None:
        curves.write(int(row["epoch"]), {tag: row[name] for name, tag in TAGS.items()})


def show_test(curves: Curves | None, epoch: int, values: Mapping[str, float]) -> None:
    """Write the values of the test, at the last epoch."""
    if curves is not None:
        curves.write(
            epoch, {f"test/{name.removeprefix('test_')}": value for name, value in values.items()}
        )
