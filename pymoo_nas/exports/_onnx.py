"""ONNX files: written by torch's exporter, run by ONNX Runtime."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from pymoo_nas.errors import ExportError
from pymoo_nas.exports._program import quiet_torch

OPSET = 18
"""Version of ONNX's operators: the one that torch writes without a conversion."""

LARGEST = 2**31 - 1
"""Most bytes of one protobuf message, and so of a file."""

IMAGES, PROBABILITIES = "images", "probabilities"


def require_onnx(*modules: str) -> None:
    """Check that the packages of the extra are there.

    Raises:
        ExportError: one is missing; the message has the command that installs it.
    """
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ExportError(
                f"ONNX needs the package {name} ({error}); install it: pip install "
                "'pymoo-nas[onnx]'"
            ) from error


def onnx_bytes(
    program: ExportedProgram, example: Tensor, described: Mapping[str, Any], title: str
) -> bytes:
    """Translate a recorded network to ONNX, with its description in the metadata.

    Every value of the description is one entry of the metadata, as JSON in ASCII.

    Raises:
        ExportError: an operator has no translation, or the network is too large for one file.
    """
    try:
        with torch.no_grad(), quiet_torch():
            translated = torch.onnx.export(
                program,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[IMAGES],
                output_names=[PROBABILITIES],
                verbose=False,
            )
        assert translated is not None  # only a call with a file returns nothing
        model = translated.model_proto
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise ExportError(
            f"network {title} cannot be translated to ONNX: {type(error).__name__}: {reason}; "
            "export it to pt2 or python"
        ) from error
    _tidy(model)
    for key, value in described.items():
        model.metadata_props.add(key=key, value=json.dumps(value))
    if model.ByteSize() > LARGEST:
        raise ExportError(
            f"network {title}: {model.ByteSize():,} bytes, more than one ONNX file holds "
            f"({LARGEST:,}); export it to pt2 or python"
        )
    return bytes(model.SerializeToString())


def _tidy(model: Any) -> None:
    """Name the free dimension, name layers by their weights, and drop paths of source files."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for graph_part in (model, model.graph):
        del graph_part.metadata_props[:]
    weights = {tensor.name for tensor in model.graph.initializer}
    taken: set[str] = set()
    for node in model.graph.node:
        del node.metadata_props[:]
        layer = next((name for name in node.input if name in weights and "." in name), "")
        name = layer.removeprefix("network.").rpartition(".")[0]
        if name and name not in taken:
            taken.add(name)
            node.name = name


def with_metadata(content: bytes, **described: Any) -> bytes:
    """Replace values of the metadata of a file."""
    import onnx  # noqa: PLC0415 - an extra

    model = onnx.load_from_string(content)
    for entry in model.metadata_props:
        if entry.key in described:
            entry.value = json.dumps(described[entry.key])
    return bytes(model.SerializeToString())


class OnnxRunner:
    """Runs an ONNX file on the CPU; see `Runner`.

    Args:
        content: bytes of the file.
        threads: threads of ONNX Runtime.

    Attributes:
        pixels: type of the pixels that the file takes.
        metadata: texts by name.

    Raises:
        ExportError: a missing package, or no such file of this package.
    """

    def __init__(self, content: bytes, threads: int = 1) -> None:
        require_onnx("onnxruntime")
        import onnxruntime  # noqa: PLC0415 - an extra

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ExportError(f"no ONNX file that ONNX Runtime can run ({error})") from error
        taken = self._session.get_inputs()[0].type
        self.pixels = "uint8" if taken == "tensor(uint8)" else "float32"
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)

    def __call__(self, images: Tensor) -> Tensor:
        """Run the file; see `Runner`."""
        (found,) = self._session.run([PROBABILITIES], {IMAGES: images.numpy()})
        return torch.from_numpy(found)

    def described(self) -> dict[str, Any]:
        """Return the description that `onnx_bytes` was given.

        Raises:
            ValueError: a value is damaged.
        """
        return {key: json.loads(text) for key, text in self.metadata.items()}
