"""Which search strategy hands over the best architecture, and how long does each take?

Every strategy of common/searches.py scores through one problem, with the same probe and the same
initial weights; only the seed of the search differs. On NAS-Bench-201 the architecture that it
hands over is looked up in the table of trained accuracies, by isomorphism class: the mean where
several members were trained. What the table does not hold is reported as unknown; with a partial
table, the first one in the strategy's own order that is known is reported too.

One row per rival and seed is appended to a CSV file, so that the study can be interrupted. With
``--every-class`` each connected class of NAS-Bench-201 (6,461 of 6,466 isomorphism classes) is
scored into the memory before; the searches then take seconds. What is remembered counts with the
time that it takes: candidates and measurements of gradients with the median of 20 of them. Minutes
in all are those of scoring, measuring, search, tournaments and choice.

Commands; their rows are kept in rows/rivals (the first takes 20 minutes, the others a few):
    python studies/rivals.py --cifar PATH/cifar10.npz --table PATH/nasbench201_5000.csv \
        --memory paper_scores.csv --gradients gradients.csv --every-class --out paper.csv \
        --seeds 10 --rivals NAMES
    ... --out same_time.csv --candidates 640 --rivals NAMES
    ... --out same_time.csv --candidates 400 --rivals "nsga2, steady first"
    ... --out more.csv --candidates 1500 --rivals NAMES
    ... --memory later_scores.csv --objectives ntk_entropy participation correlation_entropy \
        --out later.csv --rivals "ours, steady first, no tournament" "random, steady first"

AMD EPYC virtual machine, another study on its second core; pymoo_nas 0.1.0, torch 2.14.1+cu130,
Python 3.11.7, 2 cores, 1 threads; N = 64, R = 2; 2,628 of 6,466 classes with known accuracy, the
best 94.37; a candidate takes 0.14 s to score, by the later scores 0.23 s. The hypervolume is a
share of the box between the best and the median of each score. 500 candidates, te-nas 88 networks
of all operations; seeds 0 to 9:

    search, n; %: handed over (of so many), first known; mean, best of the front
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
    random                            10 0.651 ± 0.060                            500  1.1  0.0
    random, our choice                10 0.651 ± 0.060                            500  1.2  0.0
    largest                           10 0.206 ± 0.210                            500  1.2  0.0
    nsga2                             10 0.791 ± 0.013                            500  1.2  0.0
    regularised evolution             10 0.787 ± 0.013                            500  1.2  0.0
    te-nas                            10 0.364 ± 0.118                             88  0.5  0.0
    ours, no tournament               10 0.763 ± 0.009                            500  1.2  0.0
    ours                              10 0.662 ± 0.069                            500  1.2  0.0
    ours, front's best                10 0.662 ± 0.069                            500  1.3  0.0
    ours, no learned mutation         10 0.713 ± 0.046                            500  1.3  0.0
    ours, no ntk                      10 0.625 ± 0.099                            500  1.3  0.0
    ours, no activation               10 0.626 ± 0.025                            500  1.3  0.0
    ours, no correlation              10 0.708 ± 0.035                            500  1.3  0.0
    random, steady gradients          10 0.651 ± 0.060                            500  1.2  0.0
    ours, steady gradients            10 0.662 ± 0.069                            500  1.3  0.1
    random, steady first              10 0.239 ± 0.041 94.11 ± 0.31 94.22 ± 0.18  500  1.5  0.3
    nsga2, steady first               10 0.355 ± 0.009 94.06 ± 0.04 94.34 ± 0.00  500  1.9  0.7
    ours, steady first, no tournament 10 0.333 ± 0.025 94.04 ± 0.04 94.34 ± 0.00  500  1.5  0.3
    ours, steady first                10 0.336 ± 0.015 94.04 ± 0.01 94.34 ± 0.00  500  1.5  0.3

The same minutes for those that measure no gradients, with 640 candidates, and for NSGA-II with
steady ones first, with 400:

    search, n; %: handed over (of so many), first known; mean, best of the front
    random                            10 89.64 ± 3.68 ( 2) 91.60 ± 2.45 92.12 ± 0.93 93.15 ± 0.35
    random, our choice                10 93.61 ± 0.10 ( 4) 93.29 ± 0.42 92.12 ± 0.93 93.15 ± 0.35
    largest                           10 93.70 ± 0.35 ( 6) 93.58 ± 0.30 93.70 ± 0.35 93.70 ± 0.35
    nsga2                             10              ( 0) 92.67 ± 0.16 92.50 ± 0.41 93.67 ± 0.28
    regularised evolution             10 92.67 ± 0.00 ( 5) 92.67 ± 0.00 92.55 ± 0.28 93.76 ± 0.00
    ours, no tournament               10 93.72 ± 0.12 (10) 93.72 ± 0.12 92.86 ± 0.13 93.05 ± 0.29
    nsga2, steady first               10 94.23 ± 0.03 (10) 94.23 ± 0.03 94.07 ± 0.06 94.33 ± 0.04
    search, n; hypervolume; %: mean, best of the archive; scored; minutes in all, to measure
    random                            10 0.659 ± 0.058                            640  1.5  0.0
    random, our choice                10 0.659 ± 0.058                            640  1.5  0.0
    largest                           10 0.190 ± 0.199                            640  1.5  0.0
    nsga2                             10 0.795 ± 0.011                            640  1.5  0.0
    regularised evolution             10 0.794 ± 0.010                            640  1.5  0.0
    ours, no tournament               10 0.763 ± 0.006                            640  1.5  0.0
    nsga2, steady first               10 0.346 ± 0.016 94.07 ± 0.06 94.33 ± 0.04  400  1.6  0.6

Three times as many candidates, beside two other processes, 0.22 s to score each:

    search, n; %: handed over (of so many), first known; mean, best of the front
    random                            10 92.56 ± 0.43 ( 5) 92.63 ± 0.34 92.37 ± 0.52 93.11 ± 0.34
    random, our choice                10 93.51 ± 0.25 ( 4) 93.24 ± 0.55 92.37 ± 0.52 93.11 ± 0.34
    largest                           10 93.55 ± 0.13 ( 5) 93.69 ± 0.38 93.55 ± 0.13 93.55 ± 0.13
    nsga2                             10              ( 0) 92.69 ± 0.06 92.39 ± 0.01 93.76 ± 0.00
    regularised evolution             10 92.67        ( 1) 92.67 ± 0.00 92.37 ± 0.04 93.76 ± 0.00
    ours, no tournament               10 93.72 ± 0.12 (10) 93.72 ± 0.12 92.85 ± 0.14 93.02 ± 0.29
    random, steady first              10 94.22 ± 0.11 ( 8) 94.16 ± 0.17 94.03 ± 0.19 94.19 ± 0.16
    ours, steady first, no tournament 10 94.22 ± 0.00 (10) 94.22 ± 0.00 94.00 ± 0.10 94.22 ± 0.00
    search, n; hypervolume; %: mean, best of the archive; scored; minutes in all, to measure
    random                            10 0.724 ± 0.039                           1500  5.6  0.0
    random, our choice                10 0.724 ± 0.039                           1500  5.5  0.0
    largest                           10 0.261 ± 0.225                           1500  5.5  0.0
    nsga2                             10 0.814 ± 0.001                           1500  5.6  0.0
    regularised evolution             10 0.807 ± 0.008                           1500  5.6  0.0
    ours, no tournament               10 0.764 ± 0.005                           1500  5.6  0.0
    random, steady first              10 0.293 ± 0.038 94.01 ± 0.21 94.24 ± 0.13 1500  6.4  0.8
    ours, steady first, no tournament 10 0.333 ± 0.020 94.03 ± 0.00 94.34 ± 0.00 1500  6.4  0.8

By the later scores, 500 candidates:

    search, n; %: handed over (of so many), first known; mean, best of the front
    ours, steady first, no tournament 10 94.22 ± 0.00 (10) 94.22 ± 0.00 93.90 ± 0.09 94.22 ± 0.00
    random, steady first              10 94.29 ± 0.05 ( 4) 94.00 ± 0.42 93.94 ± 0.44 94.08 ± 0.33
    search, n; hypervolume; %: mean, best of the archive; scored; minutes in all, to measure
    ours, steady first, no tournament 10 0.389 ± 0.005 93.90 ± 0.09 94.22 ± 0.00  500  2.2  0.3
    random, steady first              10 0.202 ± 0.045 93.94 ± 0.44 94.08 ± 0.33  500  2.2  0.3

"ours" hands over by ranks in the three scores and in size, of all that it scored; "front's best" by
the sum of ranks in its front. What the searches agree on by ranks is the cell of six 3×3
convolutions (93.76), in which gradients explode in the depth that is trained. With "steady
gradients", the most expressive candidate is handed over of those whose gradients stay as they are;
its limits were set with ours of seeds 0 to 2 in view (`--first-seed 3` reports the others). With
"steady first", such candidates survive first in the search, which measures only what could survive,
and the choice by ranks takes them before others. The archive then holds all steady candidates that
no other dominates. Random search with the same help hands over as good ones in most searches, for
the same minutes: 0.24 less on the mean of the first known. The table knows no member of its front
in three searches of ten. Its fronts have one to five members, of which many are as good as ours.
NSGA-II with this library's operators finds as good ones too.

More candidates do not help those that measure nothing: with 640 all are where they are with 500,
and with 1,500 all but the first, by the sum of log ranks. Random search with steady ones first
gains 0.18 points by 1,500. Tournaments lower the hypervolume and change nothing in what is handed
over. Later scores hand over the same in every search; their fronts are 0.1 worse, and they take
half again as long. At an earlier commit, a training of the ten best for three epochs on 10,000
images chose worse ones, as it prefers what learns fast without depth: 93.36 ± 0.00 (n = 5).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.command import machine, parser
from common.nasbench201 import load_table
from common.remembered import RememberedProblem
from common.rows import read_rows, with_deviation
from common.searches import SEARCHES, Outcome, sampled
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
    outcome: Outcome, problem: RememberedProblem, accuracies: pd.DataFrame, box: Box
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
        "hypervolume": box.hypervolume(objectives),
    }


def seconds_of_a_candidate(problem: RememberedProblem, n: int = 20) -> float:
    """Median wall time of scoring one random candidate anew."""
    rng = np.random.default_rng(0)
    drawn = [problem.search_space.sample(rng) for _ in range(n)]
    return float(np.median([problem.scorer.score(genotype).seconds for genotype in drawn]))


def measured(problem: RememberedProblem, seconds: dict[int, float]) -> dict[str, Any]:
    """The columns that tell what a search has measured, and what that takes."""
    if problem.measurements is None:
        return {"measuring": 0.0}
    images = problem.measurements.images
    taken = sum(seconds[count] * n for count, n in images.items())
    return {**{f"of {count}": images.get(count, 0) for count in seconds}, "measuring": taken}


def begun_anew(problem: RememberedProblem) -> None:
    """Count from nothing what the next search scores and measures."""
    problem.spent = 0.0
    if problem.measurements is not None:
        problem.measurements.images, problem.measurements.spent = {}, 0.0


def score_every_class(problem: RememberedProblem) -> None:
    """Score every connected class of NAS-Bench-201 into the memory, where it is not there yet."""
    genotypes = connected_representatives()
    for index, genotype in enumerate(genotypes, start=1):
        problem.score_genotype(genotype)
        if index % 500 == 0:
            print(f"{index} of {len(genotypes)}", flush=True)


def box_of(problem: RememberedProblem) -> Box:
    """Best and median of each objective over all that is remembered: the box of the volume."""
    values = np.array([s.values for s in problem.known.values() if not s.degenerate])
    return Box(values.min(0), np.median(values, axis=0))


def searched(
    of: argparse.Namespace,
    problem: RememberedProblem,
    accuracies: pd.DataFrame,
    per_candidate: float,
) -> pd.DataFrame:
    """The rows of the file, after the searches that it lacks are held."""
    box = box_of(problem)
    of_images = {} if problem.measurements is None else problem.measurements.seconds()
    rows = read_rows(of.out, ["handed_over", "first_known"]) if of.out.exists() else pd.DataFrame()
    done = set(zip(rows["rival"], rows["seed"], strict=True)) if len(rows) else set()
    for seed in range(of.first_seed, of.seeds):
        for rival in of.rivals:
            if (rival, seed) in done:
                continue
            begun_anew(problem)
            start = time.perf_counter()
            outcome = SEARCHES[rival](problem, of.candidates, seed)
            seconds = time.perf_counter() - start
            # What is new is told by "scoring" and "measuring", as what is remembered.
            spent = problem.spent + (problem.measurements.spent if problem.measurements else 0.0)
            row = {"rival": rival, "seed": seed, "space": of.space}
            row |= describe(outcome, problem, accuracies, box)
            row["seconds"] = seconds - spent if outcome.remembers else seconds
            row |= measured(problem, of_images)
            row["scoring"] = per_candidate * outcome.n_scored if outcome.remembers else 0.0
            rows = pd.concat([rows, pd.DataFrame([row])], ignore_index=True)
            rows.to_csv(of.out, index=False)
    return rows


def report(rows: pd.DataFrame) -> None:
    """Two tables of one line per rival, mean ± standard deviation over seeds."""
    rivals = list(rows.groupby("rival", sort=False))
    print("search, n; %: handed over (of so many), first known; mean, best of the front")
    for name, group in rivals:
        accuracies = [spread(group[column]) for column in COLUMNS]
        accuracies[0] += f" ({group['accuracy'].count():2d})"
        print(f"{name:33s} {len(group):2d} {' '.join(accuracies)}".rstrip())
    print(
        "search, n; hypervolume; %: mean, best of the archive; scored; minutes in all, to measure"
    )
    for name, group in rivals:
        measuring = group["measuring"]
        in_all = (group["seconds"] + group["scoring"] + measuring).mean() / 60
        print(
            f"{name:33s} {len(group):2d} {with_deviation(group['hypervolume'], 3):13s} "
            f"{' '.join(spread(group[column]) for column in ARCHIVE)} "
            f"{group['scored'].mean():4.0f} {in_all:4.1f} {measuring.mean() / 60:4.1f}"
        )


def spread(values: pd.Series) -> str:
    """Mean ± standard deviation of what is known; blank where nothing is."""
    known = values.dropna()
    return f"{with_deviation(known, 2) if len(known) else '':12s}"


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
    if not problem.known:
        sampled(problem, arguments.candidates, seed=0)  # the box needs scores
    n_classes = len({space.canonical(space.parse(text)) for text in accuracies["genotype"]})
    per_candidate = seconds_of_a_candidate(problem)
    print(
        f"{machine()}; {arguments.space}, {arguments.candidates} candidates, {n_classes} classes "
        f"with known accuracy; {per_candidate:.3f} s to score a candidate"
    )
    rows = searched(arguments, problem, accuracies, per_candidate)
    asked = rows["rival"].isin(arguments.rivals) & (rows["seed"] >= arguments.first_seed)
    report(rows[asked])


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the command line."""
    numbers = {"candidates": 500, "first_seed": 0, "seeds": 5, "images": 64, "inits": 2}
    of = parser(__doc__, "cifar", "memory", "out", **numbers)
    of.add_argument("--table", type=Path)
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
