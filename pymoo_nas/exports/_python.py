"""Python files: the readable source of one network, with its weights beside it; torch runs them."""

from __future__ import annotations

import importlib.util
import math
import operator
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from pymoo_nas.errors import ExportError
from pymoo_nas.exports._deployed import Runner
from pymoo_nas.exports._template import TEMPLATE
from pymoo_nas.training import MODEL_FILE, WEIGHTS_FILE

NAMED = ("conv2d", "batch_norm", "max_pool2d", "avg_pool2d", "softmax", "cat", "mean")
"""Functions whose arguments behind the tensors are written with their names."""

SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
"""Functions of two arguments that are written as operators."""

NUMBERS = {operator.add: "+", operator.sub: "-", operator.mul: "*", operator.floordiv: "//"}
"""Operators on the number of images."""

NO_EFFECT = ("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range_for_size")
"""Functions that only check."""

DTYPES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Types of tensors that the reader in the file knows → their names in safetensors."""


def python_files(
    program: ExportedProgram, described: Mapping[str, Any], title: str
) -> dict[str, bytes]:
    """Write a recorded network operation by operation: name of a file → its bytes.

    Raises:
        ExportError: an operation that cannot be written; the message names it.
    """
    writer = _Writer(program, title)
    body = writer.body()
    comments = {key: _comment(described[key]) for key in ("producer", "title", "input", "output")}
    names = "".join(f"    {name!a},\n" for name in described["class_names"])
    source = TEMPLATE.format(
        **comments,
        class_names=names,
        image_size=tuple(described["image_size"]),
        dtypes=", ".join(f'"{name}": {dtype}' for dtype, name in DTYPES.items()),
        body="\n".join(f"    {line}" if line else "" for line in body),
    )
    compile(source, MODEL_FILE, "exec")
    return {WEIGHTS_FILE: safetensors.torch.save(writer.weights), MODEL_FILE: source.encode()}


def run_files(files: Mapping[str, bytes]) -> Runner:
    """Import the source from a folder of its own; return its function from pixels to classes."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        spec = importlib.util.spec_from_file_location("exported_model", Path(folder) / MODEL_FILE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        runner: Runner = module.load()
        return runner


def _comment(text: str) -> str:
    """A text that ends no string and no line of the source."""
    return ascii(text)[1:-1].replace('"', "'")


class _Writer:
    """Writes the graph of a network as lines of Python.

    Args:
        program: the recorded network.
        title: of the network, for messages.

    Attributes:
        weights: tensors that the lines use, by name.
    """

    def __init__(self, program: ExportedProgram, title: str) -> None:
        self.program = program
        self.title = title
        self.weights: dict[str, Tensor] = {}
        self._names: dict[Node, str] = {}
        self._place = ""

    def body(self) -> list[str]:
        """The lines of the function, with a comment where another layer begins."""
        specs = {spec.arg.name: spec for spec in self.program.graph_signature.input_specs}
        lines: list[str] = []
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self._take(node, specs[node.name].target)
            elif node.op == "output":
                lines.append(f"return {self._text(node.args[0][-1])}")
            elif node.op != "call_function":
                raise self._refused(f"{node.op} {node.name}")
            elif not self._is_idle(node):
                self._names[node] = node.name
                line = f"{node.name} = {self._call(node)}"
                lines += [*self._heading(node), line]
        return lines

    def _take(self, node: Node, target: str | None) -> None:
        """Name an input of the graph: the images, or a weight."""
        if target is None:
            self._names[node] = "images"
            return
        name = target.removeprefix("network.") if "." in target else f"pixels.{target}"
        found = self.program.state_dict.get(target)
        tensor = self.program.constants[target] if found is None else found
        self._names[node] = f"w[{name!a}]"
        if node.users:
            if tensor.dtype not in DTYPES:
                raise self._refused(f"weight {name} of {tensor.dtype}")
            self.weights[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)

    def _is_idle(self, node: Node) -> bool:
        """Whether a function only checks, or nothing uses what it returns."""
        if node.op == "output":
            return False
        schema = getattr(node.target, "_schema", None)
        name = "" if schema is None else schema.name.partition("::")[2]
        changes = schema is not None and schema.is_mutable
        return name in NO_EFFECT or (not changes and all(map(self._is_idle, node.users)))

    def _heading(self, node: Node) -> list[str]:
        """A comment that names the layer, where it is another than that of the last line."""
        stack = list(node.meta.get("nn_module_stack", {}).values())
        own = [(path, kind) for path, kind in stack if not str(kind).startswith("torch.nn.")]
        path, kind = own[-1] if own else ("", "")
        inside = str(path).removeprefix("network").removeprefix(".")
        place = f"{inside or 'network'} ({str(kind).rpartition('.')[2]})" if path else "pixels"
        if place == self._place:
            return []
        self._place = place
        return ["", f"# {_comment(place)}"]

    def _call(self, node: Node) -> str:
        """The expression of a function with its arguments."""
        target, arguments = node.target, [self._text(argument) for argument in node.args]
        if target is operator.getitem:
            return f"{arguments[0]}[{arguments[1]}]"
        if target in NUMBERS:
            return f"({arguments[0]} {NUMBERS[target]} {arguments[1]})"
        if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
            raise self._refused(f"operation {target}")
        name = target._schema.name.partition("::")[2]
        named = [f"{key}={self._text(value)}" for key, value in node.kwargs.items()]
        if name in SIGNS and len(arguments) == 2 and not named:
            return f"{arguments[0]} {SIGNS[name]} {arguments[1]}"
        if name == "sym_size":
            return f"{arguments[0]}.shape[{arguments[1]}]"
        if name in ("index", "slice") and not named:
            return f"{arguments[0]}[{', '.join(self._places(name, node.args[1:]))}]"
        if name in NAMED:
            arguments = [
                text
                if isinstance(value, Node) or "Tensor" in str(argument.type)
                else f"{argument.name}={text}"
                for text, value, argument in zip(
                    arguments, node.args, target._schema.arguments, strict=False
                )
            ]
        return _function(name, str(target), arguments, named)

    def _places(self, name: str, arguments: Sequence[Any]) -> list[str]:
        """The places between brackets: tensors as indices, or a range along one dimension."""
        if name == "index":
            return [":" if place is None else self._text(place) for place in arguments[0]]
        given = dict(enumerate(arguments))
        dimension, start, end = given.get(0, 0), given.get(1) or "", given.get(2)
        step = f":{self._text(given[3])}" if given.get(3, 1) != 1 else ""
        first, last = (
            "" if value in ("", None, sys.maxsize) else self._text(value) for value in (start, end)
        )
        before = [":"] * dimension if dimension >= 0 else ["..."]
        behind = [] if dimension >= 0 else [":"] * (-1 - dimension)
        return [*before, f"{first}:{last}{step}", *behind]

    def _text(self, value: Any) -> str:
        """An argument as Python writes it."""
        if isinstance(value, Node):
            return self._names[value]
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(self._text, value))}]"
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        if value is None or isinstance(value, bool | int | float | str):
            return repr(value)
        if isinstance(value, torch.device):
            return repr(str(value))
        if isinstance(value, torch.dtype | torch.memory_format | torch.layout):
            return str(value)
        raise self._refused(f"argument {value!r}")

    def _refused(self, what: str) -> ExportError:
        return ExportError(
            f"network {self.title}: {what} cannot be written as Python; export it to onnx or pt2"
        )


def _function(name: str, overload: str, arguments: list[str], named: list[str]) -> str:
    """Call a function by the name under which torch's users know it."""
    inside = ", ".join([*arguments, *named])
    if hasattr(torch, name):
        return f"torch.{name}({inside})"
    if hasattr(F, name):
        return f"F.{name}({inside})"
    if hasattr(Tensor, name):
        return f"{arguments[0]}.{name}({', '.join([*arguments[1:], *named])})"
    return f"torch.ops.{overload}({inside})"
