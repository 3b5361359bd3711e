"""Do the winners of a tournament train to a higher accuracy than its losers?

The cells of cell_accuracy.py, whose accuracy after a short training is known, are dealt into slots
as a search does it, and tournaments of several settings are held among them. Per setting: how often
the better trained of two contenders of a slot has the larger alpha (0.5 is chance), the mean
accuracy of the winners above that of all contenders, the same for the smallest sum of log ranks of
each slot and for the best that any choice could do; and the largest share of parameter-free
operations among the winners' operations against that of all contenders.

Command:
    python studies/tournament_worth.py --cifar PATH/cifar40.npz --cells cells.csv --tournaments 8

The 30 cells of cell_accuracy.py, AMD EPYC virtual machine, seeds from 0, beside other work; ± is
the standard deviation over tournaments, differences in points of accuracy; at a commit that halved
features by averages between slots, behind the cells:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; 30 cells,
        n = 8 tournaments of 5 slots
    20 steps                 concordance 0.51 ± 0.08, winners +0.01 ± 1.39, rank sum +2.39 ± 0.80,
        best +3.14 ± 0.85, parameter-free 0.49 of winners, 0.50 of all, last loss 2.17, 10.0 s
    20 steps, head start 0.5 concordance 0.79 ± 0.07, winners +2.32 ± 1.06, rank sum +2.39 ± 0.80,
        best +3.14 ± 0.85, parameter-free 0.48 of winners, 0.50 of all, last loss 2.15, 9.1 s
    20 steps, head start 1   concordance 0.81 ± 0.09, winners +2.35 ± 0.64, rank sum +2.39 ± 0.80,
        best +3.14 ± 0.85, parameter-free 0.47 of winners, 0.50 of all, last loss 2.17, 10.7 s
    20 steps, head start 2   concordance 0.79 ± 0.13, winners +2.54 ± 0.81, rank sum +2.39 ± 0.80,
        best +3.14 ± 0.85, parameter-free 0.47 of winners, 0.50 of all, last loss 2.13, 11.7 s

and of an earlier run, n = 4, where the rank sum is at +2.63 ± 0.52 and the best at +3.29 ± 0.88:

    60 steps                 concordance 0.54 ± 0.07, winners +0.93 ± 1.86, 34.1 s

By its training alone a tournament chooses no better than chance, while the sum of ranks finds
nearly the best cell of each slot. So alphas start where the scores put them: then the larger alpha
belongs to the better cell in four of five pairs, as often as by the scores themselves. The training
neither helps nor harms beyond that; it does not prefer parameter-free operations.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pymoo.core.individual import Individual
from scipy.stats import rankdata

import pymoo_nas
from pymoo_nas.operators import as_column
from pymoo_nas.problem import NASProblem
from pymoo_nas.scores import OBJECTIVES
from pymoo_nas.search_space import REDUCTIONS, CellSpace
from pymoo_nas.tournament import DartsTournament, deal

Vector = npt.NDArray[np.float64]

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
    scores = chosen[list(OBJECTIVES)].to_numpy(float)
    individuals = [
        Individual(X=x, F=f, place=place)
        for place, (x, f) in enumerate(zip(columns, scores, strict=True))
    ]
    slots = deal(individuals, n_slots, rng)
    start = time.perf_counter()
    alphas, losses = tournament.compete(slots, problem, seed)
    seconds = time.perf_counter() - start
    accuracy = chosen["accuracy"].to_numpy(float)
    ranks = np.sum([np.log(rankdata(chosen[name])) for name in OBJECTIVES], axis=0)
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


def main() -> None:
    """Hold tournaments and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--reduction", choices=REDUCTIONS, default=REDUCTIONS[0])
    for name, default in (("tournaments", 6), ("slots", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    space = CellSpace(reduction=arguments.reduction)
    problem = NASProblem(arguments.cifar, search_space=space)
    cells = pd.read_csv(arguments.cells)
    print(
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; "
        f"{len(cells)} cells, reduction {arguments.reduction}, n = {arguments.tournaments} "
        f"tournaments of {arguments.slots} slots"
    )
    for name in arguments.settings:
        rows = pd.DataFrame(
            [
                hold(problem, cells, SETTINGS[name], seed, arguments.slots)
                for seed in range(arguments.tournaments)
            ]
        )
        mean, spread = rows.mean(), rows.std()
        print(
            f"{name:24s} concordance {mean['concordance']:.2f} ± {spread['concordance']:.2f}, "
            + ", ".join(
                f"{key.replace('_', ' ')} {100 * mean[key]:+.2f} ± {100 * spread[key]:.2f}"
                for key in ("winners", "rank_sum", "best")
            )
            + f", parameter-free {mean['free_winners']:.2f} of winners, {mean['free_all']:.2f} of "
            f"all, last loss {mean['loss']:.2f}, {mean['seconds']:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
