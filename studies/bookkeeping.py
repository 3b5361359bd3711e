"""What do the memory of scores, pymoo's histories and latencies cost, and do latencies repeat?

`memory`: random genotypes of digits with made scores are kept in a memory; then a problem looks up
a hundred of them one by one, and all at once. `history`: a search of 100 generations whose
candidates are remembered, with and without ``save_history``; the size is that of the pickle.
`latency`: networks of the cell space and ResNet-20 are timed twice, in turn; the figure is the
difference as a share of the smaller time.

Commands:
    python studies/bookkeeping.py memory
    python studies/bookkeeping.py history
    python studies/bookkeeping.py latency --cifar PATH/cifar10.npz

AMD EPYC virtual machine, beside other work (load average 3 on 2 cores), seed 0, n = 1:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads
    10000 kept in 14.72 s, 5.1 MB
    one hit: median 0.12, most 0.61 ms
    10000 hits at once: 0.92 s
    100 generations: 2.78 s, with save_history 3.69 s, 3.9 MB
    resnet20                                    3.387    3.254 ms
    10 networks: difference median 6.7%, most 24.8%

    the last part again, without other work on this virtual machine:
    resnet20                                    2.870    3.140 ms
    10 networks: difference median 2.7%, most 9.4%

    and twice at an earlier commit, by the wall clock, beside other work and without:
    resnet20                                    9.388    8.609 ms
    10 networks: difference median 11.6%, most 114.8%
    resnet20                                    3.995    5.415 ms
    10 networks: difference median 10.8%, most 63.0%

A hit costs a thousandth of a candidate. Latencies repeat within 10 % in the median, because each
network is timed in turn with a convolution: the host of the virtual machine changes its speed.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pymoo.core.algorithm import Algorithm
from pymoo.optimize import minimize

from common.command import machine, options
from common.halving import INSIDE
from pymoo_nas.datasets import load_dataset
from pymoo_nas.scores import Scores, measure_latency
from pymoo_nas.search import EvolutiveNAS, NASProblem
from pymoo_nas.search._memory import ScoreMemory
from pymoo_nas.spaces import Architecture, CellSpace


def seconds_of(call: Callable[[], Any]) -> tuple[float, Any]:
    """Wall time of a call, and what it returned."""
    started = time.perf_counter()
    found = call()
    return time.perf_counter() - started, found


def different(space: CellSpace, n: int, seed: int) -> list[Any]:
    """So many different random genotypes."""
    rng = np.random.default_rng(seed)
    found: dict[Any, None] = {}
    while len(found) < n:
        found.setdefault(space.sample(rng))
    return list(found)


def problem_with(folder: str) -> NASProblem:
    """Digits, few images, with a memory."""
    return NASProblem("digits", n_images=8, memory=Path(folder) / "scores.sqlite")


def fill(problem: NASProblem, texts: list[str], seed: int) -> None:
    """Keep made scores of genotypes, as if they had been computed."""
    assert problem._memory is not None
    memory, context = problem._memory._kept, problem._memory._context(problem)
    rng = np.random.default_rng(seed)
    for text in texts:
        values = dict(zip(problem.objective_names, rng.normal(size=3).tolist(), strict=True))
        memory.keep(context, text, Scores(values, dict.fromkeys(values, 0.0), 1, 1, 1, 1))


def memory(arguments: argparse.Namespace) -> None:
    """Time of looking genotypes up."""
    with tempfile.TemporaryDirectory() as folder:
        problem = problem_with(folder)
        genotypes = different(CellSpace(), arguments.n, arguments.seed)
        texts = [problem.search_space.format(genotype) for genotype in genotypes]
        kept, _ = seconds_of(lambda: fill(problem, texts, arguments.seed))
        path = Path(folder) / "scores.sqlite"
        print(f"{len(ScoreMemory(path))} kept in {kept:.2f} s, {path.stat().st_size / 1e6:.1f} MB")
        hits = [
            seconds_of(lambda text=text: problem.score_genotype(text))[0]  # type: ignore[misc]
            for text in texts[:100]
        ]
        print(f"one hit: median {1000 * np.median(hits):.2f}, most {1000 * max(hits):.2f} ms")
        fresh = problem_with(folder)
        loaded, _ = seconds_of(lambda: fresh.score_genotypes(genotypes))
        print(f"{len(genotypes)} hits at once: {loaded:.2f} s")


class Fluent(NASProblem):
    """Digits with made scores, so that a search costs no time of its own."""

    def score_genotype(self, genotype: Any) -> Scores:
        """Random objectives."""
        del genotype
        self.count_one(computed=True)
        rng = np.random.default_rng(self.n_scored)
        values = dict(zip(self.objective_names, rng.normal(size=3).tolist(), strict=True))
        return Scores(values, dict.fromkeys(values, 0.0), 1, 1, 1, 1)


def history(arguments: argparse.Namespace) -> None:
    """Time and size of a history of many generations."""

    def searched(save: bool) -> Algorithm:
        problem = Fluent("digits", n_images=8)
        end = ("n_gen", arguments.generations)
        return minimize(problem, EvolutiveNAS(5, 15), end, seed=arguments.seed, save_history=save)

    searched(False)
    without, _ = seconds_of(lambda: searched(False))
    with_it, result = seconds_of(lambda: searched(True))
    size = len(pickle.dumps(result.history)) / 1e6
    print(
        f"{arguments.generations} generations: {without:.2f} s, with save_history {with_it:.2f} s, "
        f"{size:.1f} MB"
    )


def latency(arguments: argparse.Namespace) -> None:
    """How far two measurements of the same networks differ."""
    images = load_dataset(arguments.cifar)
    image = torch.from_numpy(images.train_images[:1].transpose(0, 3, 1, 2)).float()
    networks = {
        INSIDE.format(genotype): INSIDE.build(genotype, 3, 10)
        for genotype in different(INSIDE, arguments.n, arguments.seed)
    }
    networks["resnet20"] = Architecture.read("resnet20").build("trained", images)
    rounds = [[measure_latency(net, image) for net in networks.values()] for _ in range(2)]
    differences = [abs(a - b) / min(a, b) for a, b in zip(*rounds, strict=True)]
    for name, a, b in zip(networks, *rounds, strict=True):
        print(f"{name[:40]:40} {a:8.3f} {b:8.3f} ms")
    print(
        f"{len(networks)} networks: difference median {np.median(differences):.1%}, "
        f"most {max(differences):.1%}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run one part of the study."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = made.add_subparsers(dest="part", required=True)
    options(parts.add_parser("memory"), n=10_000, seed=0)
    options(parts.add_parser("history"), generations=100, seed=0)
    options(parts.add_parser("latency"), "cifar", n=9, seed=0)
    arguments = made.parse_args(argv)
    torch.set_num_threads(1)
    print(machine())
    {"memory": memory, "history": history, "latency": latency}[arguments.part](arguments)


if __name__ == "__main__":
    main()
