"""Do scores and tournaments prefer those cells of the paper's space that train best?

`accuracy`: random cells are grown by random mutations until one step more would break the limits,
so that they are about as large as those that a search ends with, each another network than all
before. Each is scored, and trained for a short while on nine tenths of a part of the training
images, judged by the last tenth. Every cell is written down as soon as it is done.

`tournaments`: these cells are dealt into slots as a search does it, and tournaments of several
settings are held among them. Per setting: how often the better trained of two contenders of a slot
has the larger alpha (0.5 is chance), the mean accuracy of the winners above that of all contenders,
the same for the smallest sum of log ranks of each slot and for the best that any choice could do;
and the largest share of parameter-free operations among the winners' operations against that of all
contenders.

AMD EPYC virtual machine, beside other work, one run each with seeds from 0; the images were the
first 40,000 of CIFAR-10, see cifar10.py; pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7,
2 cores, 1 thread. ± is the standard deviation over cells, or over tournaments.

Command, with the limits of README's table on CIFAR-10:
    python studies/cells.py accuracy --cifar PATH/cifar40.npz --partial cells.csv --n 30 \
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
    python studies/cells.py accuracy --cifar PATH/cifar40.npz --partial small.csv --n 20 --cells 4

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

Command, with the 30 cells of the first:
    python studies/cells.py tournaments --cifar PATH/cifar40.npz --partial cells.csv \
        --reduction between --tournaments 8

Differences in points of accuracy:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; 30 cells,
        reduction between, n = 8 tournaments of 5 slots
    20 steps                 concordance 0.45 ± 0.12, winners -0.03 ± 0.77, rank sum +1.52 ± 0.31,
        best +1.87 ± 0.27, parameter-free 0.53 of winners, 0.53 of all, last loss 1.92, 4.2 s
    60 steps                 concordance 0.50 ± 0.15, winners -0.03 ± 1.06, rank sum +1.52 ± 0.31,
        best +1.87 ± 0.27, parameter-free 0.55 of winners, 0.53 of all, last loss 1.73, 12.6 s
    200 steps                concordance 0.46 ± 0.10, winners -0.06 ± 0.42, rank sum +1.52 ± 0.31,
        best +1.87 ± 0.27, parameter-free 0.53 of winners, 0.53 of all, last loss 1.59, 55.4 s
    20 steps, head start 0.5 concordance 0.79 ± 0.09, winners +1.52 ± 0.55, rank sum +1.52 ± 0.31,
        best +1.87 ± 0.27, parameter-free 0.48 of winners, 0.53 of all, last loss 1.92, 4.3 s
    20 steps, head start 1   concordance 0.84 ± 0.04, winners +1.78 ± 0.29, rank sum +1.52 ± 0.31,
        best +1.87 ± 0.27, parameter-free 0.48 of winners, 0.53 of all, last loss 1.96, 4.3 s
    20 steps, head start 2   concordance 0.85 ± 0.06, winners +1.73 ± 0.24, rank sum +1.52 ± 0.31,
        best +1.87 ± 0.27, parameter-free 0.49 of winners, 0.53 of all, last loss 1.95, 4.3 s

By its training alone a tournament chooses no better than chance, however long it trains. So alphas
start where the scores put them: then the larger alpha belongs to the better cell in five of six
pairs, and the winners are as good as the best of each slot but for 0.1 point. The sum of log ranks
chooses slightly worse, within a standard deviation: an alpha starts at the sum of ranks themselves.
There is no preference for parameter-free operations.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import combinations, islice
from typing import Any

import numpy as np
import pandas as pd
from pymoo.core.individual import Individual

from common.cells import distinct, grown_cells
from common.command import machine, options, parser
from common.images import part_of
from common.ranks import Vector, mean_of_best, tau
from common.rows import kept_rows
from pymoo_nas.choice import build_final
from pymoo_nas.choice._orders import rank_power_sum
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.scores import OBJECTIVES, PAPER_OBJECTIVES
from pymoo_nas.search import DartsTournament, NASProblem, as_column, log_rank_sum
from pymoo_nas.search._tournament import deal
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


SETTINGS: dict[str, dict[str, Any]] = {
    "20 steps": {"n_steps": 20, "head_start": 0.0},
    "60 steps": {"n_steps": 60, "head_start": 0.0},
    "200 steps": {"n_steps": 200, "head_start": 0.0},
    "20 steps, head start 0.5": {"n_steps": 20, "head_start": 0.5},
    "20 steps, head start 1": {"n_steps": 20, "head_start": 1.0},
    "20 steps, head start 2": {"n_steps": 20, "head_start": 2.0},
}


def measure(problem: NASProblem, part: Dataset, genotype: Genotype, epochs: int) -> dict[str, Any]:
    """Scores and short-training accuracy of one cell."""
    scores = problem.score_genotype(genotype)
    network = build_final(genotype, problem=problem, seed=0)
    start = time.perf_counter()
    training = train(network, part, epochs=epochs, batch_size=128, precision="bfloat16", seed=0)
    return {
        "genotype": problem.search_space.format(genotype),
        **scores.objectives,
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


def concordance(alphas: list[float], accuracies: Vector) -> list[float]:
    """For every two contenders: whether the better one has the larger alpha."""
    return [
        float((alphas[i] > alphas[j]) == (accuracies[i] > accuracies[j]))
        for i, j in combinations(range(len(alphas)), 2)
        if accuracies[i] != accuracies[j]
    ]


def parameter_free(genotype: Any, names: tuple[str, ...]) -> float:
    """Share of the used operations of a cell that are poolings or skips."""
    used = [name for block in genotype.blocks for name, n in zip(names, block, strict=True) if n]
    return float(np.mean([("pool" in name or name == "skip") for name in used]))


def hold(
    problem: NASProblem, cells: pd.DataFrame, settings: dict[str, Any], seed: int, n_slots: int
) -> dict[str, float]:
    """One tournament; what its winners are worth."""
    tournament = DartsTournament(size=4, **settings)
    rng = np.random.default_rng(seed)
    chosen = cells.iloc[rng.permutation(len(cells))[: 4 * n_slots]].reset_index(drop=True)
    space = problem.search_space
    columns = as_column([space.parse(text) for text in chosen["genotype"]])
    scores = chosen[list(PAPER_OBJECTIVES)].to_numpy(float)
    individuals = [
        Individual(X=x, F=f, place=place)
        for place, (x, f) in enumerate(zip(columns, scores, strict=True))
    ]
    slots = deal(individuals, n_slots, rng)
    start = time.perf_counter()
    alphas, losses = tournament.compete(slots, problem, seed)
    seconds = time.perf_counter() - start
    accuracy = chosen["accuracy"].to_numpy(float)
    ranks = log_rank_sum(chosen[name] for name in PAPER_OBJECTIVES)
    places = [[individual.get("place") for individual in slot] for slot in slots]
    winners = [slot[int(np.argmax(shares))] for slot, shares in zip(places, alphas, strict=True)]
    pairs = [
        pair
        for slot, shares in zip(places, alphas, strict=True)
        for pair in concordance(shares, accuracy[slot])
    ]
    free = np.array([parameter_free(x[0], space.operation_names) for x in columns])
    dealt = [place for slot in places for place in slot]
    return {
        "concordance": float(np.mean(pairs)),
        "winners": accuracy[winners].mean() - accuracy[dealt].mean(),
        "rank_sum": accuracy[[slot[int(np.argmin(ranks[slot]))] for slot in places]].mean()
        - accuracy[dealt].mean(),
        "best": float(np.mean([accuracy[slot].max() for slot in places])) - accuracy[dealt].mean(),
        "free_winners": free[winners].mean(),
        "free_all": free[dealt].mean(),
        "loss": losses["alpha_losses"][-1],
        "seconds": seconds,
    }


def accuracy(arguments: argparse.Namespace) -> None:
    """Sample, score, train, print."""
    dataset = load_dataset(arguments.cifar)
    limits = {name: getattr(arguments, name) for name in ("max_params", "max_flops", "max_acts")}
    space = CellSpace(n_cells=arguments.cells, reduction=arguments.reduction)
    # Growing asks only whether a cell keeps the limits and can be judged: eight images tell.
    small = NASProblem(dataset, search_space=space, n_images=10, **limits)
    problem = NASProblem(
        dataset, search_space=space, n_inits=arguments.inits, objectives=OBJECTIVES, **limits
    )
    part = part_of(load_dataset(arguments.cifar, image_size=arguments.size), arguments.images)
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


def tournaments(arguments: argparse.Namespace) -> None:
    """Hold tournaments and print a table."""
    space = CellSpace(reduction=arguments.reduction)
    problem = NASProblem(arguments.cifar, search_space=space)
    cells = pd.read_csv(arguments.partial)
    print(
        f"{machine()}; {len(cells)} cells, reduction {arguments.reduction}, n = "
        f"{arguments.tournaments} tournaments of {arguments.slots} slots"
    )
    for name in arguments.settings:
        rows = pd.DataFrame(
            [
                hold(problem, cells, SETTINGS[name], seed, arguments.slots)
                for seed in range(arguments.tournaments)
            ]
        )
        mean, spread = rows.mean(), rows.std()
        gains = ", ".join(
            f"{key.replace('_', ' ')} {100 * mean[key]:+.2f} ± {100 * spread[key]:.2f}"
            for key in ("winners", "rank_sum", "best")
        )
        print(
            f"{name:24s} concordance {mean['concordance']:.2f} ± {spread['concordance']:.2f}, "
            f"{gains}, parameter-free {mean['free_winners']:.2f} of winners, "
            f"{mean['free_all']:.2f} of all, last loss {mean['loss']:.2f}, "
            f"{mean['seconds']:.1f} s",
            flush=True,
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    commands = (of := parser(__doc__)).add_subparsers(required=True)
    limits = {"max_params": 560_000, "max_flops": 45_000_000, "max_acts": 150_000}
    training = {"images": 10_000, "size": 32, "epochs": 4}
    effort = {"n": 30, "cells": 3, "inits": 1, "seed": 0}
    first = options(commands.add_parser("accuracy"), "cifar", "partial", **limits, **training,
                    **effort)  # fmt: skip
    first.set_defaults(run=accuracy)
    second = options(commands.add_parser("tournaments"), "cifar", "partial", tournaments=6, slots=5)
    second.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    second.set_defaults(run=tournaments)
    for command in (first, second):
        command.add_argument("--reduction", choices=REDUCTIONS, default=REDUCTIONS[0])
    arguments = of.parse_args(argv)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
