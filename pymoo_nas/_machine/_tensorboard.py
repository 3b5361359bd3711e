"""Curves and pictures for TensorBoard, an optional package, written by torch's own writer."""

from __future__ import annotations

import importlib
import math
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from pymoo_nas._machine._files import expanded
from pymoo_nas._machine._folders import make_folder, unwritable
from pymoo_nas.errors import SearchError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TENSORBOARD = "tensorboard"
"""The folder of the curves in the folder of a run or a training."""

EVENTS = "events.out.tfevents.*"
"""Files that TensorBoard reads."""

DPI = 100
"""Dots per inch of pictures."""


def require_tensorboard() -> None:
    """Check that the packages of the extra are there.

    Raises:
        SearchError: one is missing; the message has the command that installs it.
    """
    try:
        importlib.import_module("tensorboard")
        _writer_class()
    except ImportError as error:
        raise SearchError(
            f"curves need the package tensorboard ({error}); install it: pip install "
            "'pymoo-nas[tensorboard]', or leave them out"
        ) from error


def _writer_class() -> Any:
    with warnings.catch_warnings():
        # Some versions of tensorboard and its own packages import what is deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module("torch.utils.tensorboard").SummaryWriter


def has_curves(folder: Path) -> bool:
    """Whether a folder holds files of TensorBoard."""
    return any(folder.glob(EVENTS))


def forget_curves(folder: Path) -> None:
    """Remove TensorBoard's files of an earlier run or training from a folder; others stay."""
    for path in folder.glob(EVENTS):
        path.unlink(missing_ok=True)


class Curves:
    """Curves and pictures over steps, as event files in a folder; used as a context, or closed.

    The file is made with the first step that is written. Whatever earlier files in the folder hold
    from this step on is not shown any more, so that a continued run has each step once.

    Args:
        folder: made where it is missing.

    Raises:
        SearchError: the package tensorboard is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        require_tensorboard()
        self.folder = expanded(folder)
        self._writer: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file out of copies; a copy begins a file of its own."""
        return {**vars(self), "_writer": None}

    def __enter__(self) -> Curves:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def write(
        self, step: int, scalars: Mapping[str, float], pictures: Mapping[str, Figure] | None = None
    ) -> None:
        """Write the values and the pictures of a step to the disk.

        Args:
            step: from 1, not smaller than the last one.
            scalars: tag → value; values that are not finite are left out.
            pictures: tag → figure.

        Raises:
            RunError: the folder cannot be made or written to.
        """
        try:
            writer = self._open(step)
            for tag, value in scalars.items():
                if math.isfinite(value):
                    writer.add_scalar(tag, value, step)
            for tag, figure in (pictures or {}).items():
                writer.add_image(tag, _pixels(figure), step, dataformats="HWC")
            writer.flush()
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def _open(self, step: int) -> Any:
        if self._writer is None:
            make_folder(self.folder)
            # TensorBoard reads files in the order of their names, which begin with the second.
            while any(self.folder.glob(EVENTS.replace("*", f"{int(time.time())}.*"))):
                time.sleep(0.05)
            self._writer = _writer_class()(str(self.folder), purge_step=step)
        return self._writer

    def close(self) -> None:
        """Close the file; a later step begins another one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _pixels(figure: Figure) -> np.ndarray:
    """Draw a figure: uint8 (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - heavy

    figure.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
