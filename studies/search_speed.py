"""How long do a first search and the paper's CIFAR-10 search take, and how much memory?

Each command is run as a user would, in a process of its own; wall time includes starting Python,
memory is the largest resident set of the process. Then: what the step of the channel counts and the
widening of the stages do to the time of scoring large candidates, which is why they are 8 and 2;
and what average pooling takes by torch's kernels and by a convolution.

Command:
    python studies/search_speed.py --cifar PATH/cifar10.npz

The first three parts were run one by one (--parts) on an otherwise idle virtual machine, AMD EPYC;
cifar and costs at a commit that had 20 candidates per generation by default, which they do not use;
all at commits whose cells halved the map behind them:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 2 threads, seed 0, n = 1
    digits search              56.6 s   1.20 GiB
    digits: 135 candidates, 60 met in tournaments, median 0.220 s per scored candidate
    cifar search            457.9 s   1.87 GiB
    cifar train, 2 epochs   362.9 s   1.65 GiB
    cifar: 900 candidates, 188 met in tournaments, median 0.536 s per scored candidate
    channel_step  1, widening 2: n = 8, 2.84 ± 0.42 s per candidate of 53 million MACs
    channel_step  2, widening 2: n = 8, 1.92 ± 0.36 s per candidate of 53 million MACs
    channel_step  4, widening 2: n = 8, 1.03 ± 0.19 s per candidate of 53 million MACs
    channel_step  8, widening 2: n = 8, 0.61 ± 0.17 s per candidate of 53 million MACs
    channel_step 16, widening 2: n = 8, 0.56 ± 0.11 s per candidate of 54 million MACs
    channel_step  8, widening 1: n = 8, 1.87 ± 0.19 s per candidate of 123 million MACs

Average pooling, forward and backward (--parts pooling, 1 thread, medians of 9, beside other work):

    128 × 16 maps of 32×32, torch.float32, torch.contiguous_format: torch's 37.7 ms, ours 24.6 ms
    128 × 16 maps of 32×32, torch.float32, torch.channels_last: torch's 9.6 ms, ours 8.7 ms
    128 × 16 maps of 32×32, torch.bfloat16, torch.contiguous_format: torch's 63.2 ms, ours 6.0 ms
    128 × 16 maps of 32×32, torch.bfloat16, torch.channels_last: torch's 13.5 ms, ours 3.8 ms

The first search takes less than 2 minutes, the paper's less than 15 minutes and 2 GiB. With
widening 1, the default before, this study printed 1180.5 s and 2.10 GiB for the same search.
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
from pymoo_nas.counts import count_parameters
from pymoo_nas.genotype import Genotype
from pymoo_nas.operations import AveragePooling
from pymoo_nas.problem import NASProblem
from pymoo_nas.results import read_frame
from pymoo_nas.runs import HISTORY
from pymoo_nas.search_space import CellSpace

PARTS = ("digits", "cifar", "costs", "pooling")
"""What is measured, each in less than a quarter of an hour."""

PAPER = ["--generations", "30", "--offspring", "30", "--max-params", "560000"]


def timed(*arguments: str) -> tuple[float, float]:
    """Run ``pymoo-nas`` with arguments; (wall seconds, peak memory in GiB)."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "pymoo_nas", *arguments],
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


def pooling_costs() -> None:
    """Milliseconds of average pooling, forward and backward, by torch's kernels and by ours."""
    for precision in (torch.float32, torch.bfloat16):
        for layout in (torch.contiguous_format, torch.channels_last):
            maps = torch.randn(128, 16, 32, 32).to(precision).contiguous(memory_format=layout)
            maps.requires_grad_(True)
            poolings = {"torch": torch.nn.AvgPool2d(3, 1, 1), "ours": AveragePooling()}
            times: dict[str, list[float]] = {name: [] for name in poolings}
            for _ in range(9):
                for name, pooling in poolings.items():
                    start = time.perf_counter()
                    means = pooling(maps)
                    means.backward(torch.ones_like(means))
                    times[name].append(1000 * (time.perf_counter() - start))
            medians = {name: float(np.median(values)) for name, values in times.items()}
            print(
                f"average pooling of 128 × 16 maps of 32×32, {precision}, {layout}: torch's "
                f"{medians['torch']:.1f} ms, ours {medians['ours']:.1f} ms",
                flush=True,
            )


def searches(part: str, cifar: Path, seed: str) -> None:
    """One search, and for CIFAR-10 the training of its final network; their time and memory."""
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / part)
        options = ["--seed", seed, "--out", run]
        commands = {"search": ["search", *options]}
        if part == "cifar":
            commands["search"] = ["search", str(cifar), *PAPER, *options]
            commands["train, 2 epochs"] = ["train", run, "--epochs", "2"]
        for name, arguments in commands.items():
            seconds, memory = timed(*arguments)
            print(f"{part} {name:16s} {seconds:7.1f} s {memory:6.2f} GiB", flush=True)
        history = read_frame(Path(run) / HISTORY)
        scored = history[history["degenerate"] == ""]
        print(
            f"{part}: {len(history)} candidates, {history['alpha'].notna().sum()} met in "
            f"tournaments, median {scored['seconds'].median():.3f} s per scored candidate"
        )


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=Path, required=True, help="cifar10.npz")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    arguments = parser.parse_args()
    print(
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"seed {arguments.seed}, n = 1"
    )
    for part in arguments.parts:
        if part == "costs":
            candidate_costs(arguments.cifar, int(arguments.seed))
        elif part == "pooling":
            pooling_costs()
        else:
            searches(part, arguments.cifar, arguments.seed)


if __name__ == "__main__":
    main()
