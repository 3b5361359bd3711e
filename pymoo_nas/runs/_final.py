"""The final network of a run: its cells, and the images to train it on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from torch import nn

from pymoo_nas.choice import build_final, choose_cells, keeps_limits
from pymoo_nas.datasets import Dataset
from pymoo_nas.errors import RunError, SearchError
from pymoo_nas.runs._folder import RunFolder
from pymoo_nas.scores import PAPER_OBJECTIVES, SIZES
from pymoo_nas.search import NASProblem
from pymoo_nas.spaces import Architecture, SearchSpace, cells_in_words, design_of
from pymoo_nas.training import design_in


def final_of(
    run: Path, cells: int | None, seed: int, **places: Any
) -> tuple[nn.Module, Dataset, str]:
    """Build the final network of a run; return it, the images to train it on, and its title.

    Args:
        run: the run folder.
        cells: number of cells in sequence; None takes the number that the choice was made for, or
            else as many as were scored.
        seed: seed of the initial weights.
        **places: arguments of `NASProblem` that give other images to train on.

    Raises:
        RunError: no run there, or no architecture that can be judged.
        SearchError: the search space does not take so many cells, or they break the run's limits.

    Warns:
        UserWarning: the images are not those of the search any more, or the search has gone on
            since the choice.
    """
    folder = RunFolder(run)
    others = {"dataset", "image_size"} & set(places)
    if others:  # the limits hold for networks on the run's own images
        places |= dict.fromkeys(f"max_{name}" for name in SIZES)
    # Nothing is scored.
    config = folder.config()
    problem = config.problem(device="cpu", n_images=2, objectives=PAPER_OBJECTIVES, **places)
    if not others and config.get("data") != problem.dataset.fingerprint:
        warnings.warn(
            f"{run}: the images in {problem.dataset.name} are not those of the search any more",
            stacklevel=2,
        )
    space = problem.search_space
    chosen, source = _cells_of(folder, problem, cells, config.get("generations_done"))
    network = build_final(chosen, len(chosen), problem=problem, seed=seed)
    texts = [space.format(genotype) for genotype in chosen]
    return network, problem.dataset, f"final network, {source}: {cells_in_words(texts)}"


def network_by_name(
    name: str,
    spaces: Sequence[SearchSpace[Any]],
    images: Dataset,
    seed: int,
    interrupted: Path | None = None,
) -> nn.Module:
    """Build the network to train of an architecture that is named.

    Args:
        name: see `Architecture.read`.
        spaces: search spaces of a genotype; the first one unless a training says otherwise.
        images: the images to train it on.
        seed: seed of the initial weights.
        interrupted: folder of a training that goes on. The space that makes its network is taken,
            where one does: the defaults may have been others when it began.
    """
    built = (Architecture.read(name, space).build("trained", images, seed=seed) for space in spaces)
    first = next(built)
    if interrupted is None or design_of(first) == (wanted := design_in(interrupted)):
        return first
    return next((network for network in built if design_of(network) == wanted), first)


def _cells_of(
    folder: RunFolder, problem: NASProblem, cells: int | None, done: int | None
) -> tuple[list[Any], str]:
    """The genotypes of the final network, one per cell, and their source in words."""
    space, choice = problem.search_space, folder.choice()
    if choice is None:
        front = folder.front()
        front = front[front["degenerate"] == ""]
        if front.empty:
            raise RunError(
                f"{folder.path}: no architecture in the front that can be judged; search again "
                "with higher limits"
            )
        genotypes = [space.parse(text) for text in front["genotype"]]
        return choose_cells(genotypes, cells or space.n_cells, problem), "of the front"
    if choice.generations not in (None, done):
        warnings.warn(
            f"{folder.path}: chosen after {choice.generations} of {done} generations; choose again "
            "to take the later ones in",
            stacklevel=3,
        )
    given = folder.chosen(space.parse) or []
    chosen = list(islice(cycle(given), cells or choice.n_cells or space.n_cells))
    if not keeps_limits(chosen, problem):
        raise SearchError(
            f"{len(chosen)} cells of the choice together break the limits {problem.limits}; "
            "use fewer cells, or choose a smaller one"
        )
    return chosen, f"chosen by {choice.by}" if choice.by else "chosen"
