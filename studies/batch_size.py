"""Which batch size and how many epochs suit few images, and what are recalibrated norms worth?

A small cell, and where images are few ResNet-20, are trained as `pymoo_nas.train` does, a tenth
held out to choose the epoch, on some images, others for each seed. They are judged by images that
are not trained on: the test images of digits and BreastMNIST; of CIFAR-10, resized to 16×16, 2,000
further training images. Trainings of many steps are left out, see `MOST_STEPS`. Rows that are in
the file already are not measured again.

Command:
    python studies/batch_size.py --shared PATH --rows batch_size.csv
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from resumed import kept_rows
from torch import nn

import pymoo_nas
from pymoo_nas import trainer
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.devices import seeded
from pymoo_nas.models import build_model
from pymoo_nas.trainer import Trainer
from pymoo_nas.training_settings import AUTO, Settings

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


class MovingAverages(Trainer):
    """Tests with the statistics that training leaves in the norms."""

    def recalibrate(self) -> None:
        """Leave them as they are."""
        self.network.eval()


class Dropping(Trainer):
    """Leaves the images out that do not fill a batch."""

    def batch_sizes(self) -> list[int]:
        """Whole batches, or one smaller than asked for."""
        size = min(int(self.settings.batch_size), len(self.fitted))
        return [size] * (len(self.fitted) // size)


class MovingAndDropping(MovingAverages, Dropping):
    """As versions before did."""


KINDS: dict[str, type[Trainer]] = {
    "as train": Trainer,
    "moving averages": MovingAverages,
    "batch dropped": Dropping,
    "both": MovingAndDropping,
}


class Task(NamedTuple):
    """One training."""

    part: str
    images: str
    network: str
    n: int
    batch_size: int | str
    epochs: int | str
    steps: int
    kind: str
    seed: int


def tasks(seeds: int) -> Iterator[Task]:
    """All trainings; `steps` in place of epochs where it is not 0."""
    for images, counts in COUNTS.items():
        few = [n for n in counts if n <= FEW]
        kinds = KINDS if images == "digits" else ("as train", "both")
        for n, kind, seed in itertools.product(few, kinds, range(seeds)):
            yield Task("norms", images, "cell", n, 128, 20, 0, kind, seed)
        for n, size in itertools.product(counts, BATCH_SIZES):
            epochs = 20 if n < 5000 else 10
            if size >= 64 or epochs * 0.9 * n / size <= MOST_STEPS[images]:
                for seed in range(seeds if n <= 1000 else 1):
                    yield Task("batch", images, "cell", n, size, epochs, 0, "as train", seed)
        if images == "breastmnist":
            continue
        for n, steps, seed in itertools.product((60, 300), STEPS, range(seeds)):
            yield Task("steps", images, "cell", n, AUTO, 0, steps, "as train", seed)
        for n in (60, 300):
            yield Task("batch", images, "resnet20", n, 16, 20, 0, "as train", 0)
            yield Task("batch", images, "resnet20", n, 128, 20, 0, "as train", 0)
            yield Task("batch", images, "resnet20", n, 128, 20, 0, "both", 0)


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
    network: nn.Module = build_model(NETWORKS[task.network], images, seed=task.seed)
    if task.steps:
        settings = settings.resolved(int(0.9 * task.n), least_epochs=1, least_steps=task.steps)
    started = time.perf_counter()
    with seeded(torch.device("cpu"), task.seed):
        done = KINDS[task.kind](network, images, settings, torch.device("cpu"))
        done.run(lambda _: None, progress=False)
    network.load_state_dict(done.best_state)
    return done, time.perf_counter() - started


def report(rows: pd.DataFrame, seeds: int) -> None:
    """Mean and standard deviation over seeds."""
    by = ["part", "images", "network", "n", "batch_size", "n_epochs", "kind"]
    for key, group in rows.groupby(by, sort=False):
        part, images, network, n, size, epochs, kind = map(str, key)
        accuracy = 100 * group["accuracy"]
        print(
            f"{part:6s} {images:12s} {network:9s} {n:>5s} images  batch {size:>4s}  {epochs:>4s} "
            f"epochs  {kind:16s} {accuracy.mean():6.2f} ± {accuracy.std():5.2f} %  "
            f"n = {len(group)}  {group['seconds'].mean():6.1f} s"
        )
    print(f"seeds 0 to {seeds - 1}; {rows['seconds'].sum() / 60:.1f} minutes of training")


def calibrated(images: Dataset) -> None:
    """Accuracy by the number of images of which the norms take their statistics."""
    done, _ = trained(Task("", "cifar10", "cell", 5000, 128, 8, 0, "as train", 0), images)
    for limit in CALIBRATED:
        trainer.CALIBRATION_IMAGES = limit
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


def main() -> None:
    """Train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder of the .npz files")
    parser.add_argument("--rows", type=Path, required=True, help="CSV file that is continued")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sources = {
        "digits": load_dataset("digits"),
        "cifar10": load_dataset(arguments.shared / "cifar10.npz", image_size=16),
        "breastmnist": load_dataset(arguments.shared / "breastmnist.npz"),
    }

    def measure(task: Task) -> dict[str, Any]:
        further = 2000 if task.images == "cifar10" else 0
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

    rows = kept_rows(arguments.rows, tasks(arguments.seeds), measure)
    print(
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    )
    report(rows, arguments.seeds)
    calibrated(part_of(sources["cifar10"], 5000, 0, 2000))


if __name__ == "__main__":
    main()
