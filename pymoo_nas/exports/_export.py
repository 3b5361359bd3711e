"""Export a trained network: write the file, run it, and compare it to torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram

from pymoo_nas.datasets import MODES
from pymoo_nas.errors import ExportError
from pymoo_nas.exports._comparison import Comparison, Figures
from pymoo_nas.exports._deployed import Runner, deployed, describe, pixels_of, raw
from pymoo_nas.exports._onnx import OnnxRunner, onnx_bytes, require_onnx, with_metadata
from pymoo_nas.exports._program import graph_of
from pymoo_nas.exports._pt2 import Pt2Runner, pt2_bytes
from pymoo_nas.exports._python import python_files, run_files
from pymoo_nas.exports._quantised import LARGE_LOSS, Layer, calibration_images, quantise
from pymoo_nas.exports._targets import check_file, check_folder, write_files, write_folder
from pymoo_nas.networks import Counts, count_all
from pymoo_nas.training import TrainedNetwork, as_judging

FORMATS = ("onnx", "pt2", "python")
"""Formats: a file for ONNX Runtime, a file for torch, or a folder with source and weights."""

N_RANDOM = 64
"""Images of random pixels that are compared where the test images are not known."""


class LabelledImages(NamedTuple):
    """Images of the training: (n, H, W, C) and (n,), to calibrate with and to test with."""

    train_images: NDArray[Any]
    train_labels: NDArray[np.int64]
    test_images: NDArray[Any]
    test_labels: NDArray[np.int64]


@dataclass(frozen=True)
class Exported:
    """A written and verified file.

    Attributes:
        path: of the file, or of the folder with the source.
        to: one of `FORMATS`.
        title: of the network.
        compared: the images whose probabilities were compared, in words.
        difference: largest difference of a probability from torch.
        torch: figures of the network in torch.
        file: figures of the file.
        counts: sizes of what computes a prediction: with `test_flip` twice those of the network,
            but for the parameters.
        takes_files: whether image files hold the images that the network was trained on.
        int8_path: path of the int8 file; None without one.
        int8: figures of the int8 file; None without one.
        calibrated_on: number of training images that gave the int8 file its ranges.
        worst: the layer that causes most of a large loss by int8; None where the loss is small, or
            none of the layers that were tried loses anything alone.
    """

    path: Path
    to: str
    title: str
    compared: str
    difference: float
    torch: Figures
    file: Figures
    counts: Counts
    takes_files: bool
    int8_path: Path | None = None
    int8: Figures | None = None
    calibrated_on: int = 0
    worst: Layer | None = None

    @property
    def large_loss(self) -> float:
        """The fraction of the test images that int8 loses, if over `LARGE_LOSS`; else 0."""
        before, after = self.file.accuracy, None if self.int8 is None else self.int8.accuracy
        lost = 0.0 if before is None or after is None else before - after
        return lost if lost > LARGE_LOSS else 0.0


def export_network(
    trained: TrainedNetwork,
    to: str,
    out: Path,
    *,
    images: LabelledImages | None = None,
    int8: bool = False,
    pixels: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a trained network to a file that runs without this package, and verify the file.

    Args:
        trained: the network.
        to: one of `FORMATS`.
        out: path of the file, or for "python" of the folder.
        images: of the training; None compares random pixels, and tells no accuracy.
        int8: whether to write a quantised file too, ``NAME.int8.onnx``.
        pixels: type of the pixels that the file takes, see `pixels_of`.
        overwrite: replace files that are there.

    Raises:
        ExportError: a format or a type that is not known, a missing package, a network that cannot
            be exported, a target that is there or cannot be written, int8 without images or
            with fewer images than classes, or a file whose probabilities are not those of torch.
    """
    small = out.with_name(f"{out.stem}.int8.onnx") if int8 else None
    _check_asked(to, out, small, images, overwrite=overwrite)
    calibrate = None
    if small is not None and images is not None:
        n_classes = len(trained.class_names)
        calibrate = calibration_images(images.train_images, images.train_labels, n_classes)
    taken = pixels_of(trained, pixels)
    network = deployed(trained)
    shown = _random_images(trained) if images is None else images.test_images
    compare = Comparison(network, shown, taken, None if images is None else images.test_labels)
    example = raw(np.concatenate([shown[:2], shown[:2]])[:2], taken)
    program = graph_of(network, example, trained.title)
    written = _written(to, program, example, describe(trained, taken), trained.title)
    runner, n_bytes = _opened(to, written), sum(map(len, written.values()))
    difference = compare.check(runner)
    file = compare.figures(runner, n_bytes)
    found: dict[str, Any] = {}
    if to == "python":
        write_folder(out, written)
    elif small is not None and calibrate is not None:
        content, found = _quantised(written[to], calibrate, compare, file)
        write_files({out: written[to], small: content})
        found["int8_path"] = small
    else:
        write_files({out: written[to]})
    return Exported(
        path=out,
        to=to,
        title=trained.title,
        compared=f"{len(shown)} {'images of random pixels' if images is None else 'test images'}",
        difference=difference,
        torch=compare.figures(network),
        file=file,
        counts=count_all(
            as_judging(trained.network, flip=trained.test_flip),
            network.normalised(example).to(trained.device),
        ),
        takes_files=trained.pixels == "uint8" and len(trained.mean) in MODES,
        **found,
    )


def _quantised(
    content: bytes, calibrate: NDArray[Any], compare: Comparison, file: Figures
) -> tuple[bytes, dict[str, Any]]:
    """The bytes of the int8 file, and what `Exported` tells of it."""

    def accuracy(small: bytes) -> float | None:
        return compare.accuracy(OnnxRunner(small))

    made = quantise(content, calibrate, compare.pixels, accuracy, file.accuracy)
    written = with_metadata(made.content, test_accuracy=accuracy(made.content))
    return written, {
        "int8": compare.figures(OnnxRunner(written), len(written)),
        "calibrated_on": made.images,
        "worst": made.worst,
    }


def _check_asked(
    to: str, out: Path, small: Path | None, images: LabelledImages | None, *, overwrite: bool
) -> None:
    """Refuse what cannot be done before the work begins.

    Raises:
        ExportError: see `export_network`.
    """
    if to not in FORMATS:
        raise ExportError(f"export to {to!r}; expected one of {', '.join(FORMATS)}")
    if small is not None and to != "onnx":
        raise ExportError(f"int8 with {to}; only an ONNX file is quantised: --to onnx")
    if to == "onnx":
        require_onnx("onnx", "onnxscript", "onnxruntime")
    if small is not None and images is None:
        raise ExportError(
            "int8: the images of the training, to calibrate on, are not known; name them: "
            "--dataset PATH"
        )
    if to == "python":
        check_folder(out, overwrite=overwrite)
        return
    if out.suffix != f".{to}":
        raise ExportError(f"file {out}: expected a name that ends in .{to}")
    for path in (out, small):
        if path is not None:
            check_file(path, overwrite=overwrite)


def _random_images(trained: TrainedNetwork) -> NDArray[Any]:
    """Images of random pixels, on the scale of the training images, the same each time."""
    rng = np.random.default_rng(0)
    shape = (N_RANDOM, *trained.image_size, len(trained.mean))
    if trained.pixels == "uint8":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return rng.normal(trained.mean, trained.std, shape).astype(np.float32)


def _written(
    to: str, program: ExportedProgram, example: Tensor, described: dict[str, Any], title: str
) -> dict[str, bytes]:
    """The files of a format: name → bytes; a single one of any name, but for "python"."""
    if to == "python":
        return python_files(program, described, title)
    if to == "pt2":
        return {to: pt2_bytes(program, described)}
    return {to: onnx_bytes(program, example, described, title)}


def _opened(to: str, written: dict[str, bytes]) -> Runner:
    """Run what was written, as its user will."""
    if to == "python":
        return run_files(written)
    return OnnxRunner(written[to]) if to == "onnx" else Pt2Runner(written[to])
