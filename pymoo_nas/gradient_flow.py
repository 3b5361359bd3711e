"""How gradients come back through a network to its images: how far they grow, how smooth they are.

A plain stack of layers multiplies the gradient with every layer, and a stack of poolings blurs it
(Yang 2019, Balduzzi 2017). A scored network of few cells hides both; the network to train, of the
same cells many times over, does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pymoo_nas.calibration import calibrate, preserved
from pymoo_nas.checks import check_images
from pymoo_nas.devices import seeded
from pymoo_nas.given import read_genotype
from pymoo_nas.problem import NASProblem

MOST_GROWTH = 0.8
"""Largest growth of a steady gradient (log10, so about six times)."""

MOST_SMOOTHNESS = 0.0
"""Largest smoothness of a steady gradient; studies/steady_gradients.py has other limits."""

N_IMAGES = 20
N_INITS = 4
MARGIN = 0.3
"""Images of the probe and initialisations by which steadiness is judged; and the growth over the
limit, about two standard deviations of one initialisation, from which one is enough."""


@dataclass(frozen=True)
class GradientFlow:
    """The gradients of the summed logits at the images.

    Attributes:
        size: log10 of the norm, mean over the images.
        smoothness: correlation of the gradient at neighbouring pixels, mean over rows and columns;
            near 0 without poolings. NaN where the gradient is the same at every pixel.
    """

    size: float
    smoothness: float


@dataclass(frozen=True)
class Steadiness:
    """What becomes of the gradients when the cells that were scored are stacked to be trained.

    Attributes:
        growth: `GradientFlow.size` of the final network less that of the scored one.
        smoothness: `GradientFlow.smoothness` of the final network.
    """

    growth: float
    smoothness: float

    @property
    def steady(self) -> bool:
        """Whether the gradients neither explode nor blur; false where they are not finite."""
        finite = math.isfinite(self.growth) and math.isfinite(self.smoothness)
        return finite and self.growth < MOST_GROWTH and self.smoothness < MOST_SMOOTHNESS


def gradient_flow(network: nn.Module, images: Tensor) -> GradientFlow:
    """Measure a network, its batch norms set to the statistics of the images; it is given back.

    Args:
        network: (N, C, H, W) → logits (N, n_classes).
        images: (N, C, H, W) floating point, normalised, on the network's device.

    Raises:
        ScoreError: images that cannot be scored.
        NetworkError: the network cannot take the images.
    """
    check_images(network, images)
    with preserved(network), torch.enable_grad():
        calibrate(network, images)
        network.requires_grad_(False)
        images = images.detach().requires_grad_(True)
        logits = network(images.clone()).sum()
        if not logits.requires_grad:
            return GradientFlow(-math.inf, math.nan)
        (gradient,) = torch.autograd.grad(logits, images)
    size = gradient.flatten(1).norm(dim=1).log10().mean()
    centred = gradient - gradient.mean((2, 3), keepdim=True)
    across = (centred[..., 1:] * centred[..., :-1]).sum()
    down = (centred[..., 1:, :] * centred[..., :-1, :]).sum()
    return GradientFlow(float(size), float((across + down) / (2 * centred.square().sum())))


def steadiness(genotype: Any, problem: NASProblem, *, seed: int = 0) -> Steadiness:
    """The gradients of an architecture's final network (its body), beside those of its scored one.

    Mean over `N_INITS` initialisations; of one where that shows a growth far beyond the limit.

    Args:
        genotype: its text, or in any other form that `read_genotype` takes.
        problem: gives search space and probe.
        seed: of the first initialisation.

    Raises:
        GenotypeError: something else.
    """
    images = problem.probe.images[:N_IMAGES].cpu()
    space, dataset = problem.search_space, problem.dataset
    read = read_genotype(space, genotype)
    cells = [read] * space.n_cells
    found: list[Steadiness] = []
    for start in range(seed, seed + N_INITS):
        scored = gradient_flow(problem.build(read, start).cpu(), images)
        with seeded(torch.device("cpu"), start):
            deep = space.build_body(cells, dataset.in_channels, dataset.n_classes)
        final = gradient_flow(deep, images)
        found.append(Steadiness(final.size - scored.size, final.smoothness))
        if not found[0].growth < MOST_GROWTH + MARGIN:
            break
    return Steadiness(
        sum(one.growth for one in found) / len(found),
        sum(one.smoothness for one in found) / len(found),
    )
