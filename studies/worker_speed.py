"""How much faster do two workers score than one process?

The same random candidates by one process with one thread, by one process with all threads, and by
two workers with one thread each, three times in turn after a first round that is not counted;
starting workers is not counted either. The scores of the workers are compared with those of one
thread.

Command:
    python studies/worker_speed.py --cifar PATH/cifar10.npz

Printed, on a machine with two cores:
    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, seed 0;
        40 candidates, medians of 3 rounds
    one thread     11.4 s, 1.00 × one thread
    2 threads       9.0 s, 1.26 × one thread
    2 workers       5.7 s, 1.98 × one thread
    scores of the workers equal those of one thread to the bit: True

With the malloc that Dask sets for its workers (every feature map back to the system at once) two
workers took 11.2 s where one thread took 10.6: half of their time went to the system.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pymoo_nas
from pymoo_nas.problem import NASProblem
from pymoo_nas.workers import Workers


def seconds(problem: NASProblem, genotypes: list[Any], threads: int) -> tuple[float, list[Any]]:
    """Wall time of scoring them, and the scores."""
    torch.set_num_threads(threads)
    start = time.perf_counter()
    rows = problem.score_genotypes(genotypes)
    return time.perf_counter() - start, [row.values for row in rows]


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=Path, required=True)
    for name, default in (("candidates", 40), ("workers", 2), ("rounds", 4), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    problem = NASProblem(arguments.cifar, max_params=560_000)
    rng = np.random.default_rng(arguments.seed)
    genotypes = [problem.search_space.sample(rng) for _ in range(arguments.candidates)]
    cores = torch.get_num_threads()
    kinds: dict[str, tuple[int, bool]] = {
        "one thread": (1, False),
        f"{cores} threads": (cores, False),
        f"{arguments.workers} workers": (1, True),
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    scores: dict[str, list[Any]] = {}
    with Workers(arguments.workers) as workers:
        for _ in range(arguments.rounds):
            for name, (threads, by_workers) in kinds.items():
                problem.workers = workers if by_workers else None
                taken, scores[name] = seconds(problem, genotypes, threads)
                times[name].append(taken)
    print(
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, seed {arguments.seed}; "
        f"{arguments.candidates} candidates, medians of {arguments.rounds - 1} rounds"
    )
    first = statistics.median(times["one thread"][1:])
    for name, rounds in times.items():
        middle = statistics.median(rounds[1:])
        print(f"{name:12s} {middle:6.1f} s, {first / middle:.2f} × one thread")
    same = scores["one thread"] == scores[f"{arguments.workers} workers"]
    print(f"scores of the workers equal those of one thread to the bit: {same}")


if __name__ == "__main__":
    main()
