"""Exported files that name the classes of images, as the trained network does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pymoo_nas.errors import ExportError
from pymoo_nas.exports._deployed import Runner, run_in_batches
from pymoo_nas.exports._onnx import OnnxRunner
from pymoo_nas.exports._pt2 import Pt2Runner
from pymoo_nas.training import DESCRIPTION, MODEL_FILE, WEIGHTS_FILE, TrainedNetwork

SUFFIXES = (".onnx", ".pt2")
"""Endings of the files that `open_exported` opens."""


def is_exported(path: Path) -> bool:
    """Whether a path is one for `open_exported` to open or to refuse, rather than a training."""
    # For a name that is too long, os.path says that it does not exist; pathlib raises.
    if os.path.isdir(path):
        # A user may keep a model.py beside a training or a run.
        is_export = all(os.path.exists(path / name) for name in (MODEL_FILE, WEIGHTS_FILE))
        return is_export and not os.path.exists(path / DESCRIPTION)
    return os.path.exists(path) or path.suffix in SUFFIXES


@dataclass(frozen=True, eq=False)
class ExportedNetwork(TrainedNetwork):
    """An exported file, used as the network that it was made from.

    Attributes:
        runner: raw pixels (N, C, H, W) → probabilities (N, n_classes).
        taken: type of the pixels that the file takes, "uint8" or "float32".
    """

    runner: Runner | None = None
    taken: str = "uint8"

    def probabilities(self, images: Any, *, batch_size: int = 256) -> NDArray[np.float32]:
        """See `TrainedNetwork.probabilities`."""
        assert self.runner is not None
        prepared = self._prepared(images)
        return run_in_batches(self.runner, prepared, self.taken, batch_size).numpy()


def open_exported(path: Path) -> ExportedNetwork:
    """Open a file that `export` wrote: ``.onnx`` or ``.pt2``. It runs on the CPU.

    Torch loads a ``.pt2`` file by pickle, which can run code: open only files that you trust.

    Raises:
        ExportError: no such file, another file, a Python export, a missing package, or a file
            without a description.
    """
    if path.is_dir():
        raise ExportError(
            f"{path}: a Python export, which its own {MODEL_FILE} runs; expected the folder of a "
            "training, or a file that ends in .onnx or .pt2"
        )
    if path.suffix not in SUFFIXES:
        raise ExportError(
            f"{path}: neither a folder nor a file that ends in .onnx or .pt2; expected the folder "
            "of a training or of a run, or a file that pymoo-nas export wrote"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExportError(f"file {path} cannot be read ({error}); check the name") from error
    runner: OnnxRunner | Pt2Runner
    try:
        runner = OnnxRunner(content) if path.suffix == ".onnx" else Pt2Runner(content)
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from error
    try:
        described = runner.described()
        grey = described["grey_range"]
        return ExportedNetwork(
            network=nn.Identity(),
            class_names=tuple(map(str, described["class_names"])),
            image_size=(int(described["image_size"][0]), int(described["image_size"][1])),
            mean=np.array(described["mean"], dtype=np.float64),
            std=np.array(described["std"], dtype=np.float64),
            pixels=str(described["pixels"]),
            device=torch.device("cpu"),
            title=str(described["title"]),
            folder=path,
            test_accuracy=float(described["test_accuracy"]),
            grey_range=None if grey is None else (int(grey[0]), int(grey[1])),
            whole=bool(described["whole"]),
            test_flip=bool(described.get("test_flip", False)),  # the file itself does so
            runner=runner,
            taken=runner.pixels,
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ExportError(
            f"{path}: without the class names and image size that pymoo-nas export writes "
            f"({error!r}); export the training again"
        ) from error
