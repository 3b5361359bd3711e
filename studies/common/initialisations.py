"""What the initialisations of an architecture, and the matrices of a generation, cost together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from common.halving import INSIDE
from common.scoring_steps import N_IMAGES, launches_of
from common.timing import medians
from pymoo_nas.datasets import Dataset
from pymoo_nas.kernels import PlanMemory, measure_kernels
from pymoo_nas.spaces import Architecture

N_INITS = 2
"""R, initialisations of an architecture."""

N_MATRICES = 40
"""Kernels of twenty candidates by two objectives."""


def initialisation_rows(
    texts: Sequence[str],
    device: torch.device,
    dataset: Dataset,
    n: int,
    synchronise: Callable[[torch.device], None],
) -> Iterator[str]:
    """One line per network: initialisations one by one and stacked; kernels with either plan."""
    images = dataset.normalized(dataset.train_images[:N_IMAGES]).to(device)
    for text in texts:
        architecture = Architecture.read(text, INSIDE)
        networks = [
            architecture.build("scored", dataset, seed=seed).to(device).eval()
            for seed in range(N_INITS)
        ]
        plans = PlanMemory()
        measure_kernels(networks[0], images, plans=plans)
        ways: dict[str, Callable[[], object]] = {
            "one by one": partial(passes, networks, images),
            "stacked": stacked(networks, images),
            "own plan": partial(measure_kernels, networks[1], images),
            "known plan": partial(measure_kernels, networks[1], images, plans=plans),
        }
        found = medians(ways, n, partial(synchronise, device))
        parts = [
            f"{way} {1000 * seconds:.1f} ms ({launches_of(ways[way])[0]} launches)"
            for way, seconds in found.items()
        ]
        yield f"{N_INITS} initialisations of {text}: " + ", ".join(parts)


def passes(networks: Sequence[nn.Module], images: Tensor) -> None:
    """A forward and a backward pass of each network."""
    for network in networks:
        torch.autograd.grad(network(images).sum(), [*network.parameters()], allow_unused=True)


def stacked(networks: Sequence[nn.Module], images: Tensor) -> Callable[[], None]:
    """A function that does the same by one pass of parameters that are stacked before."""
    parameters, buffers = stack_module_state([*networks])
    skeleton = deepcopy(networks[0]).to("meta")

    def logits(own: dict[str, Tensor], kept: dict[str, Tensor], x: Tensor) -> Tensor:
        found: Tensor = functional_call(skeleton, (own, kept), (x,))
        return found

    def run() -> None:
        output = vmap(logits, (0, 0, None))(parameters, buffers, images)
        torch.autograd.grad(output.sum(), [*parameters.values()], allow_unused=True)

    return run


def eigenvalue_row(n: int) -> str:
    """Eigenvalues of the kernels of a generation, on the CPU in float64, in three ways."""
    rows = np.random.default_rng(0).normal(size=(N_MATRICES, N_IMAGES, 200))
    kernels = rows @ rows.transpose(0, 2, 1)
    found = medians(
        {
            "one by one": lambda: [np.linalg.eigvalsh(kernel) for kernel in kernels],
            "together by numpy": lambda: np.linalg.eigvalsh(kernels),
            "together by torch": lambda: torch.linalg.eigvalsh(torch.from_numpy(kernels)),
        },
        n,
    )
    each = ", ".join(
        f"{way} {1000 * seconds / N_MATRICES:.2f} ms" for way, seconds in found.items()
    )
    return f"eigenvalues of each of {N_MATRICES} kernels of {N_IMAGES} images: {each}"
