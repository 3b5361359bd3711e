"""The final network (Fig. 3): the choice of surviving cells, and its construction."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import comb
from typing import Any

import torch
from torch import nn

from pymoo_nas._machine import whole
from pymoo_nas.errors import SearchError
from pymoo_nas.networks import count_all
from pymoo_nas.search import Limits, NASProblem, front_to_frame, read_genotypes
from pymoo_nas.spaces import Architecture

MAX_CANDIDATES = 6
"""Number of the front's best cells that are considered for the final network."""

MAX_CHOICES = 500
"""Largest number of choices of cells that are tried; networks of 20 cells take half a second."""


def build_final(
    result_or_genotypes: Any,
    n_cells: int | None = None,
    *,
    problem: NASProblem | None = None,
    seed: int = 0,
) -> nn.Module:
    """Build the network to train: cells of the front in sequence.

    From a result, the `n_cells` best cells by rank sum are taken whose network keeps the problem's
    limits (see `choose_cells`). Given genotypes are taken as they are, repeated in turn up to
    `n_cells`.

    Args:
        result_or_genotypes: pymoo's ``Result``, or an algorithm; or genotypes in order, or one, in
            any form that `read_genotypes` takes: texts, ``result.X``, ``result.opt``.
        n_cells: number of cells in sequence; None for as many as the search space scores.
        problem: gives search space, channels and classes; needed with genotypes only.
        seed: seed of the initial weights.

    Returns:
        (N, C, H, W) → logits (N, n_classes), on the CPU.

    Raises:
        SearchError: an empty front, no genotype, n_cells below 1 or a number that the search space
            does not allow, or genotypes without a problem.
        GenotypeError: something that is no genotype.
    """
    if n_cells is not None:
        n_cells = whole("n_cells", n_cells)
    from_result = hasattr(result_or_genotypes, "opt")
    problem = result_or_genotypes.problem if from_result else problem
    if problem is None:
        raise SearchError(
            "genotypes without a problem: pass problem=NASProblem(...), or the result itself"
        )
    if not hasattr(problem, "dataset"):
        raise SearchError(f"{type(problem).__name__} has no images; pass problem=NASProblem(...)")
    space = problem.search_space
    n_cells = space.n_cells if n_cells is None else n_cells
    space.check_n_cells(n_cells)
    given = result_or_genotypes
    genotypes = read_genotypes(space, front_to_frame(given) if from_result else given)
    if from_result:
        genotypes = choose_cells(genotypes, n_cells, problem)
    elif not genotypes:
        raise SearchError("no genotypes given; expected at least one")
    else:
        genotypes = list(itertools.islice(itertools.cycle(genotypes), n_cells))
    return Architecture.of_cells(space, genotypes).build("trained", problem.dataset, seed=seed)


def choose_cells(genotypes: Sequence[Any], n_cells: int, problem: NASProblem) -> list[Any]:
    """Choose cells for a network: the first choice, from the best on, that keeps the limits.

    Choices are tried in the order of the summed positions of their cells in the front, so the n
    best cells come first. A network of one repeated cell was scored within the limits. So for as
    many cells as were scored, some choice fits. A front with fewer cells repeats its best cells.

    Args:
        genotypes: genotypes of the front, best first.
        n_cells: number of cells to choose.
        problem: gives the limits and the size of a network.

    Raises:
        SearchError: an empty front, or no choice that keeps the limits.
    """
    if not genotypes:
        raise SearchError(
            "the front is empty: no candidate kept the limits; raise them "
            f"({problem.limits or 'max_params and so on'})"
        )
    n_candidates = min(len(genotypes), MAX_CANDIDATES)
    # For a network of many cells, six candidates would make far too many choices.
    while comb(n_candidates + n_cells - 1, n_cells) > MAX_CHOICES:
        n_candidates -= 1
    candidates = list(genotypes[:n_candidates])
    distinct = min(n_cells, len(candidates))

    def cost(choice: tuple[int, ...]) -> tuple[int, int]:
        # Different cells come before repeated cells; then better positions come first.
        return distinct - len(set(choice)), sum(choice)

    choices = itertools.combinations_with_replacement(range(len(candidates)), n_cells)
    for choice in sorted(choices, key=cost):
        chosen = [candidates[index] for index in choice]
        if keeps_limits(chosen, problem):
            return chosen
    raise SearchError(
        f"no {n_cells} cells of the front keep the limits {problem.limits} together; "
        "use fewer cells, or raise the limit"
    )


def keeps_limits(
    genotypes: Sequence[Any], problem: NASProblem, further: Limits | None = None
) -> bool:
    """Whether the final network of these cells, in order, is within the problem's limits.

    Args:
        genotypes: of the cells.
        problem: gives the limits and the size of a network.
        further: limits to keep, too.
    """
    if not (problem.limits or further) or not problem.search_space.limits_final:
        return True
    dataset = problem.dataset
    with torch.device("meta"):
        network = problem.search_space.build_final(
            genotypes, dataset.in_channels, dataset.n_classes
        )
        images = torch.empty(1, dataset.in_channels, *dataset.image_size)
    counts = count_all(network, images)._asdict()
    return problem.limits.kept_by(counts) and (further is None or further.kept_by(counts))
