"""How many epochs do few images need, and which of them should be kept?

The five data sets of own_images.py, 188 to 2,000 training images, other test images for each seed.
A cell of about 60,000 parameters is trained as `train` does, a tenth of the images held out. Four
rules choose the epoch that is kept: the best by the held-out images, the first of equals; the last
that is at most one, or two, standard errors behind the best; and the last. In this study alone the
test images are looked at after each epoch. What is there already is not done again.

Two lines for each data set and number of epochs: steps, seconds of one core (with the tests), the
number n of seeds; and of each rule the test accuracy in %, balanced where classes are unequal, and
the mean epoch that it keeps. ± is the standard deviation over seeds.

Command, 24 minutes; its rows are kept in rows/epochs:
    python studies/epochs.py --shared PATH --work studies/rows/epochs

AMD EPYC virtual machine, another study on its second core:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads
    made, 20 epochs of 188 images, 440 steps, 6 s, n = 3:
        best 85.2 ± 10.2 (11); one 81.3 ± 10.8 (18); two 81.7 ± 10.2 (20); last 81.7 ± 10.2 (20)
    breastmnist, 20 epochs of 624 images, 360 steps, 16 s, n = 3:
        best 77.9 ± 3.4 (14); one 75.2 ± 0.7 (20); two 75.2 ± 0.7 (20); last 75.2 ± 0.7 (20)
    digits, 20 epochs of 1438 images, 420 steps, 6 s, n = 3:
        best 99.1 ± 0.4 (15); one 99.3 ± 0.3 (19); two 99.3 ± 0.3 (20); last 99.3 ± 0.3 (20)
    photographs, 20 epochs of 1120 images, 640 steps, 33 s, n = 3:
        best 72.0 ± 1.2 (17); one 73.1 ± 2.0 (19); two 73.0 ± 2.2 (20); last 73.0 ± 2.2 (20)
    cifar10, 20 epochs of 2001 images, 580 steps, 56 s, n = 3:
        best 60.9 ± 0.3 (15); one 63.6 ± 1.5 (20); two 63.6 ± 1.5 (20); last 63.6 ± 1.5 (20)
    made, 60 epochs of 188 images, 1320 steps, 19 s, n = 3:
        best 85.7 ± 7.4 (25); one 92.4 ± 6.9 (50); two 88.9 ± 10.2 (60); last 88.9 ± 10.2 (60)
    breastmnist, 60 epochs of 624 images, 1080 steps, 47 s, n = 3:
        best 81.5 ± 6.3 (26); one 79.1 ± 2.2 (48); two 82.0 ± 4.0 (53); last 83.2 ± 6.0 (60)
    digits, 60 epochs of 1438 images, 1260 steps, 19 s, n = 3:
        best 98.1 ± 0.9 (19); one 99.4 ± 0.7 (56); two 99.4 ± 0.7 (60); last 99.4 ± 0.7 (60)
    photographs, 60 epochs of 1120 images, 1920 steps, 101 s, n = 3:
        best 75.8 ± 3.1 (28); one 76.1 ± 5.1 (48); two 78.7 ± 0.9 (60); last 78.7 ± 0.9 (60)
    cifar10, 60 epochs of 2001 images, 1740 steps, 168 s, n = 3:
        best 66.0 ± 0.7 (53); one 66.7 ± 1.2 (60); two 66.7 ± 1.2 (60); last 66.7 ± 1.2 (60)
    mean of the sets, 20 epochs: best 79.0; one 78.5; two 78.5; last 78.5
    mean of the sets, 60 epochs: best 81.5; one 82.7; two 83.1; last 83.4

With 20 epochs the rules are about equal. With 60 the best epoch by few images is often an early
one, at a large learning rate, and worse than the last by 1.9 points on the mean of the sets. Two
standard errors are 0.3 below the last, and guard against a training that gets worse. From 20 epochs
and the best to 60 and two errors the mean rises from 79.0 to 83.1 %, in three times the time: on
photographs from 72.0 to 78.7, on CIFAR-10 from 60.9 to 66.7. So `train` takes at least 1,500 steps,
47 to 84 epochs of these sets, and keeps the last epoch within two errors. More epochs were not
tried.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from common.command import machine, parser
from common.halving import INSIDE
from common.own_images import SETS
from common.rows import rows_by, with_deviation
from pymoo_nas._machine import seeded
from pymoo_nas.spaces import Architecture
from pymoo_nas.training import AUTO, Settings, Trainer, standard_error
from pymoo_nas.training._warnings import number_for_recall

CELL = "8,8,16,0|0,0,0,0|0,0,16,0"

ERRORS = {"one": 1, "two": 2}

RULES = ("best", *ERRORS, "last")


def trained(key: str, shared: Path, work: Path) -> dict[str, Any]:
    """One training; `key` tells set, epochs and seed."""
    name, epochs, number = key.split()
    seed = int(number)
    images = SETS[name](shared, work, seed)
    settings = Settings(int(epochs), AUTO, validation=0.1, augment=images.augment, seed=seed)
    network = Architecture.read(CELL, INSIDE).build("trained", images, seed=seed)
    tested: list[float] = []
    started = time.process_time()
    with seeded(torch.device("cpu"), seed):
        trainer = Trainer(network, images, settings, torch.device("cpu"))

        def test(_: bool) -> None:
            found = trainer.evaluate(images.test_images, images.test_labels)
            tested.append(found.balanced_accuracy if trainer.unequal else found.accuracy)

        trainer.run(test)
    history = pd.DataFrame(trainer.history)
    return {
        "set": name,
        "epochs": int(epochs),
        "seed": seed,
        "images": len(images.train_labels),
        "steps": trainer.settings.epochs * len(trainer.sizes),
        "judging": as_text(np.bincount(trainer.judging[1])),
        "judged": as_text(history[trainer.judged_by]),
        "accuracy": as_text(history["validation_accuracy"]),
        "tested": as_text(tested),
        "seconds": time.process_time() - started,
    }


def as_text(values: Iterable[float]) -> str:
    """Numbers with blanks between them."""
    return " ".join(f"{value:.4g}" for value in values)


def of_rules(row: Mapping[Any, Any]) -> dict[str, int]:
    """Rule → the epoch, from 1, that it keeps."""
    judged, counts = numbers(row["judged"]), numbers(row["judging"]).astype(int)
    # Judged by balanced accuracy where that is another number.
    labels = np.repeat(np.arange(len(counts)), counts)
    n = len(labels) if row["judged"] == row["accuracy"] else number_for_recall(labels)
    return {
        "best": int(judged.argmax()) + 1,
        **{rule: last_near(judged, n, errors) for rule, errors in ERRORS.items()},
        "last": len(judged),
    }


def numbers(text: str) -> NDArray[np.float64]:
    """The numbers of `as_text`."""
    return np.array(text.split(), float)


def last_near(judged: NDArray[np.float64], n: float, errors: int) -> int:
    """The last epoch, from 1, that is at most so many standard errors behind the best."""
    best = float(judged.max())
    near = judged >= best - errors * standard_error(best, n)
    return int(near.nonzero()[0][-1]) + 1


def report(rows: pd.DataFrame) -> None:
    """A line for each set and number of epochs, and one for all sets."""
    kept = pd.DataFrame([of_rules(row) for row in rows.to_dict("records")], index=rows.index)
    found = pd.DataFrame(
        {
            rule: [
                100 * numbers(text)[place - 1]
                for text, place in zip(rows["tested"], kept[rule], strict=True)
            ]
            for rule in RULES
        },
        index=rows.index,
    )
    for (name, epochs), group in rows.groupby(["set", "epochs"], sort=False):
        rules = "; ".join(
            f"{rule} {with_deviation(found.loc[group.index, rule], 1)} "
            f"({kept.loc[group.index, rule].mean():.0f})"
            for rule in RULES
        )
        print(
            f"{name}, {epochs} epochs of {group['images'].mean():.0f} images, "
            f"{group['steps'].mean():.0f} steps, {group['seconds'].mean():.0f} s, "
            f"n = {len(group)}:\n    {rules}"
        )
    of_sets = found.groupby([rows["epochs"], rows["set"]]).mean().groupby("epochs").mean()
    for epochs, mean in of_sets.iterrows():
        rules = "; ".join(f"{rule} {mean[rule]:.1f}" for rule in RULES)
        print(f"mean of the sets, {epochs} epochs: {rules}")


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is missing, and print all rows."""
    of = parser(__doc__, "shared", "work", seeds=3)
    of.add_argument("--sets", nargs="+", choices=SETS, default=[*SETS])
    of.add_argument("--epochs", nargs="+", type=int, default=[20, 60])
    asked = of.parse_args(argv)
    asked.work.mkdir(parents=True, exist_ok=True)
    keys = [
        f"{name} {epochs} {seed}"
        for seed in range(asked.seeds)
        for epochs in asked.epochs
        for name in asked.sets
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few images, and classes of unequal numbers
        rows = rows_by(
            asked.work / "trainings.csv",
            "key",
            keys,
            lambda key: trained(key, asked.shared, asked.work),
            ["judging", "judged", "accuracy", "tested"],
        )
    print(machine())
    report(rows)


if __name__ == "__main__":
    main()
