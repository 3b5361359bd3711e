"""Static post-training quantisation of an ONNX file to int8, by ONNX Runtime."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pymoo_nas.datasets import balanced_indices
from pymoo_nas.errors import ExportError
from pymoo_nas.exports._deployed import raw
from pymoo_nas.exports._onnx import IMAGES, require_onnx
from pymoo_nas.exports._program import quiet_torch

N_CALIBRATION = 256
"""Most training images from which the ranges of the activations are taken."""

LARGE_LOSS = 0.01
"""Loss of accuracy, as a fraction, above which the layer behind it is looked for."""

N_LAYERS = 16
"""Most layers that are tried one at a time; of more, the first, the last and every so many."""

WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")
"""Operators that are tried one at a time."""

QUANTISED = (*WITH_WEIGHTS, "Relu", "Add", "Mul", "Concat", "MaxPool", "AveragePool", "Clip")
"""Operators that compute with int8; the normalisation before and the softmax behind do not."""


@dataclass(frozen=True)
class Layer:
    """The layer that causes most of a loss.

    Attributes:
        name: of the layer.
        accuracy: of the file in which this layer alone computes with int8.
        tried: number of layers that were tried so, one at a time.
        of: number of layers.
    """

    name: str
    accuracy: float
    tried: int
    of: int


@dataclass(frozen=True)
class Quantised:
    """An int8 file.

    Attributes:
        content: bytes of the file.
        images: number of training images that it was calibrated on.
        worst: layer that causes most of the loss; None where the loss is not large, or none of the
            layers that were tried loses anything alone.
    """

    content: bytes
    images: int
    worst: Layer | None


def calibration_images(
    images: NDArray[Any], labels: NDArray[np.int64], n_classes: int
) -> NDArray[Any]:
    """Draw at most `N_CALIBRATION` training images, with equal shares of the classes.

    Raises:
        ExportError: there are fewer distinct images than classes.
    """
    n_wanted = max(N_CALIBRATION, n_classes)
    chosen = balanced_indices(images, labels, n_wanted, np.random.default_rng(0))
    if len(chosen) < n_classes:
        raise ExportError(
            f"int8: {len(chosen)} different training images to calibrate on for {n_classes} "
            "classes; expected at least one for each class; give more images (--dataset)"
        )
    return np.asarray(images[chosen])


class _Pixels:
    """Gives the calibration images to ONNX Runtime, some at a time."""

    def __init__(self, images: NDArray[Any], pixels: str) -> None:
        parts = np.array_split(images, -(-len(images) // 32))
        self._parts: Iterator[NDArray[Any]] = iter([raw(part, pixels).numpy() for part in parts])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        part = next(self._parts, None)
        return None if part is None else {IMAGES: part}


def quantise(
    content: bytes,
    images: NDArray[Any],
    pixels: str,
    accuracy_of: Callable[[bytes], float | None],
    accuracy: float | None,
) -> Quantised:
    """Quantise an ONNX file: weights by output channel, activations by tensor.

    Where the loss of accuracy is large, layers are quantised one at a time, to find the layer that
    causes most of the loss. (Where one layer at a time stays in float instead, the numbers between
    it and its neighbours are still rounded, and so is what causes the loss.)

    Args:
        content: bytes of the float file.
        images: calibration images (n, H, W, C), see `calibration_images`.
        pixels: type of the pixels that the file takes.
        accuracy_of: bytes of a file → its accuracy.
        accuracy: of the float file.

    Raises:
        ExportError: ONNX Runtime cannot quantise the file.
    """
    require_onnx("onnx", "onnxruntime")
    try:
        with tempfile.TemporaryDirectory() as folder, _quiet(), quiet_torch():
            made = _Quantiser(content, images, pixels, Path(folder))
            small = made.quantised()
            if (accuracy or 0.0) - (accuracy_of(small) or 0.0) <= LARGE_LOSS:
                return Quantised(small, len(images), None)
            layers = made.layers()
            tried = _spread(layers)
            alone = {name: accuracy_of(made.quantised(name)) or 0.0 for name in tried}
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(
            f"int8: ONNX Runtime cannot quantise the file ({type(error).__name__}: {error}); "
            "leave --int8 out"
        ) from error
    name = min(alone, key=lambda name: alone[name], default=None)
    worst = None
    if name is not None and alone[name] < (accuracy or 0.0):
        worst = Layer(name, alone[name], len(tried), len(layers))
    return Quantised(small, len(images), worst)


class _Quantiser:
    """Quantises one file, or one layer of it.

    Args:
        content: bytes of the float file.
        images: see `quantise`.
        pixels: see `quantise`.
        folder: for files of ONNX Runtime.
    """

    def __init__(self, content: bytes, images: NDArray[Any], pixels: str, folder: Path) -> None:
        import onnx  # noqa: PLC0415 - an extra
        from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

        self._images, self._pixels, self._folder = images, pixels, folder
        self._prepared, whole = folder / "prepared.onnx", folder / "float.onnx"
        whole.write_bytes(content)
        # Torch's exporter has joined convolutions and batch norms already.
        quant_pre_process(whole, self._prepared, skip_optimization=True, skip_symbolic_shape=True)
        self._graph = onnx.load(self._prepared).graph
        self._metadata = onnx.load_from_string(content).metadata_props

    def layers(self) -> list[str]:
        """Names of the layers with weights, in order."""
        return [node.name for node in self._graph.node if node.op_type in WITH_WEIGHTS]

    def quantised(self, alone: str | None = None) -> bytes:
        """Bytes of the int8 file, or of the file in which one layer alone is int8."""
        import onnx  # noqa: PLC0415
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # noqa: PLC0415

        target = self._folder / "int8.onnx"
        quantize_static(
            self._prepared,
            target,
            _Pixels(self._images, self._pixels),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            # The kernels of this pair are the fastest; in older processors their sums overflow
            # unless weights have 7 bits.
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            nodes_to_quantize=None if alone is None else [alone],
            nodes_to_exclude=self._normalisation(),
        )
        model = onnx.load(target)
        del model.metadata_props[:]
        model.metadata_props.extend(self._metadata)
        return bytes(model.SerializeToString())

    def _normalisation(self) -> list[str]:
        """Names of the nodes that turn pixels into normalised images."""
        return [n.name for n in self._graph.node if n.op_type in ("Cast", "Sub", "Div")]


def _spread(layers: Sequence[str]) -> list[str]:
    """The first and the last layer, and those between at equal distances."""
    places = np.unique(np.linspace(0, len(layers) - 1, min(N_LAYERS, len(layers))).round())
    return [layers[int(place)] for place in places]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back the remarks of ONNX Runtime's quantiser, which are about its own defaults."""
    logger = logging.getLogger()
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
