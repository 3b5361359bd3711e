"""The graph of a network, with any number of images: what every format is made from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from pymoo_nas._machine import as_written, is_out_of_memory
from pymoo_nas.errors import ExportError


def graph_of(network: nn.Module, images: Tensor, title: str) -> ExportedProgram:
    """Record the graph of a network; its first dimension, the number of images, stays free.

    Args:
        network: in eval mode, without gradients.
        images: at least two, as the file takes them; one image would fix the number at one.
        title: of the network, for messages.

    Raises:
        ExportError: the network cannot be recorded; the message names the layer.
    """
    try:
        return _recorded(network, images)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        layer = _failing_layer(network, images)
        raise ExportError(
            f"network {title} cannot be exported: {layer}: {type(error).__name__}: {reason}; "
            "expected a forward pass that depends on neither the values nor the number of images"
        ) from error


def _recorded(network: nn.Module, images: Tensor) -> ExportedProgram:
    with torch.no_grad(), as_written(), quiet_torch():
        return torch.export.export(
            network,
            (images,),
            dynamic_shapes=({0: Dim("batch", min=1)},),
            strict=False,
        )


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Keep back the warnings of torch's exporters about their own parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _failing_layer(network: nn.Module, images: Tensor) -> str:
    """Name the innermost layer in which the recording stops; the network, where it is recorded."""
    entered: list[str] = []
    names = {module: name for name, module in network.named_modules() if name}

    def enter(module: nn.Module, *_: Any) -> None:
        entered.append(names[module])

    def leave(*_: Any) -> None:
        entered.pop()

    handles = [module.register_forward_pre_hook(enter) for module in names]
    handles += [module.register_forward_hook(leave) for module in names]
    try:
        _recorded(network, images)
    except Exception:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if not entered:
        return "the whole network"
    path = entered[-1]
    kind = type(network.get_submodule(path)).__name__
    return f"layer {path.removeprefix('network.')!r} ({kind})"
