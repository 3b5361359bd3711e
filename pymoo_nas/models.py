"""Networks by name: torchvision's, and genotypes in their text form."""

from __future__ import annotations

from typing import Any

import torch
import torchvision
from torch import nn

from pymoo_nas.devices import seeded
from pymoo_nas.errors import NetworkError
from pymoo_nas.nasbench201 import NASBench201Space
from pymoo_nas.problem import NASProblem


def build_model(name: str, problem: NASProblem, seed: int) -> tuple[nn.Module, int]:
    """Build a network from its name, untrained, for a problem's data set.

    Args:
        name: a torchvision classifier (``resnet18``), a genotype of the problem's search space
            (``5000|0001|0800``), or a NAS-Bench-201 cell (``|nor_conv_3x3~0|+|…``).
        problem: gives channels, classes, device and the search space of genotypes.
        seed: of the initial weights.

    Returns:
        the network on the problem's device, and the channels that it takes: torchvision's take 3,
        so grey images are repeated for them.

    Raises:
        NetworkError: an unknown name, or images whose channels a torchvision network cannot take.
        GenotypeError: a malformed genotype.
    """
    dataset = problem.dataset
    space: Any = NASBench201Space() if "~" in name else problem.search_space
    # No name of a model holds a separator or begins with a digit.
    if set(name) & set("~|,") or name[:1].isdigit():
        with seeded(torch.device("cpu"), seed):
            network: nn.Module = space.build(
                space.parse(name), dataset.in_channels, dataset.n_classes
            )
        return network.to(problem.device), dataset.in_channels
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise NetworkError(
            f"model {name!r} is unknown; expected a genotype such as 5000|0001|0800, or one of "
            f"torchvision's: {', '.join(known)}"
        )
    if dataset.in_channels not in (1, 3):
        raise NetworkError(
            f"model {name!r} takes images of 3 channels; {dataset.name} has {dataset.in_channels}"
        )
    with seeded(torch.device("cpu"), seed):
        network = torchvision.models.get_model(name, num_classes=dataset.n_classes)
    return network.to(problem.device), 3
