"""The weights of a trained network in a file of tensors, and the names of a training's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn

from pymoo_nas._machine import atomic_write
from pymoo_nas.errors import RunError

WEIGHTS_FILE = "weights.safetensors"

DESCRIPTION = "training.json"
"""The file of a finished training that describes the network and its images."""


def copy_state(network: nn.Module) -> dict[str, Tensor]:
    """Copy a network's state by name to the CPU; tensors that share memory get a copy each."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in network.state_dict().items()
    }


def save_weights(
    state: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write what `copy_state` returned, or other tensors by name, as safetensors.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        try:
            safetensors.torch.save_file(dict(state), temporary, metadata)
        except safetensors.SafetensorError as error:  # its own error, for a full disk too
            raise OSError(str(error)) from error


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Read weights that `train` wrote into a network of the same design, in place.

    Args:
        network: stays as it is when an error is raised.
        path: a ``.safetensors`` file, or a folder that holds ``weights.safetensors``.

    Raises:
        RunError: no such file, a damaged one, or tensors of other names, shapes or types.
    """
    path = Path(path)
    if path.is_dir():
        path = path / WEIGHTS_FILE
    if not path.is_file():
        raise RunError(f"weights {str(path)!r}: no such file; expected what pymoo-nas train writes")
    try:
        stored = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise RunError(
            f"weights {str(path)!r}: damaged, or no safetensors file ({error}); train again"
        ) from error
    wrong = misfits(stored, network.state_dict())
    if wrong:
        more = "; …" if len(wrong) > 3 else ""
        raise RunError(
            f"weights {str(path)!r} do not fit the network; {len(wrong)} tensors differ: "
            f"{'; '.join(wrong[:3])}{more}; build the network that was trained"
        )
    network.load_state_dict(stored)


def misfits(stored: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Tell in words which tensors of a file do not fit a network; empty where all fit."""
    found, wanted = ({k: _tensor_type(t) for k, t in part.items()} for part in (stored, expected))
    return [
        f"{name}: {found.get(name, 'nothing')} in the file, {wanted.get(name, 'nothing')} in "
        "the network"
        for name in {**wanted, **found}
        if found.get(name) != wanted.get(name)
    ]


def _tensor_type(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
