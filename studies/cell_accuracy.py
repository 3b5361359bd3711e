"""Do the scores rank cells of the paper's own space as a short training does?

Random cells are grown by random mutations until one step more would break the limits, so that they
are about as large as those that a search ends with; each is scored, and trained for a short while
on nine tenths of a part of the training images, judged by the last tenth. Every
cell is written down as soon as it is done.

Command:
    python studies/cell_accuracy.py --cifar PATH/cifar40.npz --partial cells.csv --n 30 \
        --max-flops 48000000

The images were the first 40,000 of CIFAR-10, see cifar10.py; AMD EPYC virtual machine, one run with
seed 0 (± is the standard deviation over cells), at a commit with three cells, halves of the size,
SGD, and averages between cells:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads;
        10000 images of 16 pixels, 4 epochs,
        at most 560000 parameters and 48000000 multiply-accumulates, R = 2
    accuracy 52.31 ± 3.21 %, n = 30
    ntk                          τ  0.638   mean accuracy of the three best 54.46
    activation                   τ  0.601   mean accuracy of the three best 53.56
    correlation                  τ  0.264   mean accuracy of the three best 55.39
    balanced_ntk                 τ  0.597   mean accuracy of the three best 55.09
    minus_flops                  τ  0.200   mean accuracy of the three best 51.53
    minus params                 τ -0.121   mean accuracy of the three best 49.67
    three, log ranks             τ  0.578   mean accuracy of the three best 55.16
    balanced three, log ranks    τ  0.560   mean accuracy of the three best 55.16
    three and FLOPs, log ranks   τ  0.525   mean accuracy of the three best 55.16
    three, as choose             τ  0.694   mean accuracy of the three best 58.32
    three and FLOPs, as choose   τ  0.711   mean accuracy of the three best 58.32
    best 60.08 %: 8,8,0,0|8,0,24,16|16,8,24,8

Among cells that use up the limits, the first two scores tell good from bad as well as they do on
NAS-Bench-201, and size alone tells nothing; the third, whose τ on NAS-Bench-201 is 0.64, tells
little. The order by which `choose` hands over puts the three best cells first.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from remembered import part_of
from resumed import kept_rows
from scipy.stats import kendalltau, rankdata

import pymoo_nas
from pymoo_nas.choice import rank_sum
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.final import build_final
from pymoo_nas.genotype import Genotype
from pymoo_nas.problem import NASProblem
from pymoo_nas.scores import OBJECTIVES
from pymoo_nas.search_space import REDUCTIONS, CellSpace
from pymoo_nas.training import train

MIXES = {
    "three, log ranks": OBJECTIVES,
    "balanced three, log ranks": ("balanced_ntk", "activation", "correlation"),
    "three and FLOPs, log ranks": (*OBJECTIVES, "minus_flops"),
}
"""Sums of log ranks, and of what."""

CHOICES = {
    "three, as choose": OBJECTIVES,
    "three and FLOPs, as choose": (*OBJECTIVES, "minus_flops"),
}
"""Sums of high powers of ranks; the second is the order of `order_scored`."""


def grown_cells(problem: NASProblem, seed: int) -> Iterator[Genotype]:
    """Random cells, each grown until its network would break a limit."""
    rng = np.random.default_rng(seed)
    space: Any = problem.search_space
    kinds = list(space.mutation_kinds)
    shares = np.array(list(space.mutation_kinds.values()))
    while True:
        genotype = space.sample(rng)
        if problem.score_genotype(genotype).degenerate:
            continue
        tries = 0
        while tries < 8:
            kind = str(rng.choice(kinds, p=shares / shares.sum()))
            operation = str(rng.choice(space.operation_names))
            larger = space.mutate(genotype, kind, operation, rng)
            kept = not problem.score_genotype(larger).degenerate
            genotype, tries = (larger, tries) if kept else (genotype, tries + 1)
        yield genotype


def distinct(cells: Iterable[Genotype]) -> Iterator[Genotype]:
    """Those that spell another network than all before: small limits leave few ways to grow.

    After a hundred repeats in a row there are taken to be no more.
    """
    known: set[Genotype] = set()
    repeats = 0
    for genotype in cells:
        repeats = repeats + 1 if genotype.canonical() in known else 0
        if repeats == 100:
            return
        if repeats == 0:
            known.add(genotype.canonical())
            yield genotype


def measure(problem: NASProblem, part: Dataset, genotype: Genotype, epochs: int) -> dict[str, Any]:
    """Scores and short-training accuracy of one cell."""
    scores = problem.score_genotype(genotype)
    network = build_final(genotype, problem=problem, seed=0)
    start = time.perf_counter()
    training = train(network, part, epochs=epochs, precision="bfloat16", seed=0)
    return {
        "genotype": problem.search_space.format(genotype),
        **dict(zip(OBJECTIVES, scores.values, strict=True)),
        "balanced_ntk": scores.balanced_ntk,
        "params": scores.params,
        "acts": scores.acts,
        "flops": scores.flops,
        "minus_flops": -scores.flops,
        "accuracy": float(training.epochs["validation_accuracy"].iloc[-1]),
        "training_seconds": time.perf_counter() - start,
    }


def report(rows: pd.DataFrame) -> None:
    """τ of each score and of sums of log ranks with the accuracy, lower score better."""
    accuracy = rows["accuracy"]
    print(f"accuracy {100 * accuracy.mean():.2f} ± {100 * accuracy.std():.2f} %, n = {len(rows)}")
    columns = {name: rows[name] for name in (*OBJECTIVES, "balanced_ntk", "minus_flops")}
    columns["minus params"] = -rows["params"]
    for name, names in MIXES.items():
        columns[name] = sum(np.log(rankdata(rows[part])) for part in names)
    for name, names in CHOICES.items():
        columns[name] = rank_sum(rows[list(names)])
    for name, values in columns.items():
        order = np.argsort(values, kind="stable")[:3]
        print(
            f"{name:28s} τ {-kendalltau(values, accuracy)[0]:6.3f}   mean accuracy of the three "
            f"best {100 * accuracy.iloc[order].mean():.2f}"
        )
    best = rows.iloc[int(np.argmax(accuracy))]
    print(f"best {100 * best['accuracy']:.2f} %: {best['genotype']}")


def main() -> None:
    """Sample, score, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--partial", type=Path, required=True)
    parser.add_argument("--max-params", type=int, default=560_000)
    parser.add_argument("--max-flops", type=int, default=45_000_000)
    parser.add_argument("--max-acts", type=int, default=150_000)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=32, help="pixels of the images trained on")
    parser.add_argument("--reduction", choices=REDUCTIONS, default=REDUCTIONS[0])
    for name, default in (("n", 30), ("cells", 3), ("epochs", 4), ("inits", 1), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.cifar)
    limits = {name: getattr(arguments, name) for name in ("max_params", "max_flops", "max_acts")}
    space = CellSpace(n_cells=arguments.cells, reduction=arguments.reduction)
    # Growing asks only whether a cell keeps the limits and can be judged: eight images tell.
    small = NASProblem(dataset, search_space=space, n_images=10, **limits)
    problem = NASProblem(dataset, search_space=space, n_inits=arguments.inits, **limits)
    part = part_of(load_dataset(arguments.cifar, image_size=arguments.size), arguments.images)
    cells = islice(distinct(grown_cells(small, arguments.seed)), arguments.n)
    rows = kept_rows(
        arguments.partial, cells, lambda cell: measure(problem, part, cell, arguments.epochs)
    )
    print(
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; "
        f"{arguments.images} images of {arguments.size} pixels, {arguments.epochs} epochs, "
        f"{arguments.cells} cells, reduction {arguments.reduction}, R = {arguments.inits}, "
        f"limits {limits}"
    )
    report(rows)


if __name__ == "__main__":
    main()
