"""Steadiness of gradients when scored cells are stacked into the network to train."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from pymoo_nas._machine import seeded
from pymoo_nas.scores import gradient_flow
from pymoo_nas.search import NASProblem, read_genotype

MOST_GROWTH = 0.8
"""Largest growth of a steady gradient (log10, so about six times)."""

MOST_SMOOTHNESS = 0.0
"""Largest smoothness of a steady gradient; studies/steady_gradients.py has other limits."""

N_IMAGES = 20
N_INITS = 4
MARGIN = 0.3
"""Steadiness is judged by `N_IMAGES` images of the probe and `N_INITS` initialisations. One
initialisation is enough where its growth exceeds the limit by `MARGIN`, about two standard
deviations of one initialisation."""


@dataclass(frozen=True)
class Steadiness:
    """The change of gradients when scored cells are stacked into the final network.

    Attributes:
        growth: `GradientFlow.size` of the final network, minus that of the scored network.
        smoothness: `GradientFlow.smoothness` of the final network.
    """

    growth: float
    smoothness: float

    @property
    def steady(self) -> bool:
        """Whether the gradients neither explode nor blur; false where they are not finite."""
        finite = math.isfinite(self.growth) and math.isfinite(self.smoothness)
        return finite and self.growth < MOST_GROWTH and self.smoothness < MOST_SMOOTHNESS

    def __str__(self) -> str:
        told = f"growth {self.growth:.2f}, smoothness {self.smoothness:.3f}"
        return f"{told}, steady" if self.steady else told


def steadiness(genotype: Any, problem: NASProblem, *, seed: int = 0) -> Steadiness:
    """Compare the gradients of an architecture's final network (its body) and its scored network.

    The result is the mean over `N_INITS` initialisations, or the result of the first one alone
    where its growth is far beyond the limit.

    Args:
        genotype: a genotype in any form that `read_genotype` takes, such as its text.
        problem: gives search space and probe.
        seed: seed of the first initialisation.

    Raises:
        GenotypeError: something that is no genotype.
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
