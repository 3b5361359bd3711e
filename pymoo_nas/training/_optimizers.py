"""The optimizers of a training by name: which of them moves which weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import nn

from pymoo_nas.training._muon import Muon

KERNEL_RATE = 0.1
"""The peak of Muon's learning rate, as a share of SGD's peak (see studies/recipe.py)."""

KERNEL_DECAY = 100
"""Muon's weight decay, as a multiple of SGD's weight decay (see studies/cifar10.py)."""


class Rates(Protocol):
    """The settings of a training that an optimizer reads, see `Settings`."""

    @property
    def learning_rate(self) -> float:
        """Peak of the schedule."""

    @property
    def weight_decay(self) -> float:
        """Weight decay of matrices and kernels."""

    @property
    def precision(self) -> str:
        """Number format of products."""


Optimizers = list[torch.optim.Optimizer]


def by_sgd(network: nn.Module, settings: Rates) -> Optimizers:
    """SGD for all weights; it decays matrices and kernels, but no biases and no norms."""
    return [_sgd([weight for weight in network.parameters() if weight.requires_grad], settings)]


def by_muon(network: nn.Module, settings: Rates) -> Optimizers:
    """Muon for the kernels of convolutions that mix all channels, SGD for the other weights."""
    mixing = {
        id(layer.weight)
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d) and layer.groups == 1
    }
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    kernels = [weight for weight in weights if id(weight) in mixing]
    found: Optimizers = [_sgd([w for w in weights if id(w) not in mixing], settings)]
    if kernels:
        precision = getattr(torch, settings.precision)
        rate, decay = KERNEL_RATE * settings.learning_rate, KERNEL_DECAY * settings.weight_decay
        found.append(Muon(kernels, rate, weight_decay=decay, precision=precision))
    return found


OPTIMIZERS: Mapping[str, Callable[[nn.Module, Rates], Optimizers]] = {
    "muon": by_muon,
    "sgd": by_sgd,
}
"""Name → the optimizers of a network. A training keeps the state of each, so that it can be
continued, and gives each a schedule of its own."""


def one_cycle(optimizers: Optimizers, n_steps: int) -> list[torch.optim.lr_scheduler.OneCycleLR]:
    """Learning rates that rise to those of the optimizers and fall again (Smith 2018)."""
    return [
        torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            optimizer.defaults["lr"],
            total_steps=max(2, n_steps),  # one step has no cycle
            cycle_momentum=False,
        )
        for optimizer in optimizers
    ]


def _sgd(weights: list[nn.Parameter], settings: Rates) -> torch.optim.SGD:
    groups: list[dict[str, Any]] = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
    ]
    # Fused: one operation for all weights in place of several for each (studies/gpu_speed.py).
    fused = all(w.is_floating_point() and _lies_in_one_piece(w) for w in weights)
    optimizer = torch.optim.SGD(
        groups, settings.learning_rate, momentum=0.9, nesterov=True, fused=fused
    )
    if fused:
        # Torch's fused steps fail where a weight gets its first gradient later than others do, as
        # in layers that are dropped at random. A momentum of zero stands for none.
        for weight in weights:
            optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return optimizer


def _lies_in_one_piece(weight: nn.Parameter) -> bool:
    """Whether a fused optimizer may read the elements of a weight one after another in memory."""
    return weight.is_contiguous() or (
        weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    )
