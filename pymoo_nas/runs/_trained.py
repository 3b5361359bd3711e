"""Load a trained network, from the folder of its training or from its run folder."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from pymoo_nas._machine import expanded, resolve_device
from pymoo_nas.errors import ExportError
from pymoo_nas.exports import is_exported, open_exported
from pymoo_nas.runs._folder import RunFolder
from pymoo_nas.training import DESCRIPTION, TrainedNetwork, load_training


def load_trained(
    folder: str | Path, *, network: nn.Module | None = None, device: str | torch.device = "cpu"
) -> TrainedNetwork:
    """Load the network of a finished training, with its weights.

    Args:
        folder: folder of the training, or of a run whose final network was trained; or a file that
            `export` wrote, ``.onnx`` or ``.pt2``, which runs on the CPU.
        network: a network of the same design, which takes the weights in place; needed where the
            network or its operations were a user's own. None builds the network again.
        device: see `resolve_device`.

    Raises:
        RunError: no finished training there, damaged files, weights that do not fit, a network that
            only its user can build; or a run whose chosen network was not trained.
        DeviceError: an unknown or absent device.
        ExportError: a file that cannot be used, a Python export, or a device that is not the CPU
            for a file.
    """
    target = resolve_device(device)
    folder = expanded(folder)
    if is_exported(folder):
        if target.type != "cpu" or network is not None:
            raise ExportError(f"{folder}: an exported file runs as it is, on the CPU; expected cpu")
        return open_exported(folder)
    if not os.path.exists(folder / DESCRIPTION):
        folder = RunFolder(folder).trained() or folder
    return load_training(folder, network=network, device=target)
