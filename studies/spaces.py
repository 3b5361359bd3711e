"""Which change of the space of cells makes better networks, within the same limits, on CIFAR-10?"""

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

from common.cell_variants import VARIANTS
from common.command import machine, parser
from common.hand_designed import HAND_DESIGNED
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

LIMITS = {"max_params": 78_700, "max_flops": 12_500_000}
"""Those of MLPerf Tiny's ResNet-8."""

RIVALS = {
    "resnet8": 16,
    "resnet14": 10,
    "resnet20": 8,
    "mobilenetv2": 0.15,
    "shufflenetv2": 0.225,
}
"""Network designed by hand → the width with which it is as large as the limits allow."""

BASE = "base"
GENERATIONS = 3


def handed_over(variant: str, dataset: Dataset, seed: int, candidates: int) -> str:
    """The genotype that a random search in a variant of the space hands over."""
    problem = NASProblem(dataset, search_space=VARIANTS[variant](), seed=seed, **LIMITS)
    each = max(1, candidates // GENERATIONS)
    result = minimize(problem, RandomSearch(each, each), ("n_gen", GENERATIONS), seed=seed)
    return str(order_scored(history_to_frame(result))["genotype"].iloc[0])


def built(name: str, genotype: str, dataset: Dataset, seed: int) -> nn.Module:
    """An untrained network: of a genotype of a variant, or designed by hand."""
    if name in VARIANTS:
        architecture = Architecture.read(genotype, VARIANTS[name]())
        return architecture.build("trained", dataset, seed=seed)
    with seeded(torch.device("cpu"), seed):
        return HAND_DESIGNED[name][0](RIVALS[name])


def measured(key: str, of: argparse.Namespace, dataset: Dataset) -> dict[str, Any]:
    """Search and train one network; an interrupted training goes on, and has no seconds."""
    name, number = key.split()
    seed = int(number)
    started = time.process_time()
    genotype = handed_over(name, dataset, seed, of.candidates) if name in VARIANTS else ""
    searched = time.process_time() - started
    out = of.work / f"{name}-{seed}"
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
        print(
            f"{row['space']:14s} {row['seed']} {row['params']:6,d} {row['flops'] / 1e6:5.2f} "
            f"{row['acts'] / 1e3:6.1f} {row['milliseconds']:5.2f} {row['search']:4.0f} "
            f"{row['training']:4.0f} {row['accuracy']:6.2f}  {row['genotype']}"
        )
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
            line += f"; {with_deviation(gain, 2, '+')} to {BASE}"
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
    rows = rows_by(of.work / "spaces.csv", "key", keys, lambda key: measured(key, of, dataset))
    print(f"{machine()}; {of.epochs} epochs on {of.images} images, judged by {of.judging}")
    print(
        "space, seed, parameters, MMACs, thousand acts, ms per image, seconds of search, of "
        "training, accuracy %, genotype"
    )
    rows = rows[rows["key"].isin(keys)].fillna({"genotype": ""})
    report(rows.astype({"genotype": str}))


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the command line."""
    numbers = {"seeds": 3, "rival_seeds": 1, "candidates": 60, "epochs": 3, "withheld": 5000}
    of = parser(__doc__, "cifar", "work", **numbers, images=35_000, judging=5000)
    of.add_argument("--spaces", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    of.add_argument("--rivals", nargs="*", choices=RIVALS, default=list(RIVALS))
    return of.parse_args(argv)


if __name__ == "__main__":
    main()
