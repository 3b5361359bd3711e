"""What do threads and waiting cost beside a busy neighbour, and what helps?

Random cells are scored on digits as a search does, the first one without being counted. One thread
scores, or as many as there are cores, or the better of the two numbers for the first cell ("auto").
A thread of OpenMP that has to wait spins for a while by default. With OMP_WAIT_POLICY=PASSIVE it
sleeps at once. Each policy has a process of its own, which scores with all three numbers in turn.
It scores alone, and beside a neighbour that computes on every core without a pause. All variants
pass in turn in every round; the figures are medians over the rounds. The rows are kept in a file,
so that the study can be interrupted.

Command:
    python studies/contention.py --rounds 3 --n 4 --images 16

Two cores of a shared AMD EPYC virtual machine, otherwise quiet:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 2 threads; 4 cells, 3 rounds
    neighbour  waiting   threads  seconds  most  ratio to the first line  threads taken
    alone      default   one         0.69     1                     1.00  1 1 1
    alone      default   all         0.60     1                     0.90  2 2 2
    alone      default   auto        0.93     1                     1.40  2 2 1
    alone      passive   one         0.62     1                     0.93  1 1 1
    alone      passive   all         0.68     1                     1.03  2 2 2
    alone      passive   auto        1.01     1                     1.52  2 2 2
    busy       default   one         1.12     1                     1.00  1 1 1
    busy       default   all        12.37    13                     9.33  2 2 2
    busy       default   auto        1.48     2                     1.32  1 1 1
    busy       passive   one         1.34     1                     1.16  1 1 1
    busy       passive   all         1.46     2                     1.21  2 2 2
    busy       passive   auto        1.50     2                     1.78  1 1 2
    scores are equal to the bit whatever the waiting: True
    scores are equal to the bit whatever the threads: True

On a busy machine two threads that spin take nine times as long as one; two that sleep take 1.21
times as long. On a quiet machine sleeping costs a tenth, of two threads. Beside much other work, in
another run of one round, the scores of two threads were not those of one to the bit. The command
line sleeps, and does not choose the number of threads: measuring both costs more than it gains in
so few cells, and the number may change scores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from common.command import machine, options
from common.halving import INSIDE
from common.rows import rows_by
from pymoo_nas.search import NASProblem

POLICY = "OMP_WAIT_POLICY"
POLICIES = ("default", "passive")
THREADS = ("one", "all", "auto")
NEIGHBOURS = ("alone", "busy")
MEASURED = ("seconds", "taken", "digest")
BUSY = "while True: pass"


def scored(n: int, images: int) -> dict[str, list[Any]]:
    """Threads → seconds for n random cells, number of threads, and a digest of the scores."""
    problem = NASProblem("digits", search_space=INSIDE, n_images=images)
    rng = np.random.default_rng(0)
    first, *others = (problem.search_space.sample(rng) for _ in range(n + 1))
    several = os.cpu_count() or 1
    values: list[tuple[float, ...]] = []

    def seconds_of(genotype: Any, number: int) -> float:
        torch.set_num_threads(number)
        started = time.perf_counter()
        values.append(problem.scorer.score(genotype).values)
        return time.perf_counter() - started

    seconds_of(first, several)  # torch prepares itself in a first scoring
    faster = min((1, several), key=lambda number: seconds_of(first, number))
    found = {}
    for threads, number in zip(THREADS, (1, several, faster), strict=True):
        seconds = sum(seconds_of(genotype, number) for genotype in others)
        digest = sha256(repr(values[-n:]).encode()).hexdigest()[:12]
        found[threads] = [seconds, number, digest]
    return found


@contextmanager
def neighbour(kind: str) -> Iterator[None]:
    """Processes that keep every core busy as long as the context lasts; none for "alone"."""
    n = (os.cpu_count() or 1) if kind == "busy" else 0
    started = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(n)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def in_a_process(policy: str, n: int, images: int) -> dict[str, list[Any]]:
    """What `scored` gives in a process whose OpenMP waits by a policy."""
    environment = {name: value for name, value in os.environ.items() if name != POLICY}
    if policy != "default":
        environment[POLICY] = policy
    command = [sys.executable, str(Path(__file__).resolve()), "one"]
    done = subprocess.run(
        [*command, "--n", str(n), "--images", str(images)],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, list[Any]] = json.loads(done.stdout)
    return found


def report(rows: pd.DataFrame) -> None:
    """Print a line for each variant: medians, and the ratio to one thread that waits by default."""
    print("neighbour  waiting   threads  seconds  most  ratio to the first line  threads taken")
    for kind, beside in rows.groupby("neighbour", sort=False):
        base = beside[(beside["waiting"] == POLICIES[0]) & (beside["threads"] == THREADS[0])]
        for (policy, threads), found in beside.groupby(["waiting", "threads"], sort=False):
            # The host of a virtual machine changes its speed: compared within each round.
            both = found.merge(base, on="round")
            ratio = (both["seconds_x"] / both["seconds_y"]).median()
            taken = " ".join(map(str, found["taken"]))
            print(
                f"{kind:9s}  {policy:8s}  {threads:7s}  {found['seconds'].median():7.2f}  "
                f"{found['seconds'].max():4.0f}  {ratio:23.2f}  {taken}"
            )
    fixed = rows[rows["threads"] != "auto"]
    for name, others in (("waiting", "threads"), ("threads", "waiting")):
        alike = fixed.groupby(others)["digest"].nunique().max() == 1
        print(f"scores are equal to the bit whatever the {name}: {alike}")


def main(argv: Sequence[str] | None = None) -> None:
    """Score in processes of all kinds, report."""
    of = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options(of, n=6, images=32, rounds=5)
    of.add_argument("part", nargs="?", choices=("all", "one"), default="all")
    of.add_argument("--rows", type=Path, default=Path("contention.csv"))
    arguments = of.parse_args(argv)
    n, images = arguments.n, arguments.images
    if arguments.part == "one":
        print(json.dumps(scored(n, images)))
        return
    variants = [
        f"{turn} {policy} {kind}"
        for turn in range(arguments.rounds)
        for policy, kind in product(POLICIES, NEIGHBOURS)
    ]

    def measured(variant: str) -> dict[str, Any]:
        _, policy, kind = variant.split()
        with neighbour(kind):
            found = in_a_process(policy, n, images)
        return {
            f"{threads} {name}": value
            for threads, values in found.items()
            for name, value in zip(MEASURED, values, strict=True)
        }

    wide = rows_by(arguments.rows, "variant", variants, measured)
    rows = pd.DataFrame(
        dict(zip(("round", "waiting", "neighbour"), row["variant"].split(), strict=True))
        | {"threads": threads}
        | {name: row[f"{threads} {name}"] for name in MEASURED}
        for row in wide.to_dict("records")
        for threads in THREADS
    )
    print(f"{machine()}; {n} cells, {arguments.rounds} rounds")
    report(rows.sort_values(["neighbour", "waiting"], kind="stable"))


if __name__ == "__main__":
    main()
