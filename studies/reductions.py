"""Average or max pooling between cells: what does it do to scores and accuracy?

Random cells are grown as in cell_accuracy.py, and each is judged as it is and with a max pooling of
eight channels behind its output, which takes channels away and adds next to nothing. Each of the
two is scored and trained shortly with either reduction between its cells: a score that says what a
cell trains to should not prefer the pooling where accuracy falls.

Command:
    python studies/reductions.py --cifar PATH/cifar10.npz --partial reductions.csv

AMD EPYC virtual machine, beside other work, one run; trainings by SGD; ± is the standard deviation
over cells, "pooled" the change by the max pooling, accuracy in per cent of held-out images:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads;
        10000 images of 16 pixels, 4 epochs, seed 1, R = 2
    average pooling between cells, n = 6
        ntk              3.202 ± 0.227; pooled -0.367 ± 0.159, lower in 6
        activation    -678.042 ± 19.896; pooled -0.427 ± 0.669, lower in 4
        correlation      8.018 ± 12.017; pooled -4.983 ± 7.878, lower in 6
        balanced_ntk     3.309 ± 0.238; pooled -0.408 ± 0.173, lower in 6
        accuracy        52.283 ± 7.478; pooled +0.467 ± 4.314, lower in 5
    max pooling between cells, n = 6
        ntk              3.117 ± 0.228; pooled -0.363 ± 0.136, lower in 6
        activation    -678.603 ± 19.724; pooled -0.023 ± 0.570, lower in 2
        correlation      4.584 ± 8.826; pooled -2.448 ± 6.171, lower in 4
        balanced_ntk     3.196 ± 0.230; pooled -0.364 ± 0.135, lower in 6
        accuracy        55.117 ± 8.025; pooled -3.683 ± 6.902, lower in 5

Behind the output a max pooling makes five of six cells worse (the sixth, whose output is mostly
average poolings, gains ten points and makes most of the means). With averages between cells two of
the three scores prefer it in every cell; with max pooling the condition number still does, the
correlation in four. The same cells train to a higher accuracy with max pooling between them.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import torch
from cell_accuracy import grown_cells, measure

import pymoo_nas
from common.remembered import part_of
from common.rows import kept_rows
from pymoo_nas import networks
from pymoo_nas.datasets import load_dataset
from pymoo_nas.genotype import Genotype
from pymoo_nas.problem import NASProblem
from pymoo_nas.scores import OBJECTIVES
from pymoo_nas.search_space import CellSpace

LIMITS: dict[str, Any] = {"max_params": 560_000, "max_flops": 45_000_000}
REDUCTIONS = {"average": networks.halve, "max": networks.halve_features}
VALUES = (*OBJECTIVES, "balanced_ntk", "accuracy")


def with_pooling(genotype: Genotype, max_pool: int, channels: int = 8) -> Genotype:
    """The cell with one more node behind its output, to which a max pooling leads."""
    nothing = (0,) * genotype.n_operations
    pooled = tuple(channels if index == max_pool else 0 for index in range(genotype.n_operations))
    return Genotype((*genotype.blocks, *[nothing] * genotype.n_nodes, pooled))


def extensible(problem: NASProblem, seed: int) -> Iterator[Genotype]:
    """Grown cells to which a node can be added."""
    most = problem.search_space.max_nodes  # type: ignore[union-attr]
    return (cell for cell in grown_cells(problem, seed) if cell.n_nodes < most)


def report(rows: pd.DataFrame) -> None:
    """Mean values by reduction, and what the pooling changes in them, cell by cell."""
    for reduction, found in rows.groupby("reduction"):
        plain, pooled = (
            found[found["pooled"] == pooled].set_index("cell")[list(VALUES)]
            for pooled in (False, True)
        )
        print(f"{reduction} pooling between cells, n = {len(plain)}")
        for name in VALUES:
            scale = 100 if name == "accuracy" else 1
            change = scale * (pooled[name] - plain[name])
            print(
                f"    {name:13s} {scale * plain[name].mean():8.3f} ± "
                f"{scale * plain[name].std():.3f}; pooled "
                f"{change.mean():+.3f} ± {change.std():.3f}, lower in {(change < 0).sum()}"
            )


def main() -> None:
    """Grow, score, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--partial", type=Path, required=True)
    for name, default in (("n", 6), ("epochs", 4), ("images", 10_000), ("size", 16), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.cifar)
    space = CellSpace(reduction="between", stem=False)
    small = NASProblem(dataset, search_space=space, n_images=10, **LIMITS)
    part = part_of(load_dataset(arguments.cifar, image_size=arguments.size), arguments.images)
    max_pool = space.operation_names.index("max_pool3x3")
    cells = enumerate(islice(extensible(small, arguments.seed), arguments.n))
    todo = (
        (index, reduction, pooled, with_pooling(cell, max_pool) if pooled else cell)
        for index, cell in cells
        for reduction in REDUCTIONS
        for pooled in (False, True)
    )

    def measured(task: tuple[int, str, bool, Genotype]) -> dict[str, Any]:
        index, reduction, pooled, genotype = task
        with patch.object(networks, "halve_features", REDUCTIONS[reduction]):
            fresh = NASProblem(dataset, search_space=space, n_inits=2)  # scores no cell twice
            values = measure(fresh, part, genotype, arguments.epochs)
        return {"cell": index, "reduction": reduction, "pooled": pooled, **values}

    rows = kept_rows(arguments.partial, todo, measured)
    print(
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; "
        f"{arguments.images} images of {arguments.size} pixels, {arguments.epochs} epochs, seed "
        f"{arguments.seed}, R = 2"
    )
    report(rows)


if __name__ == "__main__":
    main()
