"""How long do a first search and the paper's CIFAR-10 search take, and how much memory?

Each command is run as a user would, in a process of its own; wall time includes starting Python,
memory is the largest resident set of the process. Then: what the step of the channel counts and the
widening of the stages do to the time of scoring large candidates, which is why they are 8 and 2.

Command:
    python studies/search_speed.py --cifar PATH/cifar10.npz

RESULT
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import pymoo_nas
from pymoo_nas.genotype import Genotype
from pymoo_nas.networks import count_parameters
from pymoo_nas.problem import NASProblem
from pymoo_nas.results import read_frame
from pymoo_nas.runs import HISTORY
from pymoo_nas.search_space import CellSpace

PAPER = ["--generations", "30", "--offspring", "30", "--max-params", "560000"]


def timed(*arguments: str) -> tuple[float, float]:
    """Run ``pymoo-nas`` with arguments; (wall seconds, peak memory in GiB)."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", "from pymoo_nas.cli import main; main()", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"pymoo-nas {' '.join(arguments)} ended with status {status}")
    print("\n".join(f"    {line}" for line in lines[-3:]), flush=True)
    return time.perf_counter() - start, usage.ru_maxrss / 2**20


def large_candidates(space: CellSpace, problem: NASProblem, seed: int) -> list[Genotype]:
    """Eight random cells, grown to 400,000 to 560,000 parameters."""
    rng = np.random.default_rng(seed)
    found: list[Genotype] = []
    while len(found) < 8:
        genotype = space.sample(rng)
        params, steps = 0, 0
        while params < 400_000 and steps < 500:
            operation = space.operation_names[int(rng.integers(len(space.operation_names)))]
            genotype = space.mutate(
                genotype, ("grow", "grow", "add_node")[steps % 3], operation, rng
            )
            params = count_parameters(problem.build(genotype))
            steps += 1
        if 400_000 <= params <= 560_000:
            found.append(genotype)
    return found


def candidate_costs(cifar: Path, seed: int) -> None:
    """Seconds per large candidate, by the step of the channel counts and by the widening."""
    problem = NASProblem(cifar, max_params=560_000, seed=seed)
    problem.score_genotype(problem.search_space.sample(np.random.default_rng(seed)))
    for step, widening in ((1, 2), (2, 2), (4, 2), (8, 2), (16, 2), (8, 1)):
        problem.search_space = CellSpace(channel_step=step, widening=widening)
        found = large_candidates(problem.search_space, problem, seed)
        scores = [problem.score_genotype(genotype) for genotype in found]
        seconds = np.array([one.seconds for one in scores])
        macs = np.mean([one.flops for one in scores]) / 1e6
        print(
            f"channel_step {step:2d}, widening {widening}: n = {len(found)}, "
            f"{seconds.mean():.2f} ± {seconds.std(ddof=1):.2f} s per candidate "
            f"of {macs:.0f} million MACs",
            flush=True,
        )


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=Path, required=True, help="cifar10.npz")
    parser.add_argument("--seed", default="0")
    arguments = parser.parse_args()
    print(
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"seed {arguments.seed}, n = 1"
    )
    with tempfile.TemporaryDirectory() as folder:
        digits, cifar = Path(folder) / "digits", Path(folder) / "cifar10"
        seed = ["--seed", arguments.seed]
        rows = {
            "search (digits, defaults)": timed("search", *seed, "--out", str(digits)),
            "search cifar10.npz, 30 × 30": timed(
                "search", str(arguments.cifar), *PAPER, *seed, "--out", str(cifar)
            ),
            "train, 2 epochs": timed("train", str(cifar), "--epochs", "2"),
        }
        for name, run in (("digits", digits), ("cifar10", cifar)):
            history = read_frame(run / HISTORY)
            scored = history[history["degenerate"] == ""]
            print(
                f"{name}: {len(history)} candidates, {history['alpha'].notna().sum()} met in "
                f"tournaments, median {scored['seconds'].median():.3f} s per scored candidate"
            )
    for command, (seconds, memory) in rows.items():
        print(f"{command:32s} {seconds:7.1f} s {memory:6.2f} GiB")
    candidate_costs(arguments.cifar, int(arguments.seed))


if __name__ == "__main__":
    main()
