"""What an export measured, kept as JSON beside the exported file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pymoo_nas._machine import processor, versions, write_json
from pymoo_nas.errors import ExportError
from pymoo_nas.exports._comparison import Figures
from pymoo_nas.exports._export import Exported
from pymoo_nas.training import RECORD

NUMBERS = ("accuracy", "latency", "batch_latency")
"""What a record tells in numbers, or not at all."""


def record_of(path: Path) -> Path:
    """The place of the record of an exported file or folder.

    >>> record_of(Path("final/model.onnx")).as_posix()
    'final/model.onnx.export.json'
    """
    return path.with_name(path.name + RECORD)


def write_records(exported: Exported) -> None:
    """Write a record of the file, and another of the int8 file where there is one.

    Raises:
        ExportError: a record cannot be written.
    """
    files: list[tuple[Path, str, Figures]] = [(exported.path, exported.to, exported.file)]
    if exported.int8_path is not None and exported.int8 is not None:
        files.append((exported.int8_path, "int8", exported.int8))
    for path, to, figures in files:
        try:
            described = _described(exported, to, figures)
            write_json(record_of(path), {**described, "sha256": digest_of(path)})
        except OSError as error:
            raise ExportError(
                f"{record_of(path)} cannot be written ({error}); the export itself is whole"
            ) from error


def read_record(path: Path) -> Mapping[str, Any] | None:
    """Read the record of an exported file or folder.

    Returns:
        what `write_records` wrote; None where there is no record, it is damaged, or the file is
        another one than was measured.
    """
    place = record_of(path)
    try:
        read = json.loads(place.read_text(encoding="utf-8"))
        fits = int(read["bytes"]) == size_of(path)
        # Earlier versions kept the size alone.
        fits = fits and read.get("sha256") in (None, digest_of(path))
        fits = fits and all(_is_number(read.get(name)) for name in NUMBERS)
        fits = fits and isinstance(read.get("torch", {}), dict)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return read if fits else None


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files in a folder that were exported."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.iterdir() if file.is_file())


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of the files in a folder."""
    if not path.is_dir():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    found = hashlib.sha256()
    for file in sorted(file for file in path.iterdir() if file.is_file()):
        found.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def _described(exported: Exported, to: str, figures: Figures) -> dict[str, Any]:
    return {
        "file": exported.path.name if to != "int8" else f"{exported.path.stem}.int8.onnx",
        "to": to,
        "title": exported.title,
        "bytes": figures.n_bytes,
        "accuracy": figures.accuracy,
        "latency": figures.latency,
        "batch_latency": figures.batch_latency,
        "threads": 1,
        "torch": asdict(exported.torch),
        "compared": exported.compared,
        "difference": exported.difference,
        "calibrated_on": exported.calibrated_on if to == "int8" else None,
        "processor": processor(torch.device("cpu")),
        "versions": versions(),
    }
