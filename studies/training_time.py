"""By which count is the time of a training bounded: parameters, multiply-accumulates, or acts?

Random cells are grown as in cell_accuracy.py until one step more would break the limits. Of each
network, and of two ResNets, one step of training is timed (128 images of CIFAR-10, bfloat16,
forward, backward and update, median of 5), and the times are compared with the counts: their
correlation, and the deviation of the time from the multiple of the count that fits best.

Command:
    python studies/training_time.py --cifar PATH/cifar10.npz --n 24

AMD EPYC virtual machine, beside other work of one thread, one run; ± is the standard deviation over
cells; at a commit that halved features by averages:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads, seed 0, n = 24,
        at most 560000 parameters and 45000000 multiply-accumulates
    resnet20: 269,722 parameters, 40.6 MMACs, 188,416 acts, 0.257 s per step
    resnet18: 11,181,642 parameters, 37.0 MMACs, 54,784 acts, 0.233 s per step
    cells: 0.324 ± 0.063 s per step, 0.250 to 0.466
    parameters             correlation  0.25, deviation 22 %
    multiply-accumulates   correlation  0.38, deviation 20 %
    acts                   correlation  0.85, deviation 14 %
    both of them           correlation  0.92, deviation 7 %

Among cells that use up a limit on multiply-accumulates the times differ by a factor of almost two,
and that limit says little of them; acts say more, and limits on both bound the time of a training.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from cell_accuracy import grown_cells
from torch import nn

import pymoo_nas
from pymoo_nas.counts import count_all
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.models import build_model
from pymoo_nas.problem import NASProblem

COUNTS = {
    "parameters": ["params"],
    "multiply-accumulates": ["flops"],
    "acts": ["acts"],
    "both of them": ["flops", "acts"],
}
"""What the time is compared with: a count, or the best sum of multiples of two."""


def step_seconds(network: nn.Module, dataset: Dataset, repeats: int) -> float:
    """Median time of one step, as `pymoo_nas.train` takes it with bfloat16."""
    network.train().to(memory_format=torch.channels_last)
    images = dataset.normalized(dataset.train_images[:128])
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.as_tensor(dataset.train_labels[:128])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    seconds = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def measured(network: nn.Module, dataset: Dataset, repeats: int) -> dict[str, Any]:
    """Counts and time of one network."""
    image = dataset.normalized(dataset.train_images[:1])
    return {
        **count_all(network, image)._asdict(),
        "seconds": step_seconds(network, dataset, repeats),
    }


def fitted(counts: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64]) -> Any:
    """The sum of multiples of counts (n, m) that is closest to the times, in relative terms."""
    factors, *_ = np.linalg.lstsq(counts / seconds[:, None], np.ones(len(seconds)))
    return counts @ factors


def main() -> None:
    """Time, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=Path, required=True)
    limits = {"max-params": 560_000, "max-flops": 45_000_000}
    for name, default in (*limits.items(), ("n", 24), ("repeats", 5), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.cifar)
    problem = NASProblem(
        dataset, n_images=10, max_params=arguments.max_params, max_flops=arguments.max_flops
    )
    print(
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"seed {arguments.seed}, n = {arguments.n}, at most {arguments.max_params} parameters and "
        f"{arguments.max_flops} multiply-accumulates"
    )
    for name in ("resnet20", "resnet18"):
        row = measured(build_model(name, dataset), dataset, arguments.repeats)
        print(
            f"{name}: {row['params']:,} parameters, {row['flops'] / 1e6:.1f} MMACs, "
            f"{row['acts']:,} acts, {row['seconds']:.3f} s per step"
        )
    cells = grown_cells(problem, arguments.seed)
    found = [problem.build(next(cells)) for _ in range(arguments.n)]
    rows = pd.DataFrame([measured(network, dataset, arguments.repeats) for network in found])
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
