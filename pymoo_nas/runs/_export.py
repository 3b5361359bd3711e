"""Export the network of a run or of a training, with the images that it was trained on."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from pymoo_nas._machine import expanded, in_shell
from pymoo_nas.datasets import DATASET_NAMES, Dataset, DatasetSource, load_dataset
from pymoo_nas.errors import DatasetError, ExportError, PymooNasError
from pymoo_nas.exports import Exported, LabelledImages, export_network, write_records
from pymoo_nas.runs._config import CONFIG
from pymoo_nas.runs._folder import RunFolder
from pymoo_nas.runs._trained import load_trained
from pymoo_nas.training import DESCRIPTION, TrainedNetwork, dataset_of

DEFAULT_NAMES = {"onnx": "model.onnx", "pt2": "model.pt2", "python": "python"}
"""Format → name of its file or folder, in the folder of the training."""


def export(
    run_or_training: str | Path,
    to: str = "onnx",
    *,
    out: str | Path | None = None,
    int8: bool = False,
    dataset: DatasetSource | None = None,
    pixels: str | None = None,
    overwrite: bool = False,
    network: nn.Module | None = None,
) -> Exported:
    """Write a trained network to a file that runs without this package, and verify the file.

    The file takes raw pixels (N, C, H, W) for any N, normalises them, and returns probabilities.
    It is run at once on the test images: its probabilities are those of torch within 1e-4, else
    nothing is written. Where the images are not found, random pixels take their place, and no
    accuracy is known. What was measured is kept beside the file, in ``NAME.export.json``.

    Args:
        run_or_training: folder of a training, or of a run whose final network was trained.
        to: "onnx", for ONNX Runtime (opset 18; needs the extra ``pymoo-nas[onnx]``); "pt2", for
            `torch.export.load`; or "python", a folder with readable source, ``model.py``, beside
            ``weights.safetensors``.
        out: the file, or for "python" the folder; None for ``model.onnx``, ``model.pt2`` or
            ``python`` in the folder of the training.
        int8: whether to write ``NAME.int8.onnx`` too: weights and activations of 8 bits, calibrated
            on at most 256 training images. If accuracy falls by more than a point, layers are
            quantised one at a time, at most 16, to find the one that costs most.
        dataset: images of the training, as `load_dataset` takes them; None looks for them where
            the run or the training had them.
        pixels: "uint8" or "float32", the type of the pixels that the file takes; None for that
            of the training images.
        overwrite: replace files that are there.
        network: see `load_trained`.

    Raises:
        RunError: see `load_trained`.
        DatasetError: the given images are not there, or are not of the training's classes or size.
        ExportError: see `export_network`.

    Warns:
        UserWarning: the given images are not those of the training.
    """
    folder = expanded(run_or_training)
    _check_trained(folder)
    trained = load_trained(folder, network=network)
    target = trained.folder / DEFAULT_NAMES.get(to, to) if out is None else expanded(out)
    exported = export_network(
        trained,
        to,
        target,
        images=images_of(folder, trained, dataset),
        int8=int8,
        pixels=pixels,
        overwrite=overwrite,
    )
    write_records(exported)
    return exported


def _check_trained(folder: Path) -> None:
    """Refuse a run of which nothing was trained, with the command that trains it.

    Raises:
        ExportError: see above.
    """
    if os.path.exists(folder / DESCRIPTION) or not os.path.exists(folder / CONFIG):
        return
    if RunFolder(folder).trained() is None:
        raise ExportError(
            f"{folder}: a run of which no network was trained; train one: pymoo-nas train "
            f"{in_shell(folder)}"
        )


def images_of(
    folder: Path, trained: TrainedNetwork, dataset: DatasetSource | None = None
) -> LabelledImages | None:
    """The images that a network was trained on and tested with; None where they are not found.

    Raises:
        DatasetError: the images that the user gave do not fit the network.
    """
    if dataset is not None:
        given = load_dataset(dataset, image_size=trained.image_size)
        if difference := _difference(given, trained):
            raise DatasetError(
                f"data set {given.name!r}: {difference}, as {trained.folder} was trained on; give "
                "the images of the training"
            )
        if not np.array_equal(given.mean, trained.mean):
            warnings.warn(
                f"data set {given.name!r}: not the images that {trained.folder} was trained on, so "
                "the accuracies are those of other images",
                stacklevel=3,
            )
        return _labelled(given)
    for place in _places(folder, trained):
        try:
            found = load_dataset(image_size=trained.image_size, **place)
        except (PymooNasError, OSError):
            continue  # the images have moved
        if not _difference(found, trained) and np.array_equal(found.mean, trained.mean):
            return _labelled(found)
    return None


def _places(folder: Path, trained: TrainedNetwork) -> list[dict[str, Any]]:
    """Arguments of `load_dataset` under which the images may be found, the likeliest first."""
    places: list[dict[str, Any]] = []
    for run in (folder, trained.folder.parent):
        if os.path.exists(run / CONFIG):
            kept = RunFolder(run).config().arguments()
            if isinstance(kept.get("dataset"), str):
                places.append({"source": kept["dataset"], "root": kept.get("data_dir", "data")})
    name = dataset_of(trained.folder)
    if name in DATASET_NAMES or os.path.exists(name):
        places.append({"source": name})
    return places


def _difference(dataset: Dataset, trained: TrainedNetwork) -> str:
    """How images differ from those of a network, in words; empty where they do not."""
    compared = {
        "pixels": (str(dataset.train_images.dtype), trained.pixels),
        "channels": (dataset.in_channels, len(trained.mean)),
        "classes": (dataset.n_classes, len(trained.class_names)),
    }
    names = zip(dataset.class_names, trained.class_names, strict=False)
    compared |= {f"class {place}": pair for place, pair in enumerate(names)}
    for what, (found, expected) in compared.items():
        if found != expected:
            return f"{what}: {found}; expected {expected}"
    return ""


def _labelled(dataset: Dataset) -> LabelledImages:
    return LabelledImages(
        dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels
    )
