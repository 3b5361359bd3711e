"""Collect for a report what the trainings of a run folder hold."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from pymoo_nas._machine import in_unicode
from pymoo_nas.errors import PymooNasError, RunError
from pymoo_nas.exports import read_record, record_of, size_of
from pymoo_nas.networks import count_flops
from pymoo_nas.reports import ExportedFile, Mistake, TrainedContent
from pymoo_nas.runs._export import DEFAULT_NAMES, images_of
from pymoo_nas.spaces import title_of
from pymoo_nas.training import (
    DESCRIPTION,
    STATE_FILE,
    TrainedNetwork,
    as_judging,
    load_training,
    read_description,
    settings_in,
)

N_MISTAKES = 18
"""Most mistakes that a report shows."""

LONGEST_SIDE = 96
"""Pixels of the longest side of a picture of a mistake; larger images are made smaller."""


def training_in(folder: Path) -> tuple[TrainedContent, TrainedNetwork | None] | None:
    """What a folder of a training holds, and its network where that can be built again.

    Returns:
        None where the folder holds no training, finished or interrupted.

    Raises:
        RunError: a damaged file.
    """
    if os.path.exists(folder / DESCRIPTION):
        described = read_description(folder, "")
    elif os.path.exists(folder / STATE_FILE):
        described = {}
    else:
        return None
    network = _loaded(folder) if described else None
    content = TrainedContent(
        name=in_unicode(folder.name),
        title=title_of(described.get("network")) if described else "interrupted",
        described=described,
        settings=settings_in(folder),
        flops=None if network is None else _flops(network),
        epochs=_table(folder / "training.csv", "epoch", "loss", "train_accuracy"),
        # Classes are names, however they look.
        confusion=_confusion(folder / "confusion.csv"),
        recall=_table(folder / "recall.csv", "class", "images", "correct", "recall"),
        exports=tuple(_exports(folder)),
    )
    return content, network


def _loaded(folder: Path) -> TrainedNetwork | None:
    """The trained network; None for one that only its user can build, or with damaged weights."""
    try:
        return load_training(folder, device=torch.device("cpu"))
    except PymooNasError:
        return None


def _flops(trained: TrainedNetwork) -> int:
    image = torch.zeros(1, len(trained.mean), *trained.image_size)
    return count_flops(as_judging(trained.network, flip=trained.test_flip), image)


def _table(path: Path, *columns: str) -> pd.DataFrame:
    """A table of a training; empty where there is none.

    Raises:
        RunError: a damaged table.
    """
    if not path.is_file():
        return pd.DataFrame(columns=list(columns))
    try:
        texts = {"class": str}
        read = pd.read_csv(path.absolute(), dtype=texts, keep_default_na=False, na_values=[""])
        missing = [name for name in columns if name not in read]
        if missing:
            raise ValueError(f"without the columns {', '.join(missing)}")
    except (ValueError, OverflowError) as error:
        raise RunError(f"{path}: damaged ({error}); train again") from error
    return read


def _confusion(path: Path) -> pd.DataFrame:
    """The confusion matrix, without the column of the names; empty where there is none."""
    if not path.is_file():
        return pd.DataFrame()
    try:
        read = pd.read_csv(path.absolute(), header=None, dtype=str, keep_default_na=False)
        counts = read.iloc[1:, 1:].astype("int64")
        if counts.shape[0] != counts.shape[1] or counts.empty:
            raise ValueError(f"{counts.shape[0]} rows and {counts.shape[1]} columns")
    except (ValueError, OverflowError) as error:
        raise RunError(f"{path}: damaged ({error}); train again") from error
    return counts.set_axis(read.iloc[0, 1:].tolist(), axis=1)


def _exports(folder: Path) -> list[ExportedFile]:
    """Exported files and folders: those of usual names, and others beside which a record lies."""
    usual = [folder / name for name in DEFAULT_NAMES.values()]
    suffixes = {path.suffix for path in usual if path.suffix}
    found = [
        path
        for path in sorted(folder.iterdir())
        if (path in usual or path.suffix in suffixes or record_of(path).is_file())
        and path.exists()  # a link may lead nowhere
    ]
    return [
        ExportedFile(name=in_unicode(p.name), n_bytes=size_of(p), measured=read_record(p))
        for p in found
    ]


def mistakes_of(run: Path, trained: TrainedNetwork | None) -> tuple[tuple[Mistake, ...], str]:
    """The test images with the highest probability for a wrong class; or why they are not known.

    Args:
        run: the run folder.
        trained: the network; None where it cannot be built again.
    """
    if trained is None:
        return (), (
            "The mistakes are not known: the network cannot be built again from its folder (it is "
            "of the user's own, or its files are damaged)."
        )
    images = images_of(run, trained)
    if images is None:
        return (), (
            "The mistakes are not known: the images of the training are not found where they were. "
            "Put them there again, and write the report again."
        )
    probabilities = trained.probabilities(images.test_images)
    named = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(named != images.test_labels)
    order = np.argsort(-probabilities[wrong, named[wrong]], kind="stable")
    worst = wrong[order][:N_MISTAKES]
    return tuple(
        Mistake(
            picture=png_uri(_picture(images.test_images[place])),
            place=int(place),
            true=trained.class_names[images.test_labels[place]],
            named=trained.class_names[named[place]],
            probability=float(probabilities[place, named[place]]),
        )
        for place in worst
    ), ""


def _picture(pixels: NDArray[Any]) -> Image.Image:
    """A picture of an image (H, W, C); floats from the darkest to the brightest.

    Of other channels than one or three, the first is shown.
    """
    shown = pixels if pixels.shape[2] == 3 else pixels[:, :, 0]
    if shown.dtype != np.uint8:
        low, high = float(shown.min()), float(shown.max())
        shown = (255 * (shown - low) / (high - low if high > low else 1.0)).astype(np.uint8)
    picture = Image.fromarray(shown)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return picture


def png_uri(picture: Image.Image) -> str:
    """A picture as a data URI of a PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
