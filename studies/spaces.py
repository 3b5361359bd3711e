"""Which change of the space of cells makes better networks, within the same limits, on CIFAR-10?

The limits are those of MLPerf Tiny's ResNet-8: 78,700 parameters and 12.5 M multiply-accumulates
per image. Each change is made alone (common/cell_variants.py). For each change and each seed, a
random search of 60 candidates hands over one cell by the default order, and `train` trains its
network with its defaults but for the epochs. Networks designed by hand, as wide as the limits
allow, are trained in the same way. They are judged by the 5,000 training images before the last
5,000; the last 5,000 and the test images are not used. The rows are kept in spaces.csv, and the
trainings in folders: what is there already is not done again. A space of "inverted", "grouped" or
"separable" has the paper's operations and one more, which a handed over cell need not use.

Commands; the last prints the rows of all:
    python studies/spaces.py --cifar PATH/cifar10.npz --work spaces --images 10000 --seeds 1 \
        --spaces base inverted --rivals resnet8
    python studies/spaces.py --cifar PATH/cifar10.npz --work spaces --images 10000 --seeds 2 \
        --spaces base shortcut two-cells --rivals resnet8
    python studies/spaces.py --cifar PATH/cifar10.npz --work spaces --images 10000 --seeds 5 \
        --spaces base widths-1-1.5-2 --rivals resnet8

Two cores of a shared AMD EPYC virtual machine, beside other work. Seconds are those of one core;
nan where the training was interrupted. ± is the standard deviation over seeds, and the last number
of a line is the difference to base by the same seeds:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads
    3 epochs on 10000 images, judged by 5000
    space, seed, parameters, MMACs, thousand acts, ms per image, seconds of search, of
    training, accuracy %, genotype
    base           0 75,130  6.87  104.3  2.40   22   74  61.98  0880|0000|0800|0000|0000|8000
    base           1 57,834 10.61  110.0  2.47   25   88  65.38  0800|0800|0080
    base           2 55,386  6.61   99.3  2.36   20   69  66.98  0080|0800|0800
    base           3 70,730  8.67   88.5  2.31   23   74  65.60  8800|0000|0800
    base           4 41,130  6.54  106.4  2.32   20   74  65.86  0,8,8,0|0,0,0,0|0,0,8,16
    widths-1-1.5-2 0 74,014 10.78  142.3  2.64   23   98  68.66  8,0,16,0|0,8,0,0|0,16,0,0
    widths-1-1.5-2 1 59,698 10.92  154.6  3.40   24  105  66.92  0,8,0,16|0,8,0,0|16,0,0,0
    widths-1-1.5-2 2 43,850 11.51  154.6  2.44   25  101  67.58  0,0,16,0|0,16,0,0|0,0,8,0
    widths-1-1.5-2 3 68,202 12.21  105.4  2.07   24   81  67.04  0,16,0,0|0,0,0,0|0,16,0,0
    widths-1-1.5-2 4 51,618 11.08   99.3  3.07   30   98  66.78  16,0,0,0|0,8,0,0|0,8,8,0
    inverted       0 71,962  7.40   90.0  1.95   27   71  65.70  16,0,8,0,0|0,0,0,0,0|0,8,0,0,0
    shortcut       0 69,882  7.60  119.7  2.72   22   81  66.04  16,0,16,0|0,0,0,0|8,0,0,0
    shortcut       1 73,050  7.47  100.7  2.39   29  nan  67.36  16,0,0,8|0,0,0,0|0,8,0,0
    two-cells      0 73,082  7.25  110.0  2.88   33   75  66.06  0880
    two-cells      1 73,082  7.25  110.0  2.92   30   85  66.28  0880
    resnet8        0 75,290 12.24   73.7  1.29    0   92  60.80
    base           65.16 ± 1.88, n = 5, 60,042 parameters, 7.9 MMACs, 2.37 ms
    widths-1-1.5-2 67.40 ± 0.77, n = 5, 59,476 parameters, 11.3 MMACs, 2.73 ms; +2.24 ± 2.51
    inverted       65.70, n = 1, 71,962 parameters, 7.4 MMACs, 1.95 ms; +3.72
    shortcut       66.70 ± 0.93, n = 2, 71,466 parameters, 7.5 MMACs, 2.56 ms; +3.02 ± 1.47
    two-cells      66.17 ± 0.16, n = 2, 73,082 parameters, 7.2 MMACs, 2.90 ms; +2.49 ± 2.25
    resnet8        60.80, n = 1, 75,290 parameters, 12.2 MMACs, 1.29 ms

With the widths 1, 1.5, 2 in place of 1, 2, 4, the networks are more accurate by each of the five
seeds, but the mean gain is smaller than its own deviation. Most of it is one poor cell of base.
Networks of base use less than two thirds of the multiply-accumulates that the limits allow; those
of the other widths use nine tenths, and take 1.3 times as long to train. The other changes have too
few rows for a verdict. The handed over cell of "inverted" does not use the added operation, and
"two-cells" also draws channels in steps of 4. Three seeds were planned; two more of base and of the
widths were added when the first three had been seen.
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
    out = of.work / f"{'fitted-' if of.fitted else ''}{name}-{seed}"
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
    """Every row, then each space beside the first by the same seeds."""
    for row in rows.to_dict("records"):
        line = (
            f"{row['space']:14s} {row['seed']} {row['params']:6,d} {row['flops'] / 1e6:5.2f} "
            f"{row['acts'] / 1e3:6.1f} {row['milliseconds']:5.2f} {row['search']:4.0f} "
            f"{row['training']:4.0f} {row['accuracy']:6.2f}  {row['genotype']}"
        )
        print(line.rstrip())
    accuracies = rows.pivot(index="seed", columns="space", values="accuracy")
    for name in rows["space"].unique():
        mean = rows[rows["space"] == name][["params", "flops", "milliseconds"]].mean()
        line = (
            f"{name:14s} {with_deviation(accuracies[name].dropna(), 2)}, "
            f"n = {accuracies[name].count()}, {mean['params']:,.0f} parameters, "
            f"{mean['flops'] / 1e6:.1f} MMACs, {mean['milliseconds']:.2f} ms"
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
    kept = of.work / ("fitted.csv" if of.fitted else "spaces.csv")
    rows = rows_by(kept, "key", keys, lambda key: measured(key, of, dataset))
    rows["genotype"] = rows["genotype"].fillna("")
    print(machine())
    print(f"{of.epochs} epochs on {of.images} images, judged by {of.judging}")
    print("space, seed, parameters, MMACs, thousand acts, ms per image, seconds of search, of")
    print("training, accuracy %, genotype")
    # Rows of other spaces and seeds, which earlier commands have left, are reported too.
    rows["place"] = rows["space"].map([*VARIANTS, *HAND_DESIGNED].index)
    report(rows.sort_values(["place", "seed"]))


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the command line."""
    numbers = {"seeds": 3, "rival_seeds": 1, "candidates": 60, "epochs": 3, "withheld": 5000}
    of = parser(__doc__, "cifar", "work", **numbers, images=35_000, judging=5000)
    of.add_argument("--spaces", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    of.add_argument("--fitted", action="store_true", help="the same cells in every space")
    of.add_argument("--rivals", nargs="*", choices=HAND_DESIGNED, default=list(HAND_DESIGNED))
    return of.parse_args(argv)


if __name__ == "__main__":
    main()
