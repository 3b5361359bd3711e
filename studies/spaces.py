"""Which change of the space of cells makes better networks, within the same limits, on CIFAR-10?

The limits are those of MLPerf Tiny's ResNet-8: 78,700 parameters and 12.5 M multiply-accumulates
per image. The changes (common/cell_variants.py) are made alone, and some together. Each network is
trained by `train` with its defaults but for the epochs. Networks designed by hand, as wide as the
limits allow, are trained in the same way. They are judged by the 5,000 training images before the
last 5,000; the last 5,000 and the test images are not used. What is there already is not done
again.

With `--fitted` every space has the same cells: those that three random searches of 60 candidates in
the base hand over by the default order, whose channels are multiplied by the factor that comes
closest to the limits (to even numbers). Without, such a search in each space hands over a cell.

Command; its rows are kept in rows/spaces:
    python studies/spaces.py --cifar PATH/cifar10.npz --work studies/rows/spaces --images 10000 \
        --fitted

AMD EPYC virtual machine, another study on its second core. Means ± standard deviation over seeds;
ms per image and seconds of training are those of one thread; the last number is the difference to
base by the same seeds and cells:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads
    3 epochs on 10000 images, judged by 5000
    space, seed, parameters, MMACs, thousand acts, ms per image, seconds of search, of
    training, accuracy %, genotype
    (60 rows)
    base               65.49 ± 2.40, n = 3, 62,783 params, 8.0 MMACs, 0.93 ms, 23 s
    widths-1-1.5-2     65.95 ± 2.90, n = 3, 55,058 params, 10.7 MMACs, 1.06 ms, 31 s; +0.45 ± 1.81
    widths-1-1-1       64.29 ± 1.95, n = 3, 37,770 params, 11.5 MMACs, 1.00 ms, 27 s; -1.21 ± 0.75
    widths-1-1-2       65.73 ± 2.67, n = 3, 54,631 params, 10.7 MMACs, 1.05 ms, 30 s; +0.24 ± 1.58
    inverted           64.77 ± 1.21, n = 3, 60,581 params, 4.9 MMACs, 1.27 ms, 41 s; -0.73 ± 1.85
    grouped            66.46 ± 2.75, n = 3, 64,891 params, 8.4 MMACs, 1.13 ms, 31 s; +0.97 ± 0.93
    separable          67.92 ± 2.15, n = 3, 74,023 params, 7.1 MMACs, 1.26 ms, 36 s; +2.43 ± 1.87
    shortcut           66.81 ± 0.95, n = 3, 65,450 params, 8.2 MMACs, 1.13 ms, 25 s; +1.32 ± 1.46
    padded             54.43 ± 9.25, n = 3, 62,783 params, 8.0 MMACs, 1.02 ms, 24 s; -11.07 ± 11.15
    two-cells          57.33 ± 9.87, n = 3, 62,403 params, 5.7 MMACs, 1.31 ms, 31 s; -8.16 ± 7.51
    norm               65.83 ± 3.50, n = 3, 62,970 params, 8.0 MMACs, 0.96 ms, 23 s; +0.34 ± 1.10
    different          66.52 ± 2.66, n = 3, 65,794 params, 8.9 MMACs, 0.95 ms, 25 s; +1.03 ± 0.31
    widths-shortcut    67.56 ± 1.85, n = 3, 57,920 params, 10.9 MMACs, 1.25 ms, 34 s; +2.07 ± 1.62
    widths-two-cells   58.81 ± 8.34, n = 3, 59,652 params, 8.5 MMACs, 1.39 ms, 31 s; -6.69 ± 5.95
    separable-widths   68.23 ± 2.41, n = 3, 75,807 params, 9.9 MMACs, 1.48 ms, 50 s; +2.73 ± 2.60
    separable-shortcut 67.05 ± 0.71, n = 3, 72,826 params, 5.4 MMACs, 1.34 ms, 28 s; +1.56 ± 2.79
    separable-padded   55.31 ± 10.09, n = 3, 74,023 params, 7.1 MMACs, 1.30 ms, 34 s; -10.19 ± 11.39
    all-three          68.61 ± 0.88, n = 3, 74,689 params, 7.8 MMACs, 1.60 ms, 45 s; +3.12 ± 3.02
    resnet8            61.58, n = 1, 75,290 params, 12.2 MMACs, 0.59 ms, 21 s
    resnet14           60.88, n = 1, 67,860 params, 10.4 MMACs, 0.69 ms, 26 s
    resnet20           59.90, n = 1, 68,050 params, 10.2 MMACs, 0.82 ms, 24 s
    resnet32           55.74, n = 1, 66,064 params, 9.8 MMACs, 1.08 ms, 37 s
    mobilenetv2        46.98, n = 1, 72,842 params, 4.0 MMACs, 1.67 ms, 44 s
    shufflenetv2       44.54, n = 1, 72,157 params, 2.6 MMACs, 1.62 ms, 27 s

With each of the three cells these changes alone are more accurate than base, by as little as 0.06
points where one accuracy has a standard error of 0.7: a separable convolution in the place of the
residual block (+2.43 ± 1.87; half again as long to train), a shortcut around each cell (+1.32 ±
1.46; 1.1 times as long), different cells in the stages (+1.03 ± 0.31; as long, but a search has
three cells to find) and grouped convolutions (+0.97 ± 0.93; 1.3 times as long). The first two and
less wide later stages ("all-three") are worth 3.12 ± 3.02 points, and take twice as long: depthwise
convolutions are slow on a CPU. Less wide later stages alone are worth nothing with the same cells;
they were worth 2.24 ± 2.51 points in searches, below, which found cells that use more
multiply-accumulates. Inverted residuals gain nothing, with 0.6 times the multiply-accumulates.
Batch norm behind the cells makes no difference that shows. A shortcut without parameters and two
cells per stage are worse by far. All others are better than the ResNets, MobileNetV2 and
ShuffleNetV2 of this size on this short schedule. So `CellSpace` has `shortcut` and `widths`;
separable convolutions are among its operations.

The same three cells, halving the map between them, which is the default now, after ten epochs:
    python studies/spaces.py --cifar PATH/cifar10.npz --work studies/rows/spaces --images 10000 \
        --fitted --epochs 10 --spaces between between-separable between-excited --rivals

    10 epochs on 10000 images, judged by 5000
    between            75.13 ± 1.28, n = 3, 62,783 params, 10.8 MMACs, 1.00 ms, 94 s
    between-separable  77.23 ± 1.31, n = 3, 74,023 params, 10.3 MMACs, 1.33 ms, 148 s
    between-excited    75.52 ± 1.65, n = 3, 64,916 params, 10.8 MMACs, 1.06 ms, 98 s

Separable convolutions are better with each of the cells, by 2.10 ± 0.92 points, in 1.1 to 2.0 times
the time (two other studies ran beside). A squeeze-and-excitation behind each cell adds 0.39 ± 0.51,
and takes away with one of the three.

Without `--fitted`, by five random searches each on a machine that was three times slower:
    python studies/spaces.py --cifar PATH/cifar10.npz --work spaces --images 10000 --seeds 5 \
        --spaces base widths-1-1.5-2 --rivals resnet8

    base           65.16 ± 1.88, n = 5, 60,042 parameters, 7.9 MMACs, 2.37 ms
    widths-1-1.5-2 67.40 ± 0.77, n = 5, 59,476 parameters, 11.3 MMACs, 2.73 ms; +2.24 ± 2.51
    resnet8        60.80, n = 1, 75,290 parameters, 12.2 MMACs, 1.29 ms

"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from pymoo.optimize import minimize
from torch import nn

from common.cell_variants import VARIANTS, fitted
from common.command import machine, parser
from common.hand_designed import HAND_DESIGNED, Limits, largest_within
from common.images import of_training_images
from common.rows import rows_by, with_deviation
from common.trainings import described, has_ended, was_interrupted
from pymoo_nas._machine import seeded
from pymoo_nas.choice import order_scored
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.networks import count_all
from pymoo_nas.scores import measure_latency
from pymoo_nas.search import NASProblem, RandomSearch, history_to_frame
from pymoo_nas.spaces import Architecture
from pymoo_nas.training import train

LIMITS = Limits(78_700, 12_500_000)
"""Those of MLPerf Tiny's ResNet-8."""

BASE = "base"
GENERATIONS = 3
STAGES = 3
EPOCHS = 3
"""Of the trainings, where the command names no others."""

EARLIER = [name for name in VARIANTS if not name.startswith("between")]
"""Spaces of cells that halve the map inside them, as all did when they were measured."""


def handed_over(variant: str, dataset: Dataset, seed: int, candidates: int) -> str:
    """The genotype that a random search in a variant of the space hands over."""
    problem = NASProblem(
        dataset,
        search_space=VARIANTS[variant](),
        max_params=LIMITS.params,
        max_flops=LIMITS.flops,
        seed=seed,
    )
    each = max(1, candidates // GENERATIONS)
    result = minimize(problem, RandomSearch(each, each), ("n_gen", GENERATIONS), seed=seed)
    return str(order_scored(history_to_frame(result))["genotype"].iloc[0])


def fitted_cells(variant: str, dataset: Dataset, seed: int, of: argparse.Namespace) -> str:
    """The cells that random searches in the base hand over, as wide as the variant allows."""
    seeds = [str(seed + place) for place in range(STAGES)]

    def found(text: str) -> dict[str, Any]:
        return {"genotype": handed_over(BASE, dataset, int(text), of.candidates)}

    rows = rows_by(of.work / "cells.csv", "seed", seeds, found).set_index("seed")
    return fitted(variant, rows["genotype"][seeds].tolist(), LIMITS)


def built(name: str, genotype: str, dataset: Dataset, seed: int) -> nn.Module:
    """An untrained network: of a genotype of a variant, or designed by hand."""
    if name in VARIANTS:
        architecture = Architecture.read(genotype, VARIANTS[name]())
        return architecture.build("trained", dataset, seed=seed)
    with seeded(torch.device("cpu"), seed):
        return HAND_DESIGNED[name][0](largest_within(name, LIMITS))


def kept_name(of: argparse.Namespace) -> str:
    """What rows and trainings are called, which are of one number of images in each folder."""
    kind = "fitted" if of.fitted else "spaces"
    return kind if of.epochs == EPOCHS else f"{kind}-{of.epochs}"


def measured(key: str, of: argparse.Namespace, dataset: Dataset) -> dict[str, Any]:
    """Search and train one network; an interrupted training goes on, and has no seconds."""
    name, number = key.split()
    seed = int(number)
    started = time.process_time()
    genotype = ""
    if name in VARIANTS and of.fitted:
        genotype = fitted_cells(name, dataset, seed, of)
    elif name in VARIANTS:
        genotype = handed_over(name, dataset, seed, of.candidates)
    searched = time.process_time() - started
    out = of.work / f"{kept_name(of)}-{name}-{seed}"
    network = built(name, genotype, dataset, seed)
    ended, resume = has_ended(out), was_interrupted(out)
    started = time.process_time()
    if not ended:
        train(network, dataset, epochs=of.epochs, seed=seed, out=out, resume=resume)
    trained = time.process_time() - started
    image = dataset.normalized(dataset.train_images[:1])
    return {
        "space": name,
        "seed": seed,
        "genotype": genotype,
        **count_all(network, image)._asdict(),
        "milliseconds": measure_latency(network, image),
        "search": searched,
        "training": math.nan if ended or resume else trained,
        "accuracy": 100 * described(out)["test_accuracy"],
    }


def report(rows: pd.DataFrame) -> None:
    """Every row, in the order of the spaces."""
    for row in rows.to_dict("records"):
        line = (
            f"{row['space']:18s} {row['seed']} {row['params']:6,d} {row['flops'] / 1e6:5.2f} "
            f"{row['acts'] / 1e3:6.1f} {row['milliseconds']:5.2f} {row['search']:4.0f} "
            f"{row['training']:4.0f} {row['accuracy']:6.2f}  {row['genotype']}"
        )
        print(line.rstrip())


def report_means(rows: pd.DataFrame) -> None:
    """A line for each space: its means, and the difference to the first by the same seeds."""
    accuracies = rows.pivot(index="seed", columns="space", values="accuracy")
    for name in rows["space"].unique():
        mean = rows[rows["space"] == name][["params", "flops", "milliseconds", "training"]].mean()
        line = (
            f"{name:18s} {with_deviation(accuracies[name].dropna(), 2)}, "
            f"n = {accuracies[name].count()}, {mean['params']:,.0f} params, "
            f"{mean['flops'] / 1e6:.1f} MMACs, {mean['milliseconds']:.2f} ms, "
            f"{mean['training']:.0f} s"
        )
        if name in VARIANTS and BASE in accuracies and name != BASE:
            gain = (accuracies[name] - accuracies[BASE]).dropna()
            line += f"; {with_deviation(gain, 2, '+')}"
        print(line)


def main(argv: Sequence[str] | None = None) -> None:
    """Search, train, print."""
    of = parsed(argv)
    of.work.mkdir(parents=True, exist_ok=True)
    images = load_dataset(of.cifar)
    places = np.arange(len(images.train_labels) - of.withheld)
    fitted, judging = places[: -of.judging], places[-of.judging :]
    dataset = of_training_images(images, fitted[: of.images], judging)
    keys = [f"{name} {seed}" for seed in range(of.seeds) for name in of.spaces]
    keys += [f"{name} {seed}" for seed in range(of.rival_seeds) for name in of.rivals]
    kept = of.work / f"{kept_name(of)}.csv"
    rows = rows_by(kept, "key", keys, lambda key: measured(key, of, dataset))
    print(machine())
    print(f"{of.epochs} epochs on {of.images} images, judged by {of.judging}")
    print("space, seed, parameters, MMACs, thousand acts, ms per image, seconds of search, of")
    print("training, accuracy %, genotype")
    # Rows of other spaces and seeds, which earlier commands have left, are reported too.
    rows["place"] = rows["space"].map([*VARIANTS, *HAND_DESIGNED].index)
    rows = rows.sort_values(["place", "seed"]).fillna({"genotype": ""})
    report(rows)
    report_means(rows)


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the command line."""
    numbers = {"seeds": 3, "rival_seeds": 1, "candidates": 60, "epochs": EPOCHS, "withheld": 5000}
    of = parser(__doc__, "cifar", "work", **numbers, images=35_000, judging=5000)
    of.add_argument("--spaces", nargs="*", choices=VARIANTS, default=EARLIER)
    of.add_argument("--fitted", action="store_true", help="the same cells in every space")
    of.add_argument("--rivals", nargs="*", choices=HAND_DESIGNED, default=list(HAND_DESIGNED))
    return of.parse_args(argv)


if __name__ == "__main__":
    main()
