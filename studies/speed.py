"""How long do a search, a candidate, a pooling and a step of training take, and what bounds it?

`search`: a first search, and the paper's CIFAR-10 search with a training, are run as a user would,
in processes of their own; wall time includes starting Python, memory is the largest resident set of
the process. `candidates`: what the step of the channel counts and the widening of the stages do to
the time of scoring large candidates, which is why they are 8 and 2. `pooling`: average pooling,
forward and backward, by torch's kernels and by a convolution.

`workers`: the same random candidates by one process with one thread, by one process with all
threads, and by two workers with one thread each, three times in turn after a first round that is
not counted; starting workers is not counted either. The scores of the workers are compared with
those of one thread.

`training`: by which count is the time of a training bounded? Random cells are grown as in cells.py
until one step more would break the limits. Of each network, and of two ResNets, the time of a step
of `pymoo_nas.train` is taken (128 images of CIFAR-10, bfloat16, two steps per epoch, median of five
epochs), and the times of the cells are compared with the counts: their correlation, and the
deviation of the time from the multiple of the count that fits best.

Commands of the first part, on an otherwise idle virtual machine, AMD EPYC; what is of CIFAR-10 at a
commit that had 20 candidates per generation by default, which it does not use; all at commits whose
cells halved the map behind them:
    python studies/speed.py search --parts digits
    python studies/speed.py search --parts cifar --cifar PATH/cifar10.npz
    python studies/speed.py candidates --cifar PATH/cifar10.npz

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

The first search takes less than 2 minutes, the paper's less than 15 minutes and 2 GiB. With
widening 1, the default before, this study printed 1180.5 s and 2.10 GiB for the same search.

Command, 1 thread, medians of 9, beside other work:
    python studies/speed.py pooling

    128 × 16 maps of 32×32, torch.float32, torch.contiguous_format: torch's 37.7 ms, ours 24.6 ms
    128 × 16 maps of 32×32, torch.float32, torch.channels_last: torch's 9.6 ms, ours 8.7 ms
    128 × 16 maps of 32×32, torch.bfloat16, torch.contiguous_format: torch's 63.2 ms, ours 6.0 ms
    128 × 16 maps of 32×32, torch.bfloat16, torch.channels_last: torch's 13.5 ms, ours 3.8 ms

Command, on a machine with two cores:
    python studies/speed.py workers --cifar PATH/cifar10.npz

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, seed 0;
        40 candidates, medians of 3 rounds
    one thread     11.4 s, 1.00 × one thread
    2 threads       9.0 s, 1.26 × one thread
    2 workers       5.7 s, 1.98 × one thread
    scores of the workers equal those of one thread to the bit: True

With the malloc that Dask sets for its workers (every feature map back to the system at once) two
workers took 11.2 s where one thread took 10.6: half of their time went to the system.

Command, AMD EPYC virtual machine, beside other work of one thread, one run; ± is the standard
deviation over cells:
    python studies/speed.py training --cifar PATH/cifar10.npz --n 24 --repeats 9

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
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from common.cells import grown_cells
from common.command import machine, options, parser, present
from common.halving import INSIDE
from common.images import first_of
from common.ranks import Vector
from common.timing import medians
from pymoo_nas.choice import build_final
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.networks import AveragePooling, count_all, count_parameters
from pymoo_nas.runs._folder import HISTORY
from pymoo_nas.search import NASProblem, Workers, read_frame
from pymoo_nas.spaces import REDUCTIONS, Architecture, CellSpace, Genotype
from pymoo_nas.training import train

LEAST_PARAMS, MAX_PARAMS = 400_000, 560_000

STEPS_AND_WIDENINGS = ((1, 2), (2, 2), (4, 2), (8, 2), (16, 2), (8, 1))
"""Of the channel counts, and of the stages."""

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


def timed(*arguments: str) -> tuple[float, float]:
    """Run ``pymoo-nas`` with arguments; (wall seconds, peak memory in GiB)."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "pymoo_nas", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        lines = process.stdout.read().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"pymoo-nas {' '.join(arguments)} ended with status {status}")
    print("\n".join(f"    {line}" for line in lines[-3:]), flush=True)
    return time.perf_counter() - start, usage.ru_maxrss / 2**20


def search(arguments: argparse.Namespace) -> None:
    """Searches, and for CIFAR-10 the training of the final network; their time and memory."""
    print(f"{machine()}, seed {arguments.seed}, n = 1")
    limit = ["--max-params", str(MAX_PARAMS)]
    paper = ["--generations", "30", "--offspring", "30", *limit]
    given = [] if arguments.generations is None else ["--generations", str(arguments.generations)]
    for part in arguments.parts:
        with tempfile.TemporaryDirectory() as folder:
            run = str(Path(folder) / part)
            made = [*given, "--seed", str(arguments.seed), "--out", run]
            commands = {"search": ["search", *made]}
            if part == "cifar":
                commands["search"] = ["search", str(arguments.cifar), *paper, *made]
                commands["train, 2 epochs"] = ["train", run, "--epochs", "2"]
            for name, command in commands.items():
                seconds, memory = timed(*command)
                print(f"{part} {name:16s} {seconds:7.1f} s {memory:6.2f} GiB", flush=True)
            history = read_frame(Path(run) / HISTORY)
        scored = history[history["degenerate"] == ""]
        print(
            f"{part}: {len(history)} candidates, {history['alpha'].notna().sum()} met in "
            f"tournaments, median {scored['seconds'].median():.3f} s per scored candidate"
        )


def large_candidates(problem: NASProblem, least: int, n: int, seed: int) -> list[Genotype]:
    """Random cells, grown until they have so many parameters, but no more than `MAX_PARAMS`."""
    space: Any = problem.search_space
    rng = np.random.default_rng(seed)
    found: list[Genotype] = []
    while len(found) < n:
        genotype = space.sample(rng)
        params, steps = 0, 0
        while params < least and steps < 500:
            operation = space.operation_names[int(rng.integers(len(space.operation_names)))]
            kind = ("grow", "grow", "add_node")[steps % 3]
            genotype = space.mutate(genotype, kind, operation, rng)
            params = count_parameters(problem.build(genotype))
            steps += 1
        if least <= params <= MAX_PARAMS:
            found.append(genotype)
    return found


def candidates(arguments: argparse.Namespace) -> None:
    """Seconds per large candidate, by the step of the channel counts and by the widening."""
    print(f"{machine()}, seed {arguments.seed}")
    problem = NASProblem(arguments.cifar, max_params=MAX_PARAMS, seed=arguments.seed)
    problem.score_genotype(problem.search_space.sample(np.random.default_rng(arguments.seed)))
    for step, widening in STEPS_AND_WIDENINGS:
        problem.search_space = CellSpace(channel_step=step, widening=widening)
        found = large_candidates(problem, arguments.least_params, arguments.n, arguments.seed)
        scores = [problem.score_genotype(genotype) for genotype in found]
        seconds = np.array([one.seconds for one in scores])
        macs = np.mean([one.flops for one in scores]) / 1e6
        print(
            f"channel_step {step:2d}, widening {widening}: n = {len(found)}, "
            f"{seconds.mean():.2f} ± {seconds.std(ddof=1):.2f} s per candidate "
            f"of {macs:.0f} million MACs",
            flush=True,
        )


def pooling(arguments: argparse.Namespace) -> None:
    """Milliseconds of average pooling, forward and backward, by torch's kernels and by ours."""
    print(f"{machine()}, medians of {arguments.repeats}")

    def there_and_back(module: nn.Module, maps: torch.Tensor) -> None:
        means = module(maps)
        means.backward(torch.ones_like(means))

    for precision in (torch.float32, torch.bfloat16):
        for layout in (torch.contiguous_format, torch.channels_last):
            maps = torch.randn(128, 16, 32, 32).to(precision).contiguous(memory_format=layout)
            maps.requires_grad_(True)
            modules = {"torch": torch.nn.AvgPool2d(3, 1, 1), "ours": AveragePooling()}
            passes = {name: partial(there_and_back, one, maps) for name, one in modules.items()}
            found = medians(passes, arguments.repeats)
            print(
                f"128 × 16 maps of 32×32, {precision}, {layout}: torch's "
                f"{1000 * found['torch']:.1f} ms, ours {1000 * found['ours']:.1f} ms",
                flush=True,
            )


def workers(arguments: argparse.Namespace) -> None:
    """Seconds of scoring the same candidates by threads and by processes."""
    problem = NASProblem(arguments.cifar, search_space=INSIDE, max_params=MAX_PARAMS)
    rng = np.random.default_rng(arguments.seed)
    genotypes = [problem.search_space.sample(rng) for _ in range(arguments.candidates)]
    cores = torch.get_num_threads()
    scores: dict[str, list[Any]] = {}

    def scored(name: str, threads: int, by: Workers | None) -> None:
        torch.set_num_threads(threads)
        problem.workers = by
        scores[name] = [row.values for row in problem.score_genotypes(genotypes)]

    one, several = "one thread", f"{arguments.workers} workers"
    with Workers(arguments.workers) as started:
        ways: dict[str, Callable[[], None]] = {
            one: lambda: scored(one, 1, None),
            f"{cores} threads": lambda: scored("threads", cores, None),
            several: lambda: scored(several, 1, started),
        }
        seconds = medians(ways, arguments.rounds)
    torch.set_num_threads(cores)
    print(
        f"{machine()}, seed {arguments.seed}; {arguments.candidates} candidates, medians of "
        f"{arguments.rounds} rounds"
    )
    for name, taken in seconds.items():
        print(f"{name:12s} {taken:6.1f} s, {seconds[one] / taken:.2f} × one thread")
    same = scores[one] == scores[several]
    print(f"scores of the workers equal those of one thread to the bit: {same}")


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


def fitted(counts: Vector, seconds: Vector) -> Any:
    """The sum of multiples of counts (n, m) that is closest to the times, in relative terms."""
    factors, *_ = np.linalg.lstsq(counts / seconds[:, None], np.ones(len(seconds)))
    return counts @ factors


def training(arguments: argparse.Namespace) -> None:
    """Time, fit, print."""
    dataset = load_dataset(arguments.cifar)
    images = replace(
        first_of(dataset, N_STEPS * BATCH_SIZE),
        test_images=dataset.test_images[:1],
        test_labels=dataset.test_labels[:1],
    )
    space = CellSpace(reduction=arguments.reduction)
    limits = {"max_params": arguments.max_params, "max_flops": arguments.max_flops}
    problem = NASProblem(dataset, search_space=space, n_images=10, **limits)
    print(
        f"{machine()}, seed {arguments.seed}, n = {arguments.n}, at most {arguments.max_params} "
        f"parameters and {arguments.max_flops} multiply-accumulates"
    )
    for name in arguments.models:
        named = Architecture.read(name, space)
        row = measured(named.build("trained", dataset), images, arguments.repeats)
        again = named.build("trained", dataset)
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


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    commands = (of := parser(__doc__)).add_subparsers(required=True)
    part = options(commands.add_parser("search"), seed=0)
    part.add_argument("--parts", nargs="+", default=("digits",), choices=("digits", "cifar"))
    part.add_argument("--cifar", type=present, help="cifar10.npz, of the part cifar")
    part.add_argument("--generations", type=int, help="in place of those that the parts have")
    part.set_defaults(run=search)
    numbers = {"least_params": LEAST_PARAMS, "n": 8, "seed": 0}
    part = options(commands.add_parser("candidates"), "cifar", **numbers)
    part.set_defaults(run=candidates)
    part = options(commands.add_parser("pooling"), repeats=9)
    part.set_defaults(run=pooling)
    numbers = {"candidates": 40, "workers": 2, "rounds": 3, "seed": 0}
    part = options(commands.add_parser("workers"), "cifar", **numbers)
    part.set_defaults(run=workers)
    numbers = {"max_params": MAX_PARAMS, "max_flops": 45_000_000, "n": 24, "repeats": 5, "seed": 0}
    part = options(commands.add_parser("training"), "cifar", **numbers)
    part.add_argument("--models", nargs="+", default=MODELS, help="timed by both optimizers")
    part.add_argument("--reduction", choices=REDUCTIONS, default="inside", help="of cells")
    part.set_defaults(run=training)
    arguments = of.parse_args(argv)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
