"""The folder of a training: its files, written epoch by epoch, and the process that has it."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from pymoo_nas._machine import (
    TENSORBOARD,
    expanded,
    forget_curves,
    locked,
    processor,
    versions,
    write_csv,
    write_json,
)
from pymoo_nas.errors import RunError
from pymoo_nas.networks import count_parameters
from pymoo_nas.spaces import description_of, design_of
from pymoo_nas.training._result import Training, test_values
from pymoo_nas.training._state import STATE_FILE, write_state
from pymoo_nas.training._trained import describe_images
from pymoo_nas.training._trainer import Trainer
from pymoo_nas.training._weights import DESCRIPTION, WEIGHTS_FILE, save_weights

RESULT_FILES = ("training.csv", "recall.csv", "confusion.csv", DESCRIPTION)
"""Files that a training writes besides the weights."""

RECORD = ".export.json"
"""End of the names of files that tell what an export of the network has measured."""

MODEL_FILE = "model.py"
"""The file beside `WEIGHTS_FILE` in the folder of an export to Python."""


def keep(folder: Path | None, trainer: Trainer, started: float, is_best: bool) -> None:
    """Write the files of an epoch: the best weights, the table, and the state to continue from."""
    if folder is None:
        return
    seconds = time.perf_counter() - started
    with _written_to(folder):
        if len(trainer.history) > 1:
            _write_epoch(folder, trainer, seconds, is_best)
            return
        # Where it cannot be written, as on a full disk, an earlier training stays whole.
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as aside:
            _write_epoch(Path(aside), trainer, seconds, is_best)
            _forget_earlier(folder)  # its results do not belong to these weights
            for path in list(Path(aside).iterdir()):
                path.replace(folder / path.name)


def _write_epoch(folder: Path, trainer: Trainer, seconds: float, is_best: bool) -> None:
    if is_best:
        save_weights(trainer.best_state, folder / WEIGHTS_FILE)
    write_csv(folder / "training.csv", pd.DataFrame(trainer.history))
    write_state(folder, trainer, seconds)


def forget_interrupted(folder: Path) -> None:
    """Remove a training that was interrupted, and that another one is to replace."""
    if (folder / DESCRIPTION).exists():  # it had ended but for the removal of its state
        (folder / STATE_FILE).unlink(missing_ok=True)
    elif (folder / STATE_FILE).exists():
        _forget_earlier(folder)


def _forget_earlier(folder: Path) -> None:
    """Remove an earlier training, its curves, and the exports of its weights."""
    own = [folder / name for name in (*RESULT_FILES, WEIGHTS_FILE, STATE_FILE)]
    if any(path.exists() for path in own):
        forget_curves(folder / TENSORBOARD)
    records = list(folder.glob(f"*{RECORD}"))
    exports = [record.with_name(record.name.removesuffix(RECORD)) for record in records]
    folders = [export for export in exports if export.is_dir() and not export.is_symlink()]
    for export in folders:
        for name in (MODEL_FILE, WEIGHTS_FILE):
            (export / name).unlink(missing_ok=True)
        shutil.rmtree(export / "__pycache__", ignore_errors=True)
        if not any(export.iterdir()):  # else the user has put something there
            export.rmdir()
    files = [export for export in exports if export not in folders]
    for path in (*files, *records, *own):
        path.unlink(missing_ok=True)


def checked_folder(out: str | Path | None, *, overwrite: bool, resume: bool) -> Path | None:
    """The folder of a training; None for none.

    Raises:
        RunError: it holds a training that was not asked to be replaced, or there is none to resume.
    """
    if out is None:
        if resume:
            raise RunError("resume without a folder; expected out=, where the training was written")
        return None
    folder = expanded(out)
    if resume:
        return folder
    if (folder / STATE_FILE).exists() and not overwrite:
        raise RunError(
            f"folder {str(folder)!r} holds a training that was interrupted; continue it with "
            "--resume (resume=True), or begin anew with --overwrite (overwrite=True)"
        )
    found = [name for name in (WEIGHTS_FILE, *RESULT_FILES) if (folder / name).exists()]
    if found and not overwrite:
        raise RunError(
            f"folder {str(folder)!r} holds {', '.join(found)}, as of an earlier training; take "
            "another folder, or --overwrite (overwrite=True)"
        )
    return folder


@contextmanager
def alone(folder: Path | None, *, overwrite: bool, resume: bool) -> Iterator[None]:
    """Lock the folder against other processes; make it unless a training is continued there.

    Raises:
        RunError: another process works on the folder, or finished a training since the last check.
    """
    if folder is None or (resume and not folder.is_dir()):
        yield
        return
    if not resume:
        _make_folder(folder)
    with locked(folder):
        checked_folder(folder, overwrite=overwrite, resume=resume)
        yield


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass  # better refused now than after the first epoch
    except OSError as error:
        raise RunError(
            f"folder {str(folder)!r} cannot be made, or not be written to ({error}); take another"
        ) from error


def write_results(folder: Path, training: Training, trainer: Trainer) -> None:
    """Write the files of a training that has ended; the state to continue from is removed.

    Raises:
        RunError: the folder cannot be written to.
    """
    with _written_to(folder):
        write_csv(folder / "recall.csv", training.recall)
        write_csv(folder / "confusion.csv", training.confusion, index=True)
        write_json(folder / DESCRIPTION, _description(training, trainer))
        (folder / STATE_FILE).unlink()


@contextmanager
def _written_to(folder: Path) -> Iterator[None]:
    """Turn a failed write, for example on a full disk, into an error that says what to do."""
    try:
        yield
    except OSError as error:
        again = (
            "continue with --resume (resume=True)"
            if (folder / STATE_FILE).exists()
            else "train again with --overwrite (overwrite=True)"
        )
        raise RunError(
            f"folder {str(folder)!r} cannot be written to ({error}); make room and {again}"
        ) from error


def _description(training: Training, trainer: Trainer) -> dict[str, Any]:
    """Everything about a training that the tables do not say, as plain values."""
    dataset = trainer.dataset
    best = training.epochs.iloc[training.best_epoch - 1]
    return {
        "dataset": dataset.name,
        **describe_images(dataset),
        "network": description_of(trainer.network),
        "design": design_of(trainer.network),
        "parameters": count_parameters(trainer.network),
        "settings": asdict(trainer.settings),
        "best_epoch": training.best_epoch,
        "validation_accuracy": _finite_or_none(best["validation_accuracy"]),
        "validation_balanced_accuracy": _finite_or_none(best["validation_balanced_accuracy"]),
        **{name: _finite_or_none(value) for name, value in test_values(training).items()},
        "seconds": training.seconds,
        "device": str(trainer.device),
        "compiled": trainer.passes.compiled,
        "threads": torch.get_num_threads(),
        "processor": processor(trainer.device),
        "versions": versions(),
    }


def _finite_or_none(value: float) -> float | None:
    """Put None for NaN and infinity, which JSON does not know."""
    return float(value) if math.isfinite(value) else None
