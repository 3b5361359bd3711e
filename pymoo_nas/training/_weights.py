"""The weights of a trained network in a file of tensors, and the names of a training's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from pymoo_nas._machine import NUMBER, Kinds, atomic_write, check_kinds, read_object
from pymoo_nas.errors import RunError

WEIGHTS_FILE = "weights.safetensors"

DESCRIPTION = "training.json"
"""The file of a finished training that describes the network and its images."""


KINDS: Kinds = {
    "network": (dict, type(None)),
    "settings": (dict, type(None)),
    "class_names": list,
    "image_size": list,
    "best_epoch": int,
    **dict.fromkeys(("test_accuracy", "balanced_accuracy", "validation_accuracy"), NUMBER),
    **dict.fromkeys(("test_loss", "parameters", "seconds"), NUMBER),
}
"""What a description holds, among else."""


def read_description(folder: Path, absent: str) -> dict[str, Any]:
    """Read the description of a finished training.

    Args:
        folder: of the training.
        absent: message where there is none.

    Raises:
        RunError: no finished training there, or a damaged file.
    """
    path, again = folder / DESCRIPTION, "train again"
    described = read_object(path, absent, again)
    check_kinds(path, described, KINDS, again)
    check_kinds(path, described.get("network") or {}, {"genotypes": list}, again)
    return described


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
    # Files that safetensors writes itself can be read by their owner only.
    content = safetensors.torch.save(dict(state), metadata)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


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
