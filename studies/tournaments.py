"""Do tournaments prefer those cells of the paper's space that train best?

The cells of cells.py, whose accuracies are known, are dealt into slots as a search does it, and
tournaments of several settings are held among them. Per setting, in points of accuracy: how often
the better trained of two contenders of a slot has the larger alpha (concordance, 0.5 is chance),
the mean accuracy of the winners above that of all contenders, and its gain over the winners of the
head start alone in the same slots. The gain can at most be the room: the best of each slot above
the head start's. "+ a head start" adds the head start once, or twice, to the alphas, which are
standardised as the head start is. Each contender's alpha is written down.

Ways to let the training decide, all in common/tournaments.py, besides the library's pairs of steps:
`fair`: contenders are trained one at a time in each slot, with equal numbers of steps (Chu 2021),
and judged by the loss on held-out images; `halving`: so, and the worse half of each slot leaves
after half of the steps; `carried`: a second fair tournament, among the winners of a first and
others, in which cells that met in the first start from their weights then; `recalibrated`: batch
norms get the statistics of training images before contenders are judged, in fair tournaments and
in those that train all contenders of a slot together (`mixed`); `small`: images of at most 8
pixels, in batches of four times the size. Rounds and steps were chosen for about equal times, but
for `mixed`, which takes three times as long, and `fair, 300 rounds`.

AMD EPYC virtual machine, another study on its second core, seeds from 0; the images were the first
40,000 of CIFAR-10, see cifar10.py. ± is the standard deviation over tournaments, seconds are
medians.

Command, with the cells of the third command of cells.py, where the scores tell less than where
there is room for larger ones. The rows are kept in rows/tournaments, with which the study prints
this table:
    python studies/tournaments.py --cifar PATH/cifar40.npz --tournaments 16 \
        --partial studies/rows/tournaments/cells.csv \
        --rows studies/rows/tournaments/tournaments.csv

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; 22 cells,
        reduction inside, tournaments of 5 slots
    head start alone                         concordance 0.68 ± 0.06, winners +1.09 ± 0.38,
        gain +0.00 ± 0.00
        best +1.89 ± 0.23, room +0.81 ± 0.27, 0.0 s, n = 16
    20 steps                                 concordance 0.52 ± 0.09, winners +0.04 ± 0.62,
        gain -1.05 ± 0.67
    20 steps + a head start                  concordance 0.64 ± 0.08, winners +0.92 ± 0.57,
        gain -0.17 ± 0.55
    20 steps + 2 head starts                 concordance 0.67 ± 0.08, winners +1.03 ± 0.48,
        gain -0.05 ± 0.31
        best +1.89 ± 0.23, room +0.81 ± 0.27, 1.5 s, n = 16
    20 steps, head start 1                   concordance 0.67 ± 0.06, winners +0.96 ± 0.33,
        gain -0.13 ± 0.25
        best +1.89 ± 0.23, room +0.81 ± 0.27, 1.5 s, n = 16
    10 steps, head start 1                   concordance 0.69 ± 0.05, winners +1.08 ± 0.34,
        gain -0.01 ± 0.12
        best +1.89 ± 0.23, room +0.81 ± 0.27, 0.8 s, n = 16
    5 steps, head start 1                    concordance 0.69 ± 0.06, winners +1.07 ± 0.38,
        gain -0.02 ± 0.11
        best +1.89 ± 0.23, room +0.81 ± 0.27, 0.4 s, n = 16
    fair                                     concordance 0.51 ± 0.10, winners +0.22 ± 0.46,
        gain -0.87 ± 0.49
    fair + a head start                      concordance 0.63 ± 0.09, winners +0.79 ± 0.40,
        gain -0.30 ± 0.42
    fair + 2 head starts                     concordance 0.68 ± 0.07, winners +1.01 ± 0.35,
        gain -0.08 ± 0.31
        best +1.89 ± 0.23, room +0.81 ± 0.27, 1.9 s, n = 16
    halving                                  concordance 0.50 ± 0.17, winners +0.02 ± 0.80,
        gain -1.07 ± 0.94
    halving + a head start                   concordance 0.61 ± 0.11, winners +0.75 ± 0.75,
        gain -0.34 ± 0.72
    halving + 2 head starts                  concordance 0.67 ± 0.07, winners +1.20 ± 0.48,
        gain +0.12 ± 0.33
        best +1.89 ± 0.23, room +0.81 ± 0.27, 2.2 s, n = 16
    halving, head start 1                    concordance 0.62 ± 0.10, winners +0.88 ± 0.63,
        gain -0.21 ± 0.59
        best +1.89 ± 0.23, room +0.81 ± 0.27, 2.2 s, n = 16
    carried                                  concordance 0.49 ± 0.09, winners -0.41 ± 0.58,
        gain -1.52 ± 0.69
    carried + a head start                   concordance 0.63 ± 0.11, winners +0.67 ± 0.64,
        gain -0.44 ± 0.50
    carried + 2 head starts                  concordance 0.66 ± 0.09, winners +0.82 ± 0.57,
        gain -0.29 ± 0.41
        best +1.89 ± 0.26, room +0.78 ± 0.38, 2.0 s, n = 16
    mixed, recalibrated                      concordance 0.48 ± 0.09, winners -0.10 ± 0.83,
        gain -1.19 ± 0.92
    mixed, recalibrated + a head start       concordance 0.57 ± 0.09, winners +0.28 ± 0.77,
        gain -0.81 ± 0.69
    mixed, recalibrated + 2 head starts      concordance 0.65 ± 0.09, winners +1.02 ± 0.58,
        gain -0.07 ± 0.52
        best +1.89 ± 0.23, room +0.81 ± 0.27, 5.5 s, n = 16
    fair, recalibrated                       concordance 0.49 ± 0.10, winners +0.02 ± 0.53,
        gain -1.06 ± 0.62
    fair, recalibrated + a head start        concordance 0.60 ± 0.09, winners +0.74 ± 0.44,
        gain -0.35 ± 0.48
    fair, recalibrated + 2 head starts       concordance 0.65 ± 0.09, winners +0.94 ± 0.44,
        gain -0.15 ± 0.35
        best +1.89 ± 0.23, room +0.81 ± 0.27, 2.4 s, n = 16
    20 steps, small                          concordance 0.57 ± 0.12, winners +0.16 ± 0.75,
        gain -0.93 ± 0.90
    20 steps, small + a head start           concordance 0.64 ± 0.11, winners +0.74 ± 0.68,
        gain -0.35 ± 0.57
    20 steps, small + 2 head starts          concordance 0.68 ± 0.09, winners +0.93 ± 0.64,
        gain -0.16 ± 0.44
        best +1.89 ± 0.23, room +0.81 ± 0.27, 2.1 s, n = 16
    20 steps, small, head start 1            concordance 0.68 ± 0.06, winners +1.07 ± 0.36,
        gain -0.02 ± 0.22
        best +1.89 ± 0.23, room +0.81 ± 0.27, 2.2 s, n = 16
    fair, small                              concordance 0.51 ± 0.10, winners +0.17 ± 0.87,
        gain -0.92 ± 0.98
    fair, small + a head start               concordance 0.66 ± 0.10, winners +0.91 ± 0.48,
        gain -0.17 ± 0.45
    fair, small + 2 head starts              concordance 0.68 ± 0.08, winners +1.00 ± 0.41,
        gain -0.09 ± 0.35
        best +1.89 ± 0.23, room +0.81 ± 0.27, 2.2 s, n = 16
    fair, 300 rounds                         concordance 0.56 ± 0.13, winners +0.36 ± 0.83,
        gain -0.73 ± 0.96
    fair, 300 rounds + a head start          concordance 0.63 ± 0.10, winners +0.89 ± 0.51,
        gain -0.20 ± 0.45
    fair, 300 rounds + 2 head starts         concordance 0.68 ± 0.08, winners +0.95 ± 0.49,
        gain -0.14 ± 0.30
        best +1.89 ± 0.23, room +0.81 ± 0.27, 14.4 s, n = 16

The head start alone leaves room for 0.81 points, and none of the five ways uses it: alone, each
chooses worse than the head start, with a concordance within a standard deviation of chance; beside
one head start none gains. Beside two, the best is successive halving with +0.12 ± 0.33 points; a
gain of 0.3 would have been worth a longer training. Ten times the rounds of ten times the images
have a concordance of 0.56 ± 0.13, and choose no better either. So the training is short: with the
head start, 20 pairs of steps lose 0.13 ± 0.25 points, in 1.5 seconds, and 5 pairs, the default,
0.02 ± 0.11, in 0.4.

An older form of this study, with the 30 cells of the first command of cells.py, printed more
columns: the choice by the smallest sum of log ranks, and shares of parameter-free operations.

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
import math
import time
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pymoo.core.individual import Individual

from common.command import machine, parser
from common.rows import append, read_rows, with_deviation
from common.tournaments import CarriedTournament, FairTournament, HeadStartAlone, MixedTournament
from pymoo_nas.scores import PAPER_OBJECTIVES
from pymoo_nas.search import DartsTournament, NASProblem, as_column
from pymoo_nas.search._tournament import deal, standings
from pymoo_nas.spaces import REDUCTIONS, CellSpace

ALONE = "head start alone"

SMALL = {"max_size": 8, "batch_size": 128}
"""Four times the images of a quarter of the pixels."""


class Setting(NamedTuple):
    """A way to hold a tournament.

    Attributes:
        way: its class.
        settings: of the class; the head start is 0 where nothing else is said.
        after_another: hold it after a first one, among its winners and others.
    """

    way: type[DartsTournament]
    settings: dict[str, Any]
    after_another: bool = False


SETTINGS = {
    ALONE: Setting(HeadStartAlone, {"head_start": 1.0}),
    "20 steps": Setting(DartsTournament, {"n_steps": 20}),
    "20 steps, head start 1": Setting(DartsTournament, {"n_steps": 20, "head_start": 1.0}),
    "10 steps, head start 1": Setting(DartsTournament, {"n_steps": 10, "head_start": 1.0}),
    "5 steps, head start 1": Setting(DartsTournament, {"n_steps": 5, "head_start": 1.0}),
    "fair": Setting(FairTournament, {"n_steps": 30}),
    "halving": Setting(FairTournament, {"n_steps": 30, "stages": 2}),
    "halving, head start 1": Setting(
        FairTournament, {"n_steps": 30, "stages": 2, "head_start": 1.0}
    ),
    "carried": Setting(CarriedTournament, {"n_steps": 30}, after_another=True),
    "mixed, recalibrated": Setting(MixedTournament, {"n_steps": 40, "recalibrated": True,
                                                     "n_judging": 2}),
    "fair, recalibrated": Setting(FairTournament, {"n_steps": 30, "recalibrated": True}),
    "20 steps, small": Setting(DartsTournament, {**SMALL, "n_steps": 20}),
    "20 steps, small, head start 1": Setting(
        DartsTournament, {**SMALL, "n_steps": 20, "head_start": 1.0}
    ),
    "fair, small": Setting(FairTournament, {**SMALL, "n_steps": 30}),
    "fair, 300 rounds": Setting(FairTournament, {"n_steps": 300, "n_images": 20_000}),
}  # fmt: skip


def hold(
    problem: NASProblem, cells: pd.DataFrame, setting: Setting, seed: int, n_slots: int
) -> pd.DataFrame:
    """One tournament of four contenders per slot: a row per contender."""
    tournament = setting.way(size=4, **{"head_start": 0.0, **setting.settings})
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(cells))
    chosen, others = order[: 4 * n_slots], order[4 * n_slots :]
    individuals = contenders(problem, cells, chosen)
    slots = deal(individuals, n_slots, rng)
    if setting.after_another:
        shares, _ = tournament.compete(slots, problem, seed)
        winners = [slot[int(np.argmax(row))] for slot, row in zip(slots, shares, strict=True)]
        losers = [i for i in individuals if i not in winners]
        further = contenders(problem, cells, others) + [
            losers[i] for i in rng.permutation(len(losers))
        ]
        slots = deal((winners + further)[: 4 * n_slots], n_slots, rng)
        seed += 1000
    start = time.perf_counter()
    shares, _ = tournament.compete(slots, problem, seed)
    seconds = time.perf_counter() - start
    return pd.DataFrame(
        {
            "slot": depth,
            "genotype": individual.get("text"),
            "alpha": math.log(max(share, 1e-300)),
            "standing": standing,
            "seconds": seconds,
        }
        for depth, row in enumerate(zip(slots, shares, standings(slots), strict=True))
        for individual, share, standing in zip(*row, strict=True)
    )


def contenders(problem: NASProblem, cells: pd.DataFrame, places: Iterable[int]) -> list[Individual]:
    """The cells at these places, with their scores."""
    chosen = cells.iloc[list(places)]
    space = problem.search_space
    columns = as_column([space.parse(text) for text in chosen["genotype"]])
    scores = chosen[list(PAPER_OBJECTIVES)].to_numpy(float)
    return [
        Individual(X=x, F=f, text=text)
        for x, f, text in zip(columns, scores, chosen["genotype"], strict=True)
    ]


def worth(rows: pd.DataFrame, decides: pd.Series) -> dict[str, float]:
    """What a choice by `decides`, larger is better, is worth in one tournament.

    Accuracies are means over the slots, in points above the mean contender's. `gain` is above the
    head start's choice in the same slots.
    """
    rows = rows.assign(decides=decides)
    slots = [slot for _, slot in rows.groupby("slot")]
    pairs = [
        (slot["decides"].iloc[i] > slot["decides"].iloc[j])
        == (slot["accuracy"].iloc[i] > slot["accuracy"].iloc[j])
        for slot in slots
        for i, j in combinations(range(len(slot)), 2)
    ]

    def mean(column: str) -> float:
        chosen = [slot["accuracy"].iloc[int(np.argmax(slot[column]))] for slot in slots]
        return 100 * float(np.mean(chosen) - rows["accuracy"].mean())

    return {
        "concordance": float(np.mean(pairs)),
        "winners": mean("decides"),
        "gain": mean("decides") - mean("standing"),
        "best": mean("accuracy"),
        "room": mean("accuracy") - mean("standing"),
    }


def standardised(rows: pd.DataFrame) -> pd.Series:
    """The alphas of a tournament: mean zero per slot, standard deviation one over all."""
    centred = rows["alpha"] - rows.groupby("slot")["alpha"].transform("mean")
    return centred / (centred.std(ddof=0) or 1.0)


def show(name: str, held: list[pd.DataFrame]) -> None:
    """Print what a setting is worth, alone and beside a head start."""
    choices = {"": [rows["alpha"] for rows in held]}
    if not SETTINGS[name].settings.get("head_start"):
        for weight in (1, 2):
            label = f" + {weight if weight > 1 else 'a'} head start{'s' * (weight > 1)}"
            choices[label] = [standardised(rows) + weight * rows["standing"] for rows in held]
    for label, decides in choices.items():
        of = pd.DataFrame([worth(*each) for each in zip(held, decides, strict=True)])
        print(
            f"{name + label:40s} concordance {with_deviation(of['concordance'], 2)}, winners "
            f"{with_deviation(of['winners'], 2, '+')}, gain {with_deviation(of['gain'], 2, '+')}"
        )
    seconds = pd.Series([rows["seconds"].iloc[0] for rows in held])
    print(
        f"    best {with_deviation(of['best'], 2, '+')}, room {with_deviation(of['room'], 2, '+')},"
        f" {seconds.median():.1f} s, n = {len(held)}",
        flush=True,
    )


def kept(path: Path, name: str, seed: int) -> pd.DataFrame | None:
    """The rows of a tournament that the file holds."""
    if not path.exists():
        return None
    rows = read_rows(path)
    rows = rows[(rows["setting"] == name) & (rows["seed"] == seed)]
    return rows if len(rows) else None


def run(arguments: argparse.Namespace) -> None:
    """Hold tournaments and print a table."""
    space = CellSpace(reduction=arguments.reduction)
    problem = NASProblem(arguments.cifar, search_space=space)
    cells = read_rows(arguments.partial)
    accuracy = cells.set_index("genotype")["accuracy"]
    print(
        f"{machine()}; {len(cells)} cells, reduction {arguments.reduction}, tournaments of "
        f"{arguments.slots} slots"
    )
    for name in arguments.settings:
        held = []
        for seed in range(arguments.tournaments):
            rows = kept(arguments.rows, name, seed)
            if rows is None:
                rows = hold(problem, cells, SETTINGS[name], seed, arguments.slots)
                rows.insert(0, "setting", name)
                rows.insert(1, "seed", seed)
                append(arguments.rows, rows)
            held.append(rows.assign(accuracy=rows["genotype"].map(accuracy)).reset_index(drop=True))
        show(name, held)


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    of = parser(__doc__, "cifar", "partial", "rows", tournaments=8, slots=5)
    of.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    of.add_argument("--reduction", choices=REDUCTIONS, default="inside")
    run(of.parse_args(argv))


if __name__ == "__main__":
    main()
