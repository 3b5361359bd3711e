"""Steadiness of gradients when scored cells are stacked into the network to train."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from pymoo_nas._machine import is_out_of_memory, seeded
from pymoo_nas.errors import MemoryLimitError, NetworkError, OperationError, SearchError
from pymoo_nas.scores import STEADINESS, gradient_flow
from pymoo_nas.search._candidates import CandidateScorer

MOST_GROWTH = 0.8
"""Below this the growth of a steady gradient lies (log10, so about six times)."""

MOST_SMOOTHNESS = 0.0
"""Below this the smoothness of a steady gradient lies; studies/steady_gradients.py has other
limits."""

N_IMAGES = 5
N_INITS = 4
"""Steadiness is judged by `N_IMAGES` images of the probe and at most `N_INITS` initialisations."""

CAREFUL_IMAGES = 20
NEAR = 0.0125
"""Where the smoothness is so near to its limit, `CAREFUL_IMAGES` images judge. Verdicts by
`N_IMAGES` differ from theirs there alone (studies/gradient_choice.py)."""

MARGINS = (0.3, 0.08)
"""Two standard deviations of growth and of smoothness over initialisations
(studies/gradient_choice.py). The mean of n initialisations is enough where it is further than
these, divided by √n, from the limits."""


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
        return self.excess < 0

    @property
    def excess(self) -> float:
        """How far the larger of both is over its limit, in `MARGINS`; below 0 where steady."""
        by = (
            (self.growth - MOST_GROWTH) / MARGINS[0],
            (self.smoothness - MOST_SMOOTHNESS) / MARGINS[1],
        )
        return max(by) if all(map(math.isfinite, by)) else math.inf

    def __str__(self) -> str:
        told = f"growth {self.growth:.2f}, smoothness {self.smoothness:.3f}"
        return f"{told}, steady" if self.steady else told


FAILED = Steadiness(math.inf, math.inf)
"""The steadiness of an architecture that could not be measured."""


def steadiness_of_rows(table: pd.DataFrame) -> dict[str, Steadiness]:
    """Genotype → the steadiness that a search has measured of it; empty where it has not.

    Args:
        table: a history or a front.

    Raises:
        SearchError: a value that is no number.
    """
    if not {"genotype", *STEADINESS} <= {*table.columns}:
        return {}
    try:
        columns = [table[name].astype("float64") for name in STEADINESS]
    except (ValueError, TypeError) as error:
        raise SearchError(
            f"columns {', '.join(STEADINESS)}: {error}; expected numbers, or none where nothing "
            "was measured"
        ) from error
    rows = zip(table["genotype"], *columns, strict=True)
    return {
        genotype: Steadiness(growth, smoothness)
        for genotype, growth, smoothness in rows
        if not math.isnan(growth)
    }


def preferred_rows(table: pd.DataFrame, usable: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which rows can be in a front: the usable ones that are not known to be unsteady.

    Args:
        table: a history or a front, of n rows.
        usable: (n,), which rows are feasible and have scores.

    Returns:
        (n,); the usable ones where all of them are unsteady.
    """
    known = steadiness_of_rows(table)
    if not known:
        return usable
    hopeful = [name not in known or known[name].steady for name in table["genotype"]]
    found: npt.NDArray[np.bool_] = usable & np.array(hopeful)
    return found if found.any() else usable


def steadiness(genotype: Any, scorer: CandidateScorer, *, seed: int = 0) -> Steadiness:
    """Compare the gradients of an architecture's final network (its body) and its scored network.

    The result is the mean over initialisations: as many as the verdict needs, at most `N_INITS`.
    A network that cannot be built, cannot take the images, or for which memory runs out, counts as
    one whose gradients explode (`FAILED`).

    Args:
        genotype: a genotype of the search space.
        scorer: gives search space and probe.
        seed: seed of the first initialisation.
    """
    try:
        return settled(
            lambda index, n_images: steadiness_at(genotype, scorer, seed + index, n_images)
        )
    except (NetworkError, OperationError, MemoryLimitError):
        return FAILED
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return FAILED


def settled(at: Callable[[int, int], Steadiness]) -> Steadiness:
    """The mean over initialisations, of which no more are measured than the verdict needs.

    Args:
        at: measures the initialisation of an index, from 0 to `N_INITS` - 1, by so many images.
    """
    found: list[Steadiness] = []
    while True:
        found.append(at(len(found), N_IMAGES))
        mean = mean_of(found)
        if _is_clear(mean, len(found)):
            return mean
        if len(found) == N_INITS:
            break
    if abs(mean.smoothness - MOST_SMOOTHNESS) < NEAR:
        return mean_of([at(index, CAREFUL_IMAGES) for index in range(N_INITS)])
    return mean


def mean_of(found: Sequence[Steadiness]) -> Steadiness:
    """The mean over initialisations, at least one."""
    return Steadiness(
        sum(one.growth for one in found) / len(found),
        sum(one.smoothness for one in found) / len(found),
    )


def _is_clear(mean: Steadiness, n: int) -> bool:
    """Whether more than n initialisations would hardly change the verdict, see `MARGINS`."""
    return abs(mean.excess) * math.sqrt(n) > 1


def steadiness_at(genotype: Any, scorer: CandidateScorer, seed: int, n_images: int) -> Steadiness:
    """The steadiness at one initialisation.

    Args:
        genotype: a genotype of the search space.
        scorer: gives search space and probe.
        seed: seed of the initialisation.
        n_images: number of images, the first ones of the probe.
    """
    images = scorer.probe.images[:n_images].cpu()
    space = scorer.search_space
    scored = gradient_flow(scorer.build(genotype, seed).cpu(), images)
    with seeded(torch.device("cpu"), seed):
        deep = space.build_body([genotype] * space.n_cells, scorer.in_channels, scorer.n_classes)
    final = gradient_flow(deep, images)
    return Steadiness(final.size - scored.size, final.smoothness)
