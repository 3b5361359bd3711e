"""Do scores prefer those cells of the paper's space that train best?

Random cells are grown by random mutations until one step more would break the limits, so that they
are about as large as those that a search ends with, each another network than all before. Each is
scored, and trained for a short while on nine tenths of a part of the training images. It is judged
by 5,000 training images outside of this part; the first two commands are older, and were judged by
the last tenth of the part, trained in bfloat16. Every cell is written down as soon as it is done.

AMD EPYC virtual machine, beside other work, one run each with seeds from 0; the images were the
first 40,000 of CIFAR-10, see cifar10.py; pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7,
2 cores, 1 thread. ± is the standard deviation over cells.

Command, with the limits of README's table on CIFAR-10:
    python studies/cells.py --cifar PATH/cifar40.npz --partial cells.csv --n 30 \
        --reduction between --max-flops 90000000 --max-acts 300000

10000 images of 32 pixels, 4 epochs, R = 1; at most 560000 parameters, 90000000 multiply-accumulates
and 300000 acts, three cells, reduction between:

    accuracy 75.17 ± 2.09 %, n = 30
    ntk                          τ  0.549   mean accuracy of the three best 76.48
    activation                   τ  0.530   mean accuracy of the three best 77.01
    correlation                  τ  0.132   mean accuracy of the three best 76.38
    balanced_ntk                 τ  0.581   mean accuracy of the three best 77.08
    minus_flops                  τ  0.257   mean accuracy of the three best 75.78
    minus params                 τ  0.188   mean accuracy of the three best 75.78
    three, log ranks             τ  0.505   mean accuracy of the three best 77.31
    balanced three, log ranks    τ  0.521   mean accuracy of the three best 77.35
    three and FLOPs, log ranks   τ  0.507   mean accuracy of the three best 77.01
    three, as choose             τ  0.618   mean accuracy of the three best 77.91
    three and FLOPs, as choose   τ  0.553   mean accuracy of the three best 77.28
    best 78.24 %: 16,0,0,0|0,0,0,0|0,0,16,0|0,0,16,16|0,0,0,0|16,16,0,0

Command, with half these limits:
    python studies/cells.py --cifar PATH/cifar40.npz --partial small.csv --n 20 --cells 4

At most 560000 parameters, 45000000 and 150000, four cells, reduction inside:

    accuracy 74.37 ± 1.93 %, n = 20
    ntk                          τ -0.455   mean accuracy of the three best 72.02
    activation                   τ  0.413   mean accuracy of the three best 76.68
    correlation                  τ  0.402   mean accuracy of the three best 76.51
    balanced_ntk                 τ -0.169   mean accuracy of the three best 72.52
    minus_flops                  τ  0.695   mean accuracy of the three best 76.78
    minus params                 τ  0.674   mean accuracy of the three best 77.31
    three, log ranks             τ  0.239   mean accuracy of the three best 75.48
    balanced three, log ranks    τ  0.260   mean accuracy of the three best 75.48
    three and FLOPs, log ranks   τ  0.497   mean accuracy of the three best 76.68
    three, as choose             τ  0.053   mean accuracy of the three best 75.78
    three and FLOPs, as choose   τ  0.159   mean accuracy of the three best 75.78
    best 78.14 %: 40,0,8,0

Where there is room for cells of several nodes, the first two scores tell good from bad as they do
on NAS-Bench-201, the third, whose τ there is 0.64, tells little, and so does size; the three
together, by high powers of their ranks, are right more often than any alone. Where the acts leave
room for one wide block and little else, size decides, and the tangent kernel prefers the worse: its
condition is better in deeper cells of fewer channels. A search within so narrow limits lives from
the other two scores and from a choice that counts size.

Command, within MLPerf Tiny's parameters and multiply-accumulates of ResNet-8:
    python studies/cells.py --cifar PATH/cifar40.npz --partial tight.csv --n 22 \
        --max-params 78700 --max-flops 12500000 --max-acts 150000

At most 78700 parameters, 12500000 and 150000, three cells, reduction inside:

    accuracy 69.02 ± 1.99 %, n = 22, 9.6 minutes of training
    ntk                          τ  0.243   mean accuracy of the three best 70.09
    activation                   τ  0.443   mean accuracy of the three best 70.58
    correlation                  τ  0.156   mean accuracy of the three best 69.28
    balanced_ntk                 τ  0.364   mean accuracy of the three best 71.08
    minus_flops                  τ  0.336   mean accuracy of the three best 70.65
    minus params                 τ  0.327   mean accuracy of the three best 69.91
    three, log ranks             τ  0.321   mean accuracy of the three best 71.08
    balanced three, log ranks    τ  0.278   mean accuracy of the three best 71.08
    three and FLOPs, log ranks   τ  0.512   mean accuracy of the three best 70.58
    three, as choose             τ  0.451   mean accuracy of the three best 70.79
    three and FLOPs, as choose   τ  0.434   mean accuracy of the three best 71.17
    best 72.10 %: 16,0,0,0|0,0,0,16|0,0,16,0

With so few parameters, of the three scores only the activation tells much. The rows of this command
are kept in rows/tournaments/cells.csv.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from common.cells import distinct, grown_cells
from common.command import machine, parser
from common.images import of_training_images
from common.ranks import mean_of_best, tau
from common.rows import kept_rows
from pymoo_nas.choice import build_final
from pymoo_nas.choice._orders import rank_power_sum
from pymoo_nas.datasets import Dataset, load_dataset, split_validation
from pymoo_nas.scores import OBJECTIVES, PAPER_OBJECTIVES
from pymoo_nas.search import NASProblem, log_rank_sum
from pymoo_nas.spaces import REDUCTIONS, CellSpace, Genotype
from pymoo_nas.training import train

MIXES = {
    "three, log ranks": PAPER_OBJECTIVES,
    "balanced three, log ranks": ("balanced_ntk", "activation", "correlation"),
    "three and FLOPs, log ranks": (*PAPER_OBJECTIVES, "minus_flops"),
}
"""Sums of log ranks, and of what."""

CHOICES = {
    "three, as choose": PAPER_OBJECTIVES,
    "three and FLOPs, as choose": (*PAPER_OBJECTIVES, "minus_flops"),
}
"""Sums of high powers of ranks; the second is the order of `order_scored`."""


def measure(problem: NASProblem, part: Dataset, genotype: Genotype, epochs: int) -> dict[str, Any]:
    """Scores and short-training accuracy of one cell."""
    scores = problem.score_genotype(genotype)
    network = build_final(genotype, problem=problem, seed=0)
    start = time.perf_counter()
    training = train(network, part, epochs=epochs, batch_size=128, seed=0)
    return {
        "genotype": problem.search_space.format(genotype),
        **scores.objectives,
        "params": scores.params,
        "acts": scores.acts,
        "flops": scores.flops,
        "minus_flops": -scores.flops,
        "tenth": float(training.epochs["validation_accuracy"].iloc[-1]),
        "accuracy": training.test_accuracy,
        "training_seconds": time.perf_counter() - start,
    }


def report(rows: pd.DataFrame) -> None:
    """τ of each score and of sums of log ranks with the accuracy, lower score better."""
    accuracy = rows["accuracy"]
    print(
        f"accuracy {100 * accuracy.mean():.2f} ± {100 * accuracy.std():.2f} %, n = {len(rows)}, "
        f"{rows['training_seconds'].sum() / 60:.1f} minutes of training"
    )
    columns: dict[str, Any] = {
        name: rows[name] for name in (*PAPER_OBJECTIVES, "balanced_ntk", "minus_flops")
    }
    columns["minus params"] = -rows["params"]
    for name, names in MIXES.items():
        columns[name] = log_rank_sum(rows[part] for part in names)
    for name, names in CHOICES.items():
        columns[name] = rank_power_sum(rows[list(names)])
    for name, values in columns.items():
        print(
            f"{name:28s} τ {tau(values, accuracy):6.3f}   mean accuracy of the three best "
            f"{100 * mean_of_best(values, accuracy, 3):.2f}"
        )
    best = rows.iloc[int(np.argmax(accuracy))]
    print(f"best {100 * best['accuracy']:.2f} %: {best['genotype']}")


def run(arguments: argparse.Namespace) -> None:
    """Sample, score, train, print."""
    dataset = load_dataset(arguments.cifar)
    limits = {name: getattr(arguments, name) for name in ("max_params", "max_flops", "max_acts")}
    space = CellSpace(n_cells=arguments.cells, reduction=arguments.reduction)
    # Growing asks only whether a cell keeps the limits and can be judged: eight images tell.
    small = NASProblem(dataset, search_space=space, n_images=10, **limits)
    problem = NASProblem(
        dataset, search_space=space, n_inits=arguments.inits, objectives=OBJECTIVES, **limits
    )
    images = load_dataset(arguments.cifar, image_size=arguments.size)
    share = arguments.images / len(images.train_labels)
    others, chosen = split_validation(images.train_labels, share, seed=0)
    part = of_training_images(images, chosen, others[: arguments.judging])
    cells = islice(distinct(grown_cells(small, arguments.seed)), arguments.n)
    rows = kept_rows(
        arguments.partial, cells, lambda cell: measure(problem, part, cell, arguments.epochs)
    )
    print(
        f"{machine()}; {arguments.images} images of {arguments.size} pixels, {arguments.epochs} "
        f"epochs, {arguments.cells} cells, reduction {arguments.reduction}, R = "
        f"{arguments.inits}, limits {limits}"
    )
    report(rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Sample, score, train, print."""
    limits = {"max_params": 560_000, "max_flops": 45_000_000, "max_acts": 150_000}
    training = {"images": 10_000, "judging": 5000, "size": 32, "epochs": 4}
    effort = {"n": 30, "cells": 3, "inits": 1, "seed": 0}
    of = parser(__doc__, "cifar", "partial", **limits, **training, **effort)
    of.add_argument("--reduction", choices=REDUCTIONS, default="inside")
    run(of.parse_args(argv))


if __name__ == "__main__":
    main()
