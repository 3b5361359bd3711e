"""By which recipe does `train` reach most in few epochs?

Each network is trained by each recipe on three quarters of the training images, of CIFAR-10 of the
first 40,000, and judged by the other quarter; the 5,000 withheld ones of cifar10.py and the test
images are not used. A run that is there already is not done again.

Commands:
    python studies/recipe.py --images PATH/cifar10.npz --work recipe --networks chain \
        --recipes sgd muon
    python studies/recipe.py --images digits --work recipe-digits --epochs 5 --seeds 5

AMD EPYC virtual machine, beside other work of one to two threads; ± is the standard deviation over
seeds, of initial weights and order. On CIFAR-10, at a commit that did not decay the kernels that
Muon moves; all at commits whose cells halved the map behind them:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; 4 epochs, seeds 0 to 1
    chain     sgd                  79.87 ± 0.24 %, n = 2, 81 s per epoch
    chain     muon                 83.63 ± 0.56 %, n = 2, 75 s per epoch

On digits, with the decay of today:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; 5 epochs, seeds 0 to 4
    chain     sgd                  72.21 ± 25.31 %, n = 5, 0 s per epoch
    chain     muon                 98.84 ± 0.12 %, n = 5, 0 s per epoch
    chain     muon 0.1             98.51 ± 0.82 %, n = 5, 0 s per epoch
    chain     muon 0.4             95.47 ± 5.12 %, n = 5, 0 s per epoch
    chain     muon, no decay       98.95 ± 0.36 %, n = 5, 0 s per epoch
    resnet20  sgd                  87.62 ± 7.70 %, n = 5, 0 s per epoch
    resnet20  muon                 98.45 ± 0.61 %, n = 5, 1 s per epoch
    resnet20  muon 0.1             98.34 ± 0.34 %, n = 5, 1 s per epoch
    resnet20  muon 0.4             95.58 ± 3.35 %, n = 5, 1 s per epoch
    resnet20  muon, no decay       98.07 ± 0.39 %, n = 5, 1 s per epoch

Muon reaches more in few epochs, on CIFAR-10 and, in both networks, on digits; there the default
learning rate is better than its double, not worse than its half, and decay makes no difference
that is larger than that between seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.command import machine, parser
from common.images import first_of
from common.trainings import described, has_ended, was_interrupted
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.spaces import Architecture
from pymoo_nas.training import train

N_IMAGES = 40_000
HELD_OUT = 0.25

NETWORKS = {
    "chain": "0,16,0,0|0,0,0,0|0,16,0,0|0,0,0,0|0,0,0,0|0,16,0,0",
    "resnet20": "resnet20",
}
"""Three residual blocks of 16 channels in a row, a cell of the paper's space; and ResNet-20."""

RECIPES: Mapping[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd"},
    "muon": {},
    "muon 0.1": {"learning_rate": 0.1},
    "muon 0.4": {"learning_rate": 0.4},
    "muon, no decay": {"weight_decay": 0.0},
}
"""Optimizer and peak of the learning rate, 0.2 where none is given; Muon's is a tenth of it."""


def trained(model: str, images: Dataset, out: Path, **options: Any) -> dict[str, Any]:
    """What a training came to, made where it is not there yet."""
    if not has_ended(out):
        interrupted = was_interrupted(out)
        train(
            Architecture.read(model).build("trained", images, seed=options["seed"]),
            images,
            batch_size=128,
            validation=HELD_OUT,
            precision="bfloat16",
            out=out,
            overwrite=not interrupted,
            resume=interrupted,
            progress=True,
            **options,
        )
    return described(out)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, print."""
    of = parser(__doc__, "work", epochs=4, seeds=2)
    of.add_argument("--images", required=True, help="as for pymoo-nas search")
    of.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    of.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    arguments = of.parse_args(argv)
    images = first_of(load_dataset(arguments.images), N_IMAGES)
    print(f"{machine()}; {arguments.epochs} epochs, seeds 0 to {arguments.seeds - 1}")
    for network in arguments.networks:
        for recipe in arguments.recipes:
            found = [
                trained(
                    NETWORKS[network],
                    images,
                    arguments.work
                    / f"{network}-{recipe.replace(',', '').replace(' ', '-')}-{seed}",
                    epochs=arguments.epochs,
                    seed=seed,
                    **RECIPES[recipe],
                )
                for seed in range(arguments.seeds)
            ]
            values = 100 * np.array([row["validation_accuracy"] for row in found])
            seconds = np.median([row["seconds"] for row in found]) / arguments.epochs
            deviation = values.std(ddof=1) if len(values) > 1 else float("nan")
            print(
                f"{network:9s} {recipe:20s} {values.mean():.2f} ± {deviation:.2f} %, "
                f"n = {len(values)}, {seconds:.0f} s per epoch",
                flush=True,
            )


if __name__ == "__main__":
    main()
