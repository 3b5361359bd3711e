"""Do tournaments prefer those cells of the paper's space that train best?

The cells of cells.py, whose accuracies are known, are dealt into slots as a search does it, and
tournaments of several settings are held among them. Per setting: how often the better trained of
two contenders of a slot has the larger alpha (0.5 is chance), the mean accuracy of the winners
above that of all contenders, the same for the smallest sum of log ranks of each slot and for the
best that any choice could do; and the share of parameter-free operations among the winners'
operations against that of all contenders.

AMD EPYC virtual machine, beside other work, one run each with seeds from 0; the images were the
first 40,000 of CIFAR-10, see cifar10.py; pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7,
2 cores, 1 thread. ± is the standard deviation over tournaments.

Command, with the 30 cells of the first command of cells.py:
    python studies/tournaments.py --cifar PATH/cifar40.npz --partial cells.csv \
        --reduction between --tournaments 8

Differences in points of accuracy:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; 30 cells,
        reduction between, n = 8 tournaments of 5 slots
    20 steps                 concordance 0.45 ± 0.12, winners -0.03 ± 0.77, rank sum +1.52 ± 0.31,
        best +1.87 ± 0.27, parameter-free 0.53 of winners, 0.53 of all, last loss 1.92, 4.2 s
    60 steps                 concordance 0.50 ± 0.15, winners -0.03 ± 1.06, rank sum +1.52 ± 0.31,
        best +1.87 ± 0.27, parameter-free 0.55 of winners, 0.53 of all, last loss 1.73, 12.6 s
    200 steps                concordance 0.46 ± 0.10, winners -0.06 ± 0.42, rank sum +1.52 ± 0.31,
        best +1.87 ± 0.27, parameter-free 0.53 of winners, 0.53 of all, last loss 1.59, 55.4 s
    20 steps, head start 0.5 concordance 0.79 ± 0.09, winners +1.52 ± 0.55, rank sum +1.52 ± 0.31,
        best +1.87 ± 0.27, parameter-free 0.48 of winners, 0.53 of all, last loss 1.92, 4.3 s
    20 steps, head start 1   concordance 0.84 ± 0.04, winners +1.78 ± 0.29, rank sum +1.52 ± 0.31,
        best +1.87 ± 0.27, parameter-free 0.48 of winners, 0.53 of all, last loss 1.96, 4.3 s
    20 steps, head start 2   concordance 0.85 ± 0.06, winners +1.73 ± 0.24, rank sum +1.52 ± 0.31,
        best +1.87 ± 0.27, parameter-free 0.49 of winners, 0.53 of all, last loss 1.95, 4.3 s

By its training alone a tournament chooses no better than chance, however long it trains. So alphas
start where the scores put them: then the larger alpha belongs to the better cell in five of six
pairs, and the winners are as good as the best of each slot but for 0.1 point. The sum of log ranks
chooses slightly worse, within a standard deviation: an alpha starts at the sum of ranks themselves.
There is no preference for parameter-free operations.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from pymoo.core.individual import Individual

from common.command import machine, parser
from common.ranks import Vector
from pymoo_nas.scores import PAPER_OBJECTIVES
from pymoo_nas.search import DartsTournament, NASProblem, as_column, log_rank_sum
from pymoo_nas.search._tournament import deal
from pymoo_nas.spaces import REDUCTIONS, CellSpace

SETTINGS: dict[str, dict[str, Any]] = {
    "20 steps": {"n_steps": 20, "head_start": 0.0},
    "60 steps": {"n_steps": 60, "head_start": 0.0},
    "200 steps": {"n_steps": 200, "head_start": 0.0},
    "20 steps, head start 0.5": {"n_steps": 20, "head_start": 0.5},
    "20 steps, head start 1": {"n_steps": 20, "head_start": 1.0},
    "20 steps, head start 2": {"n_steps": 20, "head_start": 2.0},
}


def concordance(alphas: list[float], accuracies: Vector) -> list[float]:
    """For every two contenders: whether the better one has the larger alpha."""
    return [
        float((alphas[i] > alphas[j]) == (accuracies[i] > accuracies[j]))
        for i, j in combinations(range(len(alphas)), 2)
        if accuracies[i] != accuracies[j]
    ]


def parameter_free(genotype: Any, names: tuple[str, ...]) -> float:
    """Share of the used operations of a cell that are poolings or skips."""
    used = [name for block in genotype.blocks for name, n in zip(names, block, strict=True) if n]
    return float(np.mean([("pool" in name or name == "skip") for name in used]))


def hold(
    problem: NASProblem, cells: pd.DataFrame, settings: dict[str, Any], seed: int, n_slots: int
) -> dict[str, float]:
    """One tournament; what its winners are worth."""
    tournament = DartsTournament(size=4, **settings)
    rng = np.random.default_rng(seed)
    chosen = cells.iloc[rng.permutation(len(cells))[: 4 * n_slots]].reset_index(drop=True)
    space = problem.search_space
    columns = as_column([space.parse(text) for text in chosen["genotype"]])
    scores = chosen[list(PAPER_OBJECTIVES)].to_numpy(float)
    individuals = [
        Individual(X=x, F=f, place=place)
        for place, (x, f) in enumerate(zip(columns, scores, strict=True))
    ]
    slots = deal(individuals, n_slots, rng)
    start = time.perf_counter()
    alphas, losses = tournament.compete(slots, problem, seed)
    seconds = time.perf_counter() - start
    accuracy = chosen["accuracy"].to_numpy(float)
    ranks = log_rank_sum(chosen[name] for name in PAPER_OBJECTIVES)
    places = [[individual.get("place") for individual in slot] for slot in slots]
    winners = [slot[int(np.argmax(shares))] for slot, shares in zip(places, alphas, strict=True)]
    pairs = [
        pair
        for slot, shares in zip(places, alphas, strict=True)
        for pair in concordance(shares, accuracy[slot])
    ]
    free = np.array([parameter_free(x[0], space.operation_names) for x in columns])
    dealt = [place for slot in places for place in slot]
    return {
        "concordance": float(np.mean(pairs)),
        "winners": accuracy[winners].mean() - accuracy[dealt].mean(),
        "rank_sum": accuracy[[slot[int(np.argmin(ranks[slot]))] for slot in places]].mean()
        - accuracy[dealt].mean(),
        "best": float(np.mean([accuracy[slot].max() for slot in places])) - accuracy[dealt].mean(),
        "free_winners": free[winners].mean(),
        "free_all": free[dealt].mean(),
        "loss": losses["alpha_losses"][-1],
        "seconds": seconds,
    }


def run(arguments: argparse.Namespace) -> None:
    """Hold tournaments and print a table."""
    space = CellSpace(reduction=arguments.reduction)
    problem = NASProblem(arguments.cifar, search_space=space)
    cells = pd.read_csv(arguments.partial)
    print(
        f"{machine()}; {len(cells)} cells, reduction {arguments.reduction}, n = "
        f"{arguments.tournaments} tournaments of {arguments.slots} slots"
    )
    for name in arguments.settings:
        rows = pd.DataFrame(
            [
                hold(problem, cells, SETTINGS[name], seed, arguments.slots)
                for seed in range(arguments.tournaments)
            ]
        )
        mean, spread = rows.mean(), rows.std()
        gains = ", ".join(
            f"{key.replace('_', ' ')} {100 * mean[key]:+.2f} ± {100 * spread[key]:.2f}"
            for key in ("winners", "rank_sum", "best")
        )
        print(
            f"{name:24s} concordance {mean['concordance']:.2f} ± {spread['concordance']:.2f}, "
            f"{gains}, parameter-free {mean['free_winners']:.2f} of winners, "
            f"{mean['free_all']:.2f} of all, last loss {mean['loss']:.2f}, "
            f"{mean['seconds']:.1f} s",
            flush=True,
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    of = parser(__doc__, "cifar", "partial", tournaments=6, slots=5)
    of.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    of.add_argument("--reduction", choices=REDUCTIONS, default=REDUCTIONS[0])
    run(of.parse_args(argv))


if __name__ == "__main__":
    main()
