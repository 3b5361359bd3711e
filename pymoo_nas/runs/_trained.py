"""Loading the network that was trained, from the folder of its training or of the run it is of."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from pymoo_nas._machine import expanded, resolve_device
from pymoo_nas.runs._folder import RunFolder
from pymoo_nas.training import DESCRIPTION, TrainedNetwork, load_training


def load_trained(
    folder: str | Path, *, network: nn.Module | None = None, device: str | torch.device = "cpu"
) -> TrainedNetwork:
    """The network that a training left, with its weights.

    Args:
        folder: of the training, or of a run whose final network was trained.
        network: of the same design, where it was one of a user's own, or made of operations of a
            user's own; takes the weights in place. None builds it again.
        device: see `resolve_device`.

    Raises:
        RunError: no finished training there, damaged files, weights that do not fit, a network that
            only its user can build; or a run whose final network is not the one that was chosen.
        DeviceError: an unknown or absent device.
    """
    target = resolve_device(device)
    folder = expanded(folder)
    if not os.path.exists(folder / DESCRIPTION):
        folder = RunFolder(folder).trained() or folder
    return load_training(folder, network=network, device=target)
