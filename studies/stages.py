"""Where should a network of cells halve the map, and what should its first cell see?

Cells that earlier searches handed over on CIFAR-10 (see cifar10.py) are built into networks that
halve the map between cells, inside them, and inside them behind a stem, and each is trained by the
same recipe for a short while, judged by a tenth of the images that it was not trained on. What is
there already is not done again. Then each cell, and the cell with an average pooling behind its
output, is scored as the body of a network and behind the stem: the gradients at the images should
tell the two apart.

Command:
    python studies/stages.py --cifar PATH/cifar10.npz --partial stages.csv

AMD EPYC virtual machine, beside other work of one thread, one run; ± is the standard deviation over
cells, the difference is that to the first line:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; 20000 images, 3 epochs,
        seed 0
    between       76.60 ± 2.50 %, n = 6, +0.00 ± 0.00, higher in 0; 26.9 MMACs, 137 thousand acts,
        31 s per epoch
    between, stem 78.23 ± 1.56 %, n = 6, +1.63 ± 1.25, higher in 6; 33.3 MMACs, 150 thousand acts,
        35 s per epoch
    inside        75.65 ± 1.25 %, n = 6, -0.95 ± 1.46, higher in 1; 13.9 MMACs, 108 thousand acts,
        20 s per epoch
    inside, stem  77.58 ± 2.17 %, n = 6, +0.98 ± 0.63, higher in 6; 20.4 MMACs, 121 thousand acts,
        23 s per epoch
    without the stem, as it is: correlation   0.65 ± 0.06, smoothness -0.012 ± 0.010
    without the stem, blurred : correlation   0.93 ± 0.18, smoothness  0.085 ± 0.031
    behind the stem , as it is: correlation   1.89 ± 0.09, smoothness -0.407 ± 0.009
    behind the stem , blurred : correlation   2.05 ± 0.21, smoothness -0.403 ± 0.015

The stem makes every cell better, for an eighth more time. Halving inside the cell costs 0.95 points
without the stem and 0.65 with it, and saves a third of the time; with both, the same cells are
better than with neither in three quarters of the time, which is why halving inside was the default
for a while. Within the same limits of parameters and multiply-accumulates searches hand over worse
ones (budgets.py), so it is not today. Where there is more time than cells of so many parameters can
use like that, those that halve the map behind them are better (cifar10.py). Behind the stem the
gradients at the images are rough whatever the cell is, so cells are scored without.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from common.command import machine, parser
from common.halving import INSIDE
from common.images import part_of
from common.rows import kept_rows
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.networks import PAPER_OPERATIONS, count_all
from pymoo_nas.scores import draw_probe, gradient_flow, score
from pymoo_nas.spaces import Architecture, CellSpace, Genotype
from pymoo_nas.training import train

CELLS = (
    "16,0,0,0|16,0,0,0|16,0,0,0|0,0,0,0|8,0,0,0|16,0,0,0",
    "56,0,0,0|0,0,0,0|16,0,0,0",
    "32,0,0,0|0,0,0,0|16,8,0,0",
    "16,16,0,0|0,0,0,0|8,0,0,0",
    "8,16,0,0|0,0,0,0|16,0,0,0",
    "16,0,0,0|0,0,8,0|16,8,0,0",
)
"""Of three searches and of three times 1,000 random candidates."""

SETTINGS: Mapping[str, dict[str, Any]] = {
    "between": {"reduction": "between", "stem": False},
    "between, stem": {"reduction": "between", "stem": True},
    "inside": {"reduction": "inside", "stem": False},
    "inside, stem": {"reduction": "inside", "stem": True},
}


def measured(genotype: str, setting: str, images: Dataset, epochs: int) -> dict[str, Any]:
    """Size, accuracy and time of one network."""
    space = CellSpace(**SETTINGS[setting])
    network = Architecture.read(genotype, space).build("trained", images)
    counts = count_all(network, images.normalized(images.train_images[:1]))
    training = train(network, images, epochs=epochs, batch_size=128, precision="bfloat16", seed=0)
    return {
        "setting": setting,
        "genotype": genotype,
        **counts._asdict(),
        "accuracy": float(training.epochs["validation_accuracy"].iloc[-1]),
        "seconds": float(training.epochs["seconds"].median()),
    }


def report(rows: pd.DataFrame) -> None:
    """Each setting's accuracy, size and time, and how it compares with the first."""
    tables = {name: rows[rows["setting"] == name].set_index("genotype") for name in SETTINGS}
    first = next(iter(tables.values()))
    for name, table in tables.items():
        accuracy = 100 * table["accuracy"]
        change = accuracy - 100 * first["accuracy"].loc[table.index]
        print(
            f"{name:13s} {accuracy.mean():.2f} ± {accuracy.std():.2f} %, n = {len(table)}, "
            f"{change.mean():+.2f} ± {change.std():.2f}, higher in {(change > 0).sum()}; "
            f"{table['flops'].mean() / 1e6:.1f} MMACs, {table['acts'].mean() / 1e3:.0f} thousand "
            f"acts, {table['seconds'].mean():.0f} s per epoch"
        )


def with_blur(text: str, channels: int = 16) -> str:
    """The cell with one more node behind its output, to which an average pooling leads."""
    genotype = Genotype.parse(text, n_operations=len(PAPER_OPERATIONS))
    nothing = ",".join("0" * genotype.n_operations)
    blurred = ",".join(str(channels if name == "avg_pool3x3" else 0) for name in PAPER_OPERATIONS)
    return "|".join([text, *[nothing] * genotype.n_nodes, blurred])


def report_gradients(images: Dataset, cells: Sequence[str]) -> None:
    """Correlation and smoothness of the gradients, with a pooling and without, stem or not."""
    probe = draw_probe(images).images
    for scored, where in ((True, "without the stem"), (False, "behind the stem")):
        values: dict[str, list[tuple[float, float]]] = {"as it is": [], "blurred": []}
        for text in cells:
            for name, genotype in (("as it is", text), ("blurred", with_blur(text))):
                network = Architecture.read(genotype, INSIDE).build(
                    "scored" if scored else "trained", images
                )
                values[name].append(
                    (score(network, probe).correlation, gradient_flow(network, probe).smoothness)
                )
        for name, pairs in values.items():
            (correlation, smoothness), spread = np.mean(pairs, 0), np.std(pairs, 0, ddof=1)
            print(
                f"{where:16s}, {name:8s}: correlation {correlation:6.2f} ± {spread[0]:.2f}, "
                f"smoothness {smoothness:6.3f} ± {spread[1]:.3f}"
            )


def main(argv: Sequence[str] | None = None) -> None:
    """Train, print."""
    numbers = {"images": 20_000, "epochs": 3, "cells": len(CELLS)}
    arguments = parser(__doc__, "cifar", "partial", **numbers).parse_args(argv)
    cells = CELLS[: arguments.cells]
    part = part_of(load_dataset(arguments.cifar), arguments.images)
    rows = kept_rows(
        arguments.partial,
        itertools.product(cells, SETTINGS),
        lambda task: measured(*task, part, arguments.epochs),
    )
    print(f"{machine()}; {arguments.images} images, {arguments.epochs} epochs, seed 0")
    report(rows)
    report_gradients(part, cells)


if __name__ == "__main__":
    main()
