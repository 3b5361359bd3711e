"""By which count is the time of a training bounded: parameters, multiply-accumulates, or acts?

Random cells are grown as in cell_accuracy.py until one step more would break the limits. Of each
network, and of two ResNets, the time of a step of `pymoo_nas.train` is taken (128 images of
CIFAR-10, bfloat16, two steps per epoch, median of five epochs), and the times of the cells are
compared with the counts: their correlation, and the deviation of the time from the multiple of the
count that fits best.

Command:
    python studies/training_time.py --cifar PATH/cifar10.npz --n 24

AMD EPYC virtual machine, beside other work of one thread, one run with --repeats 9; ± is the
standard deviation over cells:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads, seed 0, n = 24,
        at most 560000 parameters and 45000000 multiply-accumulates
    resnet20: 269,722 parameters, 40.6 MMACs, 188,416 acts, 0.312 s per step, 0.299 by SGD
    resnet18: 11,181,642 parameters, 37.0 MMACs, 54,784 acts, 0.821 s per step, 0.265 by SGD
    16,0,0,0|24,0,0,0|0,32,0,0: 521,930 parameters, 41.5 MMACs, 145,856 acts, 0.246 s per step,
        0.258 by SGD
    cells: 0.359 ± 0.062 s per step, 0.216 to 0.529
    parameters             correlation  0.49, deviation 19 %
    multiply-accumulates   correlation  0.49, deviation 15 %
    acts                   correlation  0.77, deviation 15 %
    both of them           correlation  0.82, deviation 9 %

and of cells that halve the map behind them, with `--reduction between --max-flops 90000000
--repeats 9 --models resnet20 resnet18` and the best cell of cifar10.py, on a faster machine:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads, seed 0, n = 24,
        at most 560000 parameters and 90000000 multiply-accumulates
    resnet20: 269,722 parameters, 40.6 MMACs, 188,416 acts, 0.150 s per step, 0.139 by SGD
    resnet18: 11,181,642 parameters, 37.0 MMACs, 54,784 acts, 0.395 s per step, 0.167 by SGD
    32,8,0,0|0,0,0,0|24,0,0,0|0,0,0,0|0,8,0,0|24,0,8,0: 551,898 parameters, 81.5 MMACs,
        286,656 acts, 0.306 s per step, 0.296 by SGD
    cells: 0.328 ± 0.075 s per step, 0.225 to 0.490
    parameters             correlation  0.32, deviation 19 %
    multiply-accumulates   correlation  0.30, deviation 19 %
    acts                   correlation  0.91, deviation 16 %
    both of them           correlation  0.92, deviation 8 %

Among cells that use up a limit on multiply-accumulates the times differ by a factor of more than
two; acts say more, and limits on both bound the time of a training. Muon costs small networks
next to nothing, and doubles or triples the time of ResNet-18, which has kernels of 512 channels. By
the same command, with Muon, both cells take less time than ResNet-18; by SGD the smaller one takes
as long, the larger one almost twice as long.
"""

from __future__ import annotations

import argparse
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from cell_accuracy import grown_cells
from torch import nn

import pymoo_nas
from pymoo_nas.architecture import Architecture
from pymoo_nas.counts import count_all
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.final import build_final
from pymoo_nas.problem import NASProblem
from pymoo_nas.search_space import REDUCTIONS, CellSpace
from pymoo_nas.training import train

N_STEPS, BATCH_SIZE = 2, 128
"""Of an epoch."""

MODELS = ("resnet20", "resnet18", "16,0,0,0|24,0,0,0|0,32,0,0")
"""Timed one by one: two ResNets, and the cell of cifar10.py that halves the map inside."""

COUNTS = {
    "parameters": ["params"],
    "multiply-accumulates": ["flops"],
    "acts": ["acts"],
    "both of them": ["flops", "acts"],
}
"""What the time is compared with: a count, or the best sum of multiples of two."""


def step_seconds(
    network: nn.Module, images: Dataset, repeats: int, optimizer: str = "muon"
) -> float:
    """Median time of one step of `pymoo_nas.train` with bfloat16, over epochs but the first."""
    training = train(
        network,
        images,
        epochs=1 + repeats,
        batch_size=BATCH_SIZE,
        validation=0.0,
        optimizer=optimizer,
        precision="bfloat16",
    )
    return float(training.epochs["seconds"][1:].median()) / N_STEPS


def measured(network: nn.Module, images: Dataset, repeats: int) -> dict[str, Any]:
    """Counts and time of one network."""
    image = images.normalized(images.train_images[:1])
    return {
        **count_all(network, image)._asdict(),
        "seconds": step_seconds(network, images, repeats),
    }


def fitted(counts: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64]) -> Any:
    """The sum of multiples of counts (n, m) that is closest to the times, in relative terms."""
    factors, *_ = np.linalg.lstsq(counts / seconds[:, None], np.ones(len(seconds)))
    return counts @ factors


def main() -> None:
    """Time, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=Path, required=True)
    sizes = {"max-params": 560_000, "max-flops": 45_000_000}
    for name, default in (*sizes.items(), ("n", 24), ("repeats", 5), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--models", nargs="+", default=MODELS, help="timed by both optimizers")
    parser.add_argument("--reduction", choices=REDUCTIONS, default=REDUCTIONS[0], help="of cells")
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.cifar)
    images = replace(
        dataset,
        train_images=dataset.train_images[: N_STEPS * BATCH_SIZE],
        train_labels=dataset.train_labels[: N_STEPS * BATCH_SIZE],
        test_images=dataset.test_images[:1],
        test_labels=dataset.test_labels[:1],
    )
    space = CellSpace(reduction=arguments.reduction)
    limits = {"max_params": arguments.max_params, "max_flops": arguments.max_flops}
    problem = NASProblem(dataset, search_space=space, n_images=10, **limits)
    print(
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"seed {arguments.seed}, n = {arguments.n}, at most {arguments.max_params} parameters and "
        f"{arguments.max_flops} multiply-accumulates"
    )
    for name in arguments.models:
        row = measured(
            Architecture.read(name, space).build("trained", dataset), images, arguments.repeats
        )
        again = Architecture.read(name, space).build("trained", dataset)
        by_sgd = step_seconds(again, images, arguments.repeats, "sgd")
        print(
            f"{name}: {row['params']:,} parameters, {row['flops'] / 1e6:.1f} MMACs, "
            f"{row['acts']:,} acts, {row['seconds']:.3f} s per step, {by_sgd:.3f} by SGD"
        )
    cells = grown_cells(problem, arguments.seed)
    found = [build_final(next(cells), problem=problem) for _ in range(arguments.n)]
    rows = pd.DataFrame([measured(network, images, arguments.repeats) for network in found])
    seconds = rows["seconds"].to_numpy(float)
    print(f"cells: {seconds.mean():.3f} ± {seconds.std(ddof=1):.3f} s per step, "
          f"{seconds.min():.3f} to {seconds.max():.3f}")  # fmt: skip
    for name, columns in COUNTS.items():
        guess = fitted(rows[columns].to_numpy(float), seconds)
        print(
            f"{name:22s} correlation {np.corrcoef(guess, seconds)[0, 1]:5.2f}, deviation "
            f"{100 * np.std(guess / seconds - 1, ddof=1):.0f} %"
        )


if __name__ == "__main__":
    main()
