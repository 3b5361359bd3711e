"""Networks by name: CIFAR's residual networks, torchvision's, and genotypes in their text form."""

from __future__ import annotations

import difflib
from typing import Any, Protocol

import torch
import torchvision
from torch import Tensor, nn

from pymoo_nas.devices import seeded
from pymoo_nas.errors import NetworkError
from pymoo_nas.nasbench201 import NASBench201Space
from pymoo_nas.origin import note_model
from pymoo_nas.resnet import BLOCKS, CifarResNet
from pymoo_nas.search_space import CellSpace, SearchSpace


class Images(Protocol):
    """What a network is built for; a `Dataset` is one."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def in_channels(self) -> int:
        """Channels of the images."""

    @property
    def n_classes(self) -> int:
        """Number of classes."""


class GreyToColour(nn.Module):
    """Grey images repeated for a network that takes three channels."""

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, H, W) → (N, 3, H, W)."""
        return images.expand(-1, 3, -1, -1)


def build_model(
    name: str,
    dataset: Images,
    *,
    space: SearchSpace[Any] | None = None,
    seed: int = 0,
    scored: bool = False,
) -> nn.Module:
    """Build a network from its name, untrained, for a data set.

    Args:
        name: ``resnet20``, ``resnet32`` or ``resnet56`` for CIFAR (He 2016), a torchvision
            classifier (``resnet18``), a genotype (``5000|0001|0800``), or a NAS-Bench-201 cell
            (``|nor_conv_3x3~0|+|…``).
        dataset: gives channels and classes. torchvision's networks take 3 channels: grey images are
            repeated for them.
        space: of the genotypes; default `CellSpace`.
        seed: of the initial weights.
        scored: of a genotype, the network that is scored in place of the one to train.

    Returns:
        (N, C, H, W) → logits (N, n_classes), on the CPU.

    Raises:
        NetworkError: an unknown name, or images whose channels a torchvision network cannot take.
        GenotypeError: a malformed genotype.
    """
    with seeded(torch.device("cpu"), seed):
        if is_genotype(name):
            spells: Any = space or CellSpace() if is_cell(name) else NASBench201Space()
            build = spells.build if scored else spells.build_trained
            network: nn.Module = build(spells.parse(name), dataset.in_channels, dataset.n_classes)
            if not scored:
                note_model(network, name, spells)
            return network
        if name in BLOCKS:
            network = CifarResNet(BLOCKS[name], dataset.in_channels, dataset.n_classes)
        else:
            network = _torchvision_model(name, dataset)
    note_model(network, name)
    return network


def is_genotype(name: str) -> bool:
    """Whether a name is meant as a genotype: no model's holds a separator or starts with a digit.

    >>> is_genotype("0804"), is_genotype("resnet18")
    (True, False)
    """
    return bool(set(name) & set("~|,")) or name[:1].isdigit()


def is_cell(name: str) -> bool:
    """Whether a name is meant as a genotype of the paper's space, not of NAS-Bench-201.

    >>> is_cell("0804"), is_cell("|nor_conv_3x3~0|+|"), is_cell("resnet18")
    (True, False, False)
    """
    return is_genotype(name) and "~" not in name


def _torchvision_model(name: str, dataset: Images) -> nn.Module:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        near = difflib.get_close_matches(name, [*BLOCKS, *known], n=1)
        meant = f", did you mean {near[0]}?" if near else ""
        raise NetworkError(
            f"model {name!r} is unknown{meant}; expected a genotype such as 5000|0001|0800, "
            f"{', '.join(BLOCKS)}, or one of torchvision's: {', '.join(known)}"
        )
    if dataset.in_channels not in (1, 3):
        raise NetworkError(
            f"model {name!r} takes images of 3 channels; {dataset.name} has {dataset.in_channels}"
        )
    network: nn.Module = torchvision.models.get_model(name, num_classes=dataset.n_classes)
    return network if dataset.in_channels == 3 else nn.Sequential(GreyToColour(), network)
