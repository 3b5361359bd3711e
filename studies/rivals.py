"""Which search strategy hands over the best architecture, and how long does each take?

Every strategy of common/searches.py scores through one problem, with the same probe and the same
initial weights; only the seed of the search differs. On NAS-Bench-201 the architecture that it
hands over is looked up in the table of trained accuracies, by isomorphism class: the mean where
several members were trained. What the table does not hold is reported as unknown; with a partial
table, the first one in the strategy's own order that is known is reported too.

One row per rival and seed is appended to a CSV file of this process alone, so that the study can be
interrupted. With ``--every-class`` each connected class of NAS-Bench-201 (6,461 of 6,466
isomorphism classes) is scored into the memory before; the searches then take seconds. A score, a
measurement or a short training that is remembered counts with the seconds that it once took. The
other seconds are processor time. Minutes in all are those of scoring, measuring, search,
tournaments and choice.

Commands; their rows are kept in rows/rivals, which name the rivals. Scoring every class takes 16
minutes, by later scores 27; the searches take 30:
    python studies/rivals.py --cifar PATH/cifar10.npz --table PATH/nasbench201_5000.csv \
        --memory paper_scores.csv --gradients gradients.csv --every-class --out paper.csv \
        --seeds 10 --rivals NAMES
    ... --out same_time.csv --candidates 780 --rivals random "random, our choice" largest
    ... --out same_time.csv --candidates 680 --rivals nsga2
    ... --out same_time.csv --candidates 640 --rivals "regularised evolution" ours \
        "ours, no tournament"
    ... --out same_time.csv --candidates 580 --rivals "random, steady first"
    ... --out same_time.csv --candidates 400 --rivals "nsga2, steady first"
    ... --out more.csv --candidates 1500 --rivals NAMES
and without --every-class, so that it tells no hypervolume:
    ... --memory later_scores.csv --objectives ntk_entropy participation correlation_entropy \
        --out later.csv --rivals "ours, steady first, no tournament" "random, steady first"

AMD EPYC virtual machine, other studies beside it; pymoo_nas 0.1.0, torch 2.14.1+cu130, Python
3.11.7, 2 cores, 1 threads; N = 64, R = 2; 2,628 of 6,466 classes with known accuracy, the best
94.37. The hypervolume is a share of the box between the best and the median of each score. Fronts
are of survivors, at most five but for NSGA-II; those of random search and regularised evolution of
all that was scored. 500 candidates, te-nas 88 networks of all operations; seeds 0 to 9:

    search, n; %: handed over (known in n), first known; mean, best of the front
    random                            10 89.64 ± 3.68 ( 2) 91.60 ± 2.45 92.30 ± 0.91 93.09 ± 0.46
    random, our choice                10 93.62 ± 0.12 ( 3) 93.28 ± 0.42 92.30 ± 0.91 93.09 ± 0.46
    largest                           10 93.67 ± 0.33 ( 7) 93.59 ± 0.29 93.67 ± 0.33 93.67 ± 0.33
    nsga2                             10 92.67        ( 1) 92.67 ± 0.16 92.52 ± 0.50 93.55 ± 0.34
    regularised evolution             10 92.67 ± 0.00 ( 5) 92.67 ± 0.00 92.73 ± 0.32 93.76 ± 0.00
    te-nas                            10 93.45 ± 0.59 ( 3) 93.45 ± 0.59 93.45 ± 0.59 93.45 ± 0.59
    ours, no tournament               10 93.72 ± 0.12 (10) 93.72 ± 0.12 92.86 ± 0.13 93.05 ± 0.29
    ours                              10 93.72 ± 0.12 (10) 93.72 ± 0.12 92.72 ± 0.15 92.77 ± 0.19
    ours, front's best                10 92.67 ± 0.19 ( 3) 92.71 ± 0.16 92.72 ± 0.15 92.77 ± 0.19
    ours, no learned mutation         10 93.71 ± 0.14 ( 8) 93.64 ± 0.19 92.75 ± 0.26 92.89 ± 0.32
    ours, no ntk                      10 93.76 ± 0.00 ( 9) 93.72 ± 0.12 92.81 ± 0.22 92.81 ± 0.22
    ours, no activation               10 93.63 ± 0.20 ( 6) 93.68 ± 0.17 90.92 ± 1.70 91.25 ± 1.83
    ours, no correlation              10 93.76 ± 0.00 (10) 93.76 ± 0.00 92.74 ± 0.43 93.17 ± 0.51
    random, steady gradients          10 94.16 ± 0.20 ( 6) 93.97 ± 0.38 92.30 ± 0.91 93.09 ± 0.46
    ours, steady gradients            10 94.09 ± 0.12 ( 5) 94.08 ± 0.10 92.72 ± 0.15 92.77 ± 0.19
    random, steady first              10 94.19 ± 0.19 ( 6) 93.98 ± 0.41 94.11 ± 0.31 94.22 ± 0.18
    nsga2, steady first               10 94.22 ± 0.00 (10) 94.22 ± 0.00 94.06 ± 0.04 94.34 ± 0.00
    ours, steady first, no tournament 10 94.22 ± 0.00 (10) 94.22 ± 0.00 94.02 ± 0.08 94.22 ± 0.00
    ours, steady first                10 94.22 ± 0.00 (10) 94.22 ± 0.00 93.97 ± 0.10 94.24 ± 0.04
    search, n; hypervolume; %: mean, best of the archive; scored; minutes in all, to measure
    random                            10 0.651 ± 0.060                            500  1.26 0.00
    random, our choice                10 0.651 ± 0.060                            500  1.26 0.00
    largest                           10 0.206 ± 0.210                            500  1.26 0.00
    nsga2                             10 0.791 ± 0.013                            500  1.42 0.00
    regularised evolution             10 0.787 ± 0.013                            500  1.52 0.00
    te-nas                            10 0.364 ± 0.118                             88  0.57 0.00
    ours, no tournament               10 0.763 ± 0.009                            500  1.49 0.00
    ours                              10 0.662 ± 0.069                            500  1.54 0.00
    ours, front's best                10 0.662 ± 0.069                            500  1.55 0.00
    ours, no learned mutation         10 0.713 ± 0.046                            500  1.53 0.00
    ours, no ntk                      10 0.625 ± 0.099                            500  1.56 0.00
    ours, no activation               10 0.626 ± 0.025                            500  1.47 0.00
    ours, no correlation              10 0.708 ± 0.035                            500  1.56 0.00
    random, steady gradients          10 0.651 ± 0.060                            500  1.34 0.08
    ours, steady gradients            10 0.662 ± 0.069                            500  1.75 0.21
    random, steady first              10 0.239 ± 0.041 94.11 ± 0.31 94.22 ± 0.18  500  1.69 0.43
    nsga2, steady first               10 0.355 ± 0.009 94.06 ± 0.04 94.34 ± 0.00  500  2.38 1.01
    ours, steady first, no tournament 10 0.333 ± 0.025 94.04 ± 0.04 94.34 ± 0.00  500  1.93 0.49
    ours, steady first                10 0.336 ± 0.015 94.04 ± 0.01 94.34 ± 0.00  500  1.98 0.52

With as many candidates as those minutes allow that "ours, steady first" takes:

    search, n; %: handed over (known in n), first known; mean, best of the front
    random                            10 87.03 ± 0.00 ( 2) 91.04 ± 2.80 92.15 ± 0.71 93.19 ± 0.38
    random, our choice                10 93.61 ± 0.10 ( 4) 93.34 ± 0.42 92.15 ± 0.71 93.19 ± 0.38
    largest                           10 93.70 ± 0.35 ( 6) 93.58 ± 0.30 93.70 ± 0.35 93.70 ± 0.35
    nsga2                             10              ( 0) 92.67 ± 0.16 92.50 ± 0.41 93.67 ± 0.28
    regularised evolution             10 92.67 ± 0.00 ( 5) 92.67 ± 0.00 92.55 ± 0.28 93.76 ± 0.00
    ours, no tournament               10 93.72 ± 0.12 (10) 93.72 ± 0.12 92.86 ± 0.13 93.05 ± 0.29
    ours                              10 93.76 ± 0.00 (10) 93.76 ± 0.00 92.62 ± 0.50 93.02 ± 0.52
    random, steady first              10 94.15 ± 0.20 ( 7) 93.94 ± 0.39 93.94 ± 0.27 94.22 ± 0.18
    nsga2, steady first               10 94.23 ± 0.03 (10) 94.23 ± 0.03 94.07 ± 0.06 94.33 ± 0.04
    search, n; hypervolume; %: mean, best of the archive; scored; minutes in all, to measure
    random                            10 0.678 ± 0.055                            780  1.97 0.00
    random, our choice                10 0.678 ± 0.055                            780  1.97 0.00
    largest                           10 0.190 ± 0.199                            780  1.97 0.00
    nsga2                             10 0.796 ± 0.010                            680  1.94 0.00
    regularised evolution             10 0.794 ± 0.010                            640  1.95 0.00
    ours, no tournament               10 0.763 ± 0.006                            640  1.90 0.00
    ours                              10 0.658 ± 0.086                            640  1.98 0.00
    random, steady first              10 0.244 ± 0.042 93.94 ± 0.27 94.22 ± 0.18  580  1.93 0.46
    nsga2, steady first               10 0.346 ± 0.016 94.07 ± 0.06 94.33 ± 0.04  400  1.96 0.88

1,500 candidates:

    search, n; %: handed over (known in n), first known; mean, best of the front
    random                            10 92.56 ± 0.43 ( 5) 92.63 ± 0.34 92.37 ± 0.52 93.11 ± 0.34
    random, our choice                10 93.51 ± 0.25 ( 4) 93.24 ± 0.55 92.37 ± 0.52 93.11 ± 0.34
    largest                           10 93.55 ± 0.13 ( 5) 93.69 ± 0.38 93.55 ± 0.13 93.55 ± 0.13
    nsga2                             10              ( 0) 92.69 ± 0.06 92.39 ± 0.01 93.76 ± 0.00
    regularised evolution             10 92.67        ( 1) 92.67 ± 0.00 92.37 ± 0.04 93.76 ± 0.00
    ours, no tournament               10 93.72 ± 0.12 (10) 93.72 ± 0.12 92.85 ± 0.14 93.02 ± 0.29
    random, steady first              10 94.22 ± 0.11 ( 8) 94.16 ± 0.17 94.03 ± 0.19 94.19 ± 0.16
    ours, steady first, no tournament 10 94.22 ± 0.00 (10) 94.22 ± 0.00 94.00 ± 0.10 94.22 ± 0.00
    search, n; hypervolume; %: mean, best of the archive; scored; minutes in all, to measure
    random                            10 0.724 ± 0.039                           1500  3.79 0.00
    random, our choice                10 0.724 ± 0.039                           1500  3.79 0.00
    largest                           10 0.261 ± 0.225                           1500  3.78 0.00
    nsga2                             10 0.814 ± 0.001                           1500  4.27 0.00
    regularised evolution             10 0.807 ± 0.008                           1500  4.47 0.00
    ours, no tournament               10 0.764 ± 0.005                           1500  4.41 0.00
    random, steady first              10 0.293 ± 0.038 94.01 ± 0.21 94.24 ± 0.13 1500  4.49 0.68
    ours, steady first, no tournament 10 0.333 ± 0.020 94.03 ± 0.00 94.34 ± 0.00 1500  5.04 0.71

By the later scores, 500 candidates:

    search, n; %: handed over (known in n), first known; mean, best of the front
    random, steady first              10 94.29 ± 0.05 ( 4) 94.00 ± 0.42 93.94 ± 0.44 94.08 ± 0.33
    ours, steady first, no tournament 10 94.22 ± 0.00 (10) 94.22 ± 0.00 93.90 ± 0.09 94.22 ± 0.00
    search, n; hypervolume; %: mean, best of the archive; scored; minutes in all, to measure
    random, steady first              10               93.94 ± 0.44 94.08 ± 0.33  500  2.53 0.41
    ours, steady first, no tournament 10               93.90 ± 0.09 94.22 ± 0.00  500  2.76 0.43

"ours" hands over by ranks in the three scores and in size, of all that it scored; "front's best" by
the sum of ranks in its front. In nine of ten searches it hands over the cell of six 3×3
convolutions (93.76), in which gradients explode in the depth that is trained. With "steady
gradients", the most expressive candidate is handed over of those whose gradients stay as they are;
its limits were set with ours of seeds 0 to 2 in view (`--first-seed 3` reports the others). With
"steady first", such candidates survive first in the search, which measures only what could survive,
and the choice by ranks takes them before others. The archive then holds all candidates that no
other dominates, without those that are known to be unsteady.

With this help ours hands over the same cell in every search. What random search hands over is as
good where the table knows it: in the same time in seven searches of ten, 94.15 ± 0.20. Its fronts
have one to five members; the table knows none of them in three searches. NSGA-II with this
library's operators hands over as good ones, and has better fronts. More candidates help random
search with steady ones first by 0.18 points on the mean of the first known, and random search by
the sum of log ranks by one; the other six change by at most 0.1.

Without steady ones first, tournaments lower the hypervolume (0.763 to 0.662), and eight of ten
searches hand over the same. With steady ones first few tournaments are held, as mostly no more
steady candidates than places meet. By the later scores all searches of ours hand over one other
cell, of the same accuracy; the mean of its fronts is 0.1 lower, and a search takes 1.4 times as
long. At an earlier commit, a training of the ten best for three epochs on 10,000 images chose worse
ones, as it prefers what learns fast without depth: 93.36 ± 0.00 (n = 5).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.command import machine, parser, present
from common.meter import Meter
from common.nasbench201 import load_table
from common.remembered import RememberedProblem
from common.rows import read_rows, with_deviation
from common.searches import SEARCHES, Outcome
from pymoo_nas.comparison._measures import Box
from pymoo_nas.scores import PAPER_OBJECTIVES
from pymoo_nas.spaces import CellSpace, NASBench201Space, join_truth
from pymoo_nas.spaces.nasbench201._genotype import connected_representatives

ACCURACY = "cifar10_test"

COLUMNS = ("accuracy", "first_known_accuracy", "front_mean", "front_best")
ARCHIVE = ("archive_mean", "archive_best")

SPACES: dict[str, Any] = {"nasbench201": NASBench201Space, "cell": CellSpace}


def known_accuracies(table: Path | None) -> pd.DataFrame:
    """Genotypes and accuracies in %; none without a table."""
    if table is None:
        return pd.DataFrame({"genotype": [], ACCURACY: np.empty(0)})
    return load_table(table).rename(columns={"arch": "genotype"})[["genotype", ACCURACY]]


def joined(individuals: list[Any], accuracies: pd.DataFrame, space: Any) -> pd.DataFrame:
    """The canonical texts of individuals and, where the table knows it, their accuracy."""
    texts = [space.format(space.canonical(individual.X[0])) for individual in individuals]
    return join_truth(pd.DataFrame({"genotype": texts}), accuracies, space)


def describe(
    outcome: Outcome, problem: RememberedProblem, accuracies: pd.DataFrame, box: Box | None
) -> dict[str, Any]:
    """The columns that tell how good an outcome is; hypervolume as a share of the box."""
    order, front, archive = (
        joined(individuals, accuracies, problem.search_space)
        for individuals in (outcome.order, outcome.front, outcome.archive)
    )
    known = order.dropna()
    of_front = front[ACCURACY].dropna()
    objectives = np.array([problem.score_genotype(i.X[0]).values for i in outcome.front])
    return {
        "scored": outcome.n_scored,
        "handed_over": order["genotype"].iloc[0],
        "accuracy": order[ACCURACY].iloc[0],
        "first_known": "" if known.empty else known["genotype"].iloc[0],
        "first_known_accuracy": np.nan if known.empty else known[ACCURACY].iloc[0],
        "place": 0 if known.empty else 1 + int(known.index[0]),
        "front": len(front),
        "front_known": len(of_front),
        "front_mean": of_front.mean(),
        "front_best": of_front.max(),
        "archive": len(archive),
        "archive_mean": archive[ACCURACY].mean(),
        "archive_best": archive[ACCURACY].max(),
        "hypervolume": np.nan if box is None else box.hypervolume(objectives),
    }


def clocks(problem: RememberedProblem) -> list[Meter]:
    """The time of scores and short trainings, and that of measurements."""
    measurements = [] if problem.measurements is None else [problem.measurements.meter]
    return [problem.meter, *measurements]


def timed(problem: RememberedProblem, search: Callable[[], Outcome]) -> tuple[Outcome, Any]:
    """A search and its seconds: to score, to measure, and all others.

    What is remembered has the seconds that it once took, and is no part of the others.
    """
    for clock in clocks(problem):
        clock.begin()
    started = time.process_time()
    outcome = search()
    taken = time.process_time() - started
    scoring, *measuring = (clock.charged for clock in clocks(problem))
    others = taken - sum(clock.spent for clock in clocks(problem))
    return outcome, {"seconds": others, "measuring": sum(measuring), "scoring": scoring}


def score_every_class(problem: RememberedProblem) -> None:
    """Score every connected class of NAS-Bench-201 into the memory, where it is not there yet."""
    genotypes = connected_representatives()
    for index, genotype in enumerate(genotypes, start=1):
        problem.score_genotype(genotype)
        if index % 500 == 0:
            print(f"{index} of {len(genotypes)}", flush=True)


def box_of(problem: RememberedProblem) -> Box | None:
    """Best and median of each objective over all classes: the box of the volume, if all are known.

    With fewer it would depend on the searches that were held before.
    """
    if len(problem.known) < len(connected_representatives()):
        return None
    values = np.array([s.values for s in problem.known.values() if not s.degenerate])
    return Box(values.min(0), np.median(values, axis=0))


def searched(
    of: argparse.Namespace, problem: RememberedProblem, accuracies: pd.DataFrame
) -> pd.DataFrame:
    """The rows of the file, after the searches that it lacks are held."""
    box = box_of(problem)
    rows = read_rows(of.out, ["handed_over", "first_known"]) if of.out.exists() else pd.DataFrame()
    done = set(zip(rows["rival"], rows["seed"], strict=True)) if len(rows) else set()
    for seed in range(of.first_seed, of.seeds):
        for rival in of.rivals:
            if (rival, seed) in done:
                continue
            search = partial(SEARCHES[rival], problem, of.candidates, seed)
            outcome, seconds = timed(problem, search)
            row = {"rival": rival, "seed": seed, "space": of.space}
            row |= describe(outcome, problem, accuracies, box) | seconds
            rows = pd.concat([rows, pd.DataFrame([row])], ignore_index=True)
            rows.to_csv(of.out, index=False)
    return rows


def report(rows: pd.DataFrame) -> None:
    """Two tables of one line per rival, mean ± standard deviation over seeds."""
    rivals = list(rows.groupby("rival", sort=False))
    print("search, n; %: handed over (known in n), first known; mean, best of the front")
    for name, group in rivals:
        accuracies = [f"{with_deviation(group[column], 2):12s}" for column in COLUMNS]
        accuracies[0] += f" ({group['accuracy'].count():2d})"
        print(f"{name:33s} {len(group):2d} {' '.join(accuracies)}".rstrip())
    print(
        "search, n; hypervolume; %: mean, best of the archive; scored; minutes in all, to measure"
    )
    for name, group in rivals:
        measuring = group["measuring"].mean() / 60
        in_all = group[["seconds", "scoring", "measuring"]].sum(axis=1).mean() / 60
        archive = " ".join(f"{with_deviation(group[column], 2):12s}" for column in ARCHIVE)
        print(
            f"{name:33s} {len(group):2d} {with_deviation(group['hypervolume'], 3):13s} {archive} "
            f"{group['scored'].mean():4.0f} {in_all:5.2f} {measuring:4.2f}"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Search, write rows, print a table."""
    arguments = parsed(argv)
    space = SPACES[arguments.space]()
    problem = RememberedProblem(
        arguments.cifar,
        arguments.memory,
        search_space=space,
        n_images=arguments.images,
        n_inits=arguments.inits,
        max_params=arguments.max_params,
        max_flops=arguments.max_flops,
        gradients=arguments.gradients,
        objectives=arguments.objectives,
    )
    accuracies = known_accuracies(arguments.table)
    if arguments.every_class:
        score_every_class(problem)
    n_classes = len({space.canonical(space.parse(text)) for text in accuracies["genotype"]})
    print(
        f"{machine()}; {arguments.space}, {arguments.candidates} candidates, {n_classes} classes "
        "with known accuracy"
    )
    rows = searched(arguments, problem, accuracies)
    asked = rows["rival"].isin(arguments.rivals) & (rows["seed"] >= arguments.first_seed)
    report(rows[asked])


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the command line."""
    numbers = {"candidates": 500, "first_seed": 0, "seeds": 5, "images": 64, "inits": 2}
    of = parser(__doc__, "cifar", "memory", "out", **numbers)
    of.add_argument("--table", type=present)
    of.add_argument("--space", choices=SPACES, default="nasbench201")
    of.add_argument("--rivals", nargs="+", choices=SEARCHES, default=list(SEARCHES))
    of.add_argument("--every-class", action="store_true", help="score every class before")
    of.add_argument("--objectives", nargs="+", default=PAPER_OBJECTIVES)
    of.add_argument("--gradients", type=Path, help="file of measurements, for steady ones first")
    of.add_argument("--max-params", type=int)
    of.add_argument("--max-flops", type=int)
    return of.parse_args(argv)


if __name__ == "__main__":
    main()
