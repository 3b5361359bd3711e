"""Do averaged weights, mirror images and class weights make a trained network better?

Commands:
    python studies/better_training.py --shared PATH --rows better_training.csv

TODO
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from common.command import machine, parser
from common.rows import kept_rows
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.spaces import Architecture
from pymoo_nas.training import train

CELL = "8,0,0,0|0,0,0,0|0,8,0,0"
"""The network: three stages of this cell of the paper's space."""

IMAGES = {"digits": (500, 900), "cifar10": (2000, 5000), "breastmnist": (400, 146)}
"""Data set → numbers of training images to train on and to judge with."""

RARE = 0.1
"""In unequal images, the first half of the classes keeps this share of its images."""

PLAIN: dict[str, Any] = {"ema": 0.0, "test_flip": False}

ALIKE: Mapping[str, dict[str, Any]] = {
    "plain": PLAIN,
    "ema 0.9": {**PLAIN, "ema": 0.9},
    "ema 0.99": {**PLAIN, "ema": 0.99},
}
"""Settings for images that are not mirrored in training."""

MIRRORED: Mapping[str, dict[str, Any]] = {
    **ALIKE,
    "test flip": {**PLAIN, "test_flip": True},
    "ema 0.99, test flip": {"ema": 0.99, "test_flip": True},
}
"""Settings for images that are."""

UNEQUAL: Mapping[str, dict[str, Any]] = {"plain": PLAIN, "balance": {**PLAIN, "balance": True}}
"""Settings for classes of unequal numbers of images."""

PARTS = {
    "digits": ("digits", ALIKE),
    "breastmnist": ("breastmnist", MIRRORED),
    "cifar10": ("cifar10", MIRRORED),
    "breastmnist, unequal as it is": ("breastmnist", UNEQUAL),
    "cifar10, made unequal": ("cifar10", UNEQUAL),
}
"""Part of the study → its data set, and the settings that are compared to the first of them."""


class Task(NamedTuple):
    """One training."""

    part: str
    setting: str
    seed: int


def tasks(seeds: int, sets: Sequence[str]) -> Iterator[Task]:
    """All trainings of some data sets."""
    for part, (images, settings) in PARTS.items():
        for setting in settings if images in sets else ():
            for seed in range(seeds):
                yield Task(part, setting, seed)


def images_of(part: str, shared: Path, seed: int, most: int) -> Dataset:
    """Some of the training images, others for each seed, judged by further training images."""
    name = PARTS[part][0]
    images = (
        load_dataset(name)
        if name == "digits"
        else load_dataset(shared / f"{name}.npz", image_size=16 if name == "cifar10" else None)
    )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images.train_labels))
    n, further = (min(number, most) for number in IMAGES[name])
    chosen, judging = order[:n], order[n : n + further]
    if "made" in part:
        rare = np.arange(len(images.class_names) // 2)
        chosen, judging = (
            which[~np.isin(images.train_labels[which], rare) | (rng.random(len(which)) < RARE)]
            for which in (chosen, judging)
        )
    return replace(
        images,
        train_images=images.train_images[chosen],
        train_labels=images.train_labels[chosen],
        val_images=None,
        val_labels=None,
        test_images=images.train_images[judging],
        test_labels=images.train_labels[judging],
    )


def measured(task: Task, shared: Path, most: int, epochs: int) -> dict[str, Any]:
    """What a training comes to; a tenth of its images chooses the epoch."""
    images = images_of(task.part, shared, task.seed, most)
    network = Architecture.read(CELL).build("trained", images, seed=task.seed)
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few images, and of classes that are never predicted
        training = train(
            network,
            images,
            epochs=epochs,
            validation=0.1,
            seed=task.seed,
            **PARTS[task.part][1][task.setting],
        )
    return {
        **task._asdict(),
        "images": len(images.train_labels),
        "judging": len(images.test_labels),
        "accuracy": 100 * training.test_accuracy,
        "balanced": 100 * training.balanced_accuracy,
        "auc": training.auc,
        "seconds": time.process_time() - started,
    }


def with_deviation(values: pd.Series, places: int, sign: str = "") -> str:
    """Mean ± standard deviation; the mean alone of one value."""
    deviation = f" ± {values.std():.{places}f}" if len(values) > 1 else ""
    return f"{values.mean():{sign}.{places}f}{deviation}"


def report(rows: pd.DataFrame) -> None:
    """Print the means of each setting, and its differences from the first one, seed by seed."""
    for part, of_part in rows.groupby("part", sort=False):
        one = of_part.iloc[0]
        print(f"{part}: {one['images']} images, judged by {one['judging']}")
        first = of_part[of_part["setting"] == one["setting"]].set_index("seed")
        for setting, found in of_part.groupby("setting", sort=False):
            of = found.set_index("seed")
            gains = "; ".join(
                f"{with_deviation(of[name] - first[name], places, '+')} {name}"
                for name, places in (("accuracy", 2), ("balanced", 2), ("auc", 4))
            )
            gains = "" if setting == one["setting"] else f"\n        {gains}"
            print(
                f"    {setting}: {with_deviation(of['accuracy'], 2)} %, balanced "
                f"{with_deviation(of['balanced'], 2)} %, AUC {with_deviation(of['auc'], 4)}, "
                f"n = {len(of)}, {of['seconds'].mean():.0f} s{gains}"
            )
    print(f"{rows['seconds'].sum() / 60:.1f} minutes of one core")


def main(argv: Sequence[str] | None = None) -> None:
    """Train, print."""
    of = parser(__doc__, "shared", "rows", seeds=3, epochs=20, most=10**9)
    of.add_argument("--sets", nargs="+", choices=IMAGES, default=list(IMAGES))
    given = of.parse_args(argv)
    print(f"{machine()}; {given.epochs} epochs, seeds 0 to {given.seeds - 1}")
    report(
        kept_rows(
            given.rows,
            tasks(given.seeds, given.sets),
            lambda task: measured(task, given.shared, given.most, given.epochs),
        )
    )


if __name__ == "__main__":
    main()
