"""Which batch size and how many epochs suit few images, and of how many are norms calibrated?

A small cell, and where images are few ResNet-20, are trained as `pymoo_nas.train` does, a tenth
held out to choose the epoch, on some images, others for each seed. They are judged by images that
are not trained on: the test images of digits and BreastMNIST; of CIFAR-10, resized to 16×16, 2,000
further training images. Trainings of many steps are left out, see `MOST_STEPS`. Rows that are in
the file already are not measured again.

Command:
    python studies/batch_size.py --shared PATH --rows batch_size.csv

AMD EPYC virtual machine, beside other work of several threads, so that seconds are rough; accuracy
in % ± standard deviation over three seeds, one seed where there is none; the minutes hold those of
archive/norms.md:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads
    digits, 60 images, cell, 20 epochs, by batch_size: 8: 80.5 ± 1.7, 4 s; 16: 73.1 ± 5.5, 5 s;
        32: 74.3 ± 2.1, 4 s; 64: 65.7 ± 2.9, 2 s; 128: 65.7 ± 2.9, 2 s
    digits, 160 images, cell, 20 epochs, by batch_size: 8: 90.4 ± 3.5, 16 s; 16: 90.6 ± 2.8, 9
        s; 32: 91.2 ± 1.6, 3 s; 64: 89.3 ± 3.0, 2 s; 128: 87.2 ± 1.6, 1 s
    digits, 300 images, cell, 20 epochs, by batch_size: 16: 95.3 ± 0.6, 10 s; 32: 94.5 ± 0.7, 9
        s; 64: 93.8 ± 0.2, 3 s; 128: 93.7 ± 0.9, 3 s
    digits, 1000 images, cell, 20 epochs, by batch_size: 32: 97.9 ± 0.6, 33 s; 64: 97.4 ± 0.4,
        13 s; 128: 97.4 ± 0.8, 17 s
    digits, 1400 images, cell, 20 epochs, by batch_size: 64: 98.6, 38 s; 128: 98.1, 18 s
    digits, 60 images, resnet20, 20 epochs, by batch_size: 16: 78.0, 4 s; 128: 63.5, 2 s
    digits, 300 images, resnet20, 20 epochs, by batch_size: 16: 94.2, 16 s; 128: 89.7, 6 s
    cifar10, 60 images, cell, 20 epochs, by batch_size: 8: 20.8 ± 3.1, 3 s; 16: 23.9 ± 0.7, 2 s;
        32: 21.2 ± 3.0, 1 s; 64: 17.5 ± 6.6, 1 s; 128: 17.5 ± 6.6, 1 s
    cifar10, 160 images, cell, 20 epochs, by batch_size: 16: 28.3 ± 3.0, 4 s; 32: 27.5 ± 4.4, 7
        s; 64: 25.7 ± 1.1, 5 s; 128: 26.6 ± 1.5, 4 s
    cifar10, 300 images, cell, 20 epochs, by batch_size: 32: 34.8 ± 1.5, 13 s; 64: 33.6 ± 5.2, 9
        s; 128: 31.4 ± 4.7, 3 s
    cifar10, 1000 images, cell, 20 epochs, by batch_size: 64: 48.2 ± 0.5, 12 s; 128: 45.9 ± 1.6,
        9 s
    cifar10, 5000 images, cell, 10 epochs, by batch_size: 64: 58.6, 22 s; 128: 58.0, 19 s
    cifar10, 60 images, resnet20, 20 epochs, by batch_size: 16: 14.0, 17 s; 128: 18.1, 13 s
    cifar10, 300 images, resnet20, 20 epochs, by batch_size: 16: 32.9, 54 s; 128: 32.1, 25 s
    breastmnist, 60 images, cell, 20 epochs, by batch_size: 8: 74.4 ± 10.2, 3 s; 16: 73.9 ± 3.0,
        2 s; 32: 73.1 ± 2.3, 2 s; 64: 77.4 ± 3.2, 1 s; 128: 77.4 ± 3.2, 1 s
    breastmnist, 160 images, cell, 20 epochs, by batch_size: 16: 82.1 ± 1.3, 6 s; 32: 83.5 ±
        1.0, 4 s; 64: 81.8 ± 1.3, 3 s; 128: 81.2 ± 1.5, 3 s
    breastmnist, 300 images, cell, 20 epochs, by batch_size: 32: 83.5 ± 1.3, 7 s; 64: 79.7 ±
        0.7, 13 s; 128: 84.6 ± 1.7, 9 s
    breastmnist, 546 images, cell, 20 epochs, by batch_size: 64: 85.5 ± 2.0, 13 s; 128: 85.5 ±
        1.6, 8 s
    digits, 60 images, cell, by n_epochs: 15: 78.3 ± 1.4, 2 s; 29: 80.9 ± 1.4, 3 s; 58: 80.1 ±
        3.1, 7 s
    digits, 300 images, cell, by n_epochs: 6: 93.3 ± 1.0, 2 s; 12: 94.0 ± 1.4, 3 s; 24: 95.0 ±
        1.6, 7 s
    cifar10, 60 images, cell, by n_epochs: 15: 20.5 ± 0.4, 2 s; 29: 23.2 ± 3.1, 4 s; 58: 21.3 ±
        3.3, 7 s
    cifar10, 300 images, cell, by n_epochs: 6: 30.7 ± 0.7, 2 s; 12: 31.9 ± 4.4, 4 s; 24: 32.4 ±
        9.4, 15 s
    seeds 0 to 2; 24.2 minutes of training
    statistics of   128 images: 55.35 ± 0.22 %, 0.05 s
    statistics of   512 images: 55.88 ± 0.12 %, 0.18 s
    statistics of  2048 images: 55.98 ± 0.25 %, 0.72 s
    statistics of  4500 images: 55.92 ± 0.06 %, 1.56 s

Smaller batches are better on digits, by 15 points on 60 images and by one or two on 300, and
perhaps on CIFAR-10; on BreastMNIST there is no clear difference. From 1,000 images on the
difference is two points at most. Of 60 images, 200 steps reach as much as 400, and 100 come within
three points. So `train` takes the power of two that gives about 16 steps per epoch, and at least 20
epochs; `choose --by training` takes 100 steps. With more steps than were tried here, up to 2,000,
few images are read better still (epochs.py): `train` takes at least 1,500. Statistics of 2,048
images are as good as those of all 4,500; of 128 they cost half a point.
"""

from __future__ import annotations

import argparse
import itertools
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from common.command import machine, parser
from common.halving import INSIDE
from common.rows import kept_rows
from pymoo_nas._machine import seeded
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.spaces import Architecture
from pymoo_nas.training import AUTO, Settings, Trainer

NETWORKS = {"cell": "8,0,0,0|0,0,0,0|0,8,0,0", "resnet20": "resnet20"}

COUNTS = {
    "digits": (60, 160, 300, 1000, 1400),
    "cifar10": (60, 160, 300, 1000, 5000),
    "breastmnist": (60, 160, 300, 546),
}
"""Data set → numbers of images that are given to a training."""

FEW = 300
"""Up to so many images the number of steps and the handling of norms are varied, too."""

BATCH_SIZES = (8, 16, 32, 64, 128)
STEPS = (100, 200, 400)

MOST_STEPS = {"digits": 600, "cifar10": 300, "breastmnist": 300}
"""Of a training with one of the smaller batch sizes."""

CALIBRATED = (128, 512, 2048, 10**9)
"""Images of which norms take their statistics."""


class Task(NamedTuple):
    """One training."""

    part: str
    images: str
    network: str
    n: int
    batch_size: int | str
    epochs: int | str
    steps: int
    seed: int


def tasks(of: argparse.Namespace) -> Iterator[Task]:
    """All trainings that are asked for; `steps` in place of epochs where it is not 0."""
    most, epochs, seeds = of.most, of.epochs, of.seeds
    for images in of.sets:
        counts = [n for n in COUNTS[images] if n <= most]
        for n, size in itertools.product(counts, BATCH_SIZES):
            of_n = epochs if n < 5000 else epochs // 2
            if size >= 64 or of_n * 0.9 * n / size <= MOST_STEPS[images]:
                for seed in range(seeds if n <= 1000 else 1):
                    yield Task("batch", images, "cell", n, size, of_n, 0, seed)
        if images == "breastmnist":
            continue
        few = [n for n in (60, 300) if n <= most]
        for n, steps, seed in itertools.product(few, of.steps, range(seeds)):
            yield Task("steps", images, "cell", n, AUTO, 0, steps, seed)
        for n, size in itertools.product(few, (16, 128)):
            yield Task("batch", images, "resnet20", n, size, epochs, 0, 0)


def images_of(name: str, shared: Path) -> Dataset:
    """A data set of the study, CIFAR-10 at half its size."""
    if name == "digits":
        return load_dataset(name)
    return load_dataset(shared / f"{name}.npz", image_size=16 if name == "cifar10" else None)


def part_of(images: Dataset, n: int, seed: int, n_further: int = 0) -> Dataset:
    """Some of the training images; judged by further ones, or by the test images."""
    order = np.random.default_rng(seed).permutation(len(images.train_labels))
    chosen, further = order[:n], order[n : n + n_further]
    if n_further:
        tested = images.train_images[further], images.train_labels[further]
        images = replace(images, test_images=tested[0], test_labels=tested[1])
    kept = images.train_images[chosen], images.train_labels[chosen]
    return replace(images, train_images=kept[0], train_labels=kept[1])


def trained(task: Task, images: Dataset) -> tuple[Trainer, float]:
    """A training that has ended, its network with the weights kept; and its seconds."""
    settings = Settings(task.epochs or AUTO, task.batch_size, 0.2, 5e-4, 0.1, images.augment, 0.1,
                        task.seed)  # fmt: skip
    network: nn.Module = Architecture.read(NETWORKS[task.network], INSIDE).build(
        "trained", images, seed=task.seed
    )
    if task.steps:
        settings = settings.resolved(int(0.9 * task.n), least_epochs=1, least_steps=task.steps)
    started = time.perf_counter()
    with seeded(torch.device("cpu"), task.seed):
        done = Trainer(network, images, settings, torch.device("cpu"))
        done.run(lambda _: None)
    network.load_state_dict(done.best_state)
    return done, time.perf_counter() - started


def report(rows: pd.DataFrame, seeds: int) -> None:
    """Accuracy in % ± standard deviation over seeds, and mean time, by what a part varies."""
    varied = {"batch": "batch_size", "steps": "n_epochs"}
    for part, column in varied.items():
        of_part = rows[rows["part"] == part]
        same = ["images", "network", "n", *(["n_epochs"] if part == "batch" else [])]
        for key, group in of_part.groupby(same, sort=False):
            images, network, n, *epochs = map(str, key)
            for_epochs = f", {epochs[0]} epochs" if epochs else ""
            items = "; ".join(_item(*one) for one in group.groupby(column, sort=False))
            line = f"{images}, {n} images, {network}{for_epochs}, by {column}: {items}"
            print(textwrap.fill(line, 92, subsequent_indent="    "))
    print(f"seeds 0 to {seeds - 1}; {rows['seconds'].sum() / 60:.1f} minutes of training")


def _item(label: Any, rows: pd.DataFrame) -> str:
    accuracy = 100 * rows["accuracy"]
    deviation = f" ± {accuracy.std():.1f}" if len(rows) > 1 else ""
    return f"{label}: {accuracy.mean():.1f}{deviation}, {rows['seconds'].mean():.0f} s"


def calibrated(images: Dataset, n: int) -> None:
    """Accuracy by the number of images of which the norms take their statistics."""
    done, _ = trained(Task("", "cifar10", "cell", n, 128, 8, 0, 0), images)
    for limit in CALIBRATED:
        done.calibration_images = limit
        found, seconds = [], []
        for seed in range(3):
            done.settings = replace(done.settings, seed=seed)
            done.network.train()
            started = time.perf_counter()
            done.recalibrate()
            seconds.append(time.perf_counter() - started)
            found.append(100 * done.evaluate(images.test_images, images.test_labels).accuracy)
        print(f"statistics of {min(limit, len(done.fitted)):5d} images: {np.mean(found):.2f} ± "
              f"{np.std(found, ddof=1):.2f} %, {np.mean(seconds):.2f} s")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Train, print."""
    of = parser(__doc__, "shared", "rows", seeds=3, most=5000, epochs=20, judging=2000)
    of.add_argument("--sets", nargs="+", choices=COUNTS, default=list(COUNTS))
    of.add_argument("--steps", nargs="+", type=int, default=STEPS)
    arguments = of.parse_args(argv)
    torch.set_num_threads(1)
    sources = {name: images_of(name, arguments.shared) for name in {*arguments.sets, "cifar10"}}

    def measure(task: Task) -> dict[str, Any]:
        further = arguments.judging if task.images == "cifar10" else 0
        images = part_of(sources[task.images], task.n, task.seed, further)
        done, seconds = trained(task, images)
        found = done.evaluate(images.test_images, images.test_labels)
        return {
            **{name: value for name, value in task._asdict().items() if name != "batch_size"},
            "batch_size": done.settings.batch_size,
            "n_epochs": done.settings.epochs,
            "accuracy": found.accuracy,
            "seconds": seconds,
        }

    rows = kept_rows(arguments.rows, tasks(arguments), measure)
    print(machine())
    report(rows, arguments.seeds)
    n = min(5000, arguments.most)
    calibrated(part_of(sources["cifar10"], n, 0, arguments.judging), n)


if __name__ == "__main__":
    main()
