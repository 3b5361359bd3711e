"""Which search strategy hands over the best architecture, for the same number of candidates?

Every strategy of common/searches.py scores through one problem, with the same probe and the same
initial weights; only the seed of the search differs. On NAS-Bench-201 the architecture that it
hands over is looked up in the table of trained accuracies, by isomorphism class: the mean where
several members were trained. What the table does not hold is reported as unknown; with a partial
table, the first one in the strategy's own order that is known is reported too.

One row per rival and seed is appended to a CSV file, so that the study can be interrupted. With
``--every-class`` each connected class of NAS-Bench-201 (6,461 of 6,466 isomorphism classes) is
scored into the memory before; the searches then take seconds.

Commands, the seeds as in the column n; the last reports the searches of which the limits of "steady
gradients" knew nothing:
    python studies/rivals.py --cifar PATH/cifar10.npz --table PATH/nasbench201_5000.csv \
        --memory nasbench201_scores.csv --every-class --out rivals.csv --seeds 20 --rivals NAMES
    ... --first-seed 3 --seeds 10 --rivals "ours, steady gradients" "random, steady gradients"

Seeds 0 to n − 1, AMD EPYC virtual machine, beside other work; pymoo_nas 0.1.0, torch 2.14.1+cu130,
Python 3.11.7, 2 cores, 1 thread; N = 64, R = 2, 500 candidates (te-nas 88 networks of all
operations), 2,628 of 6,466 classes with known accuracy. Columns: n; accuracy of what is handed over
(of how many seeds it is known); of the first known one; of the best known of the front; hypervolume
within the best and the median of each score; seconds, without scoring:

    random                    20 91.55 ± 2.57  ( 5) 92.16 ± 1.97   93.21 ± 0.54  0.641 ± 0.052   0.0
    random, our choice        20 93.52 ± 0.13  ( 7) 93.30 ± 0.41   93.21 ± 0.54  0.641 ± 0.052   0.1
    largest                   20 93.62 ± 0.30  (10) 93.52 ± 0.37   93.62 ± 0.30  0.249 ± 0.185   0.0
    nsga2                     20 92.74 ± 0.11  ( 3) 92.73 ± 0.14   93.63 ± 0.28  0.788 ± 0.010   0.2
    regularised evolution     20 92.67 ± 0.00  ( 8) 92.67 ± 0.00   93.73 ± 0.13  0.790 ± 0.011   0.7
    ours, no tournament       20 93.72 ± 0.12  (19) 93.70 ± 0.14   93.00 ± 0.28  0.763 ± 0.007   0.3
    ours                      10 93.72 ± 0.12  (10) 93.72 ± 0.12   92.62 ± 0.35  0.699 ± 0.045  15.3
    ours, steady gradients    10 94.07 ± 0.10  ( 4) 94.12 ± 0.14   92.62 ± 0.35  0.699 ± 0.045 131.6
      of seeds 3 to 9          7 94.05         ( 1) 94.13 ± 0.16   92.57 ± 0.25  0.694 ± 0.049 136.0
    random, steady gradients  10 94.22 ± 0.16  ( 5) 93.98 ± 0.42   93.09 ± 0.46  0.651 ± 0.060 227.7
      of seeds 3 to 9          7 94.26 ± 0.15  ( 4) 94.07 ± 0.28   93.04 ± 0.45  0.644 ± 0.071 226.1
    ours, short training       5 93.36 ± 0.00  ( 5) 93.36 ± 0.00   92.72 ± 0.63  0.695 ± 0.047  75.0
    ours, front's best         5 92.28         ( 1) 92.72 ± 0.63   92.72 ± 0.63  0.695 ± 0.047  12.6
    ours, no learned mutation  5 93.76 ± 0.00  ( 4) 93.68 ± 0.18   92.84 ± 0.85  0.636 ± 0.112  12.1
    ours, no ntk               5 93.76 ± 0.00  ( 5) 93.76 ± 0.00   93.17 ± 0.00  0.576 ± 0.059  12.5
    ours, no activation        5 93.66 ± 0.20  ( 4) 93.68 ± 0.18   92.24         0.587 ± 0.056  11.2
    ours, no correlation       5 93.76 ± 0.00  ( 5) 93.76 ± 0.00   92.67 ± 0.19  0.662 ± 0.035  12.3
    te-nas                     5 93.98         ( 1) 93.98          93.98         0.346 ± 0.066  33.2

What the choice by gradients costs beside the scoring, in one run of five searches on 16 cores
(Intel Xeon, torch 2.11.0+cu130, Python 3.12.3, one thread each, the first 12,000 training images;
`--rivals "ours, steady gradients" --seeds 5`), seconds of seeds 0 to 4:

    search and choice  199.6  244.3  178.7  168.2  203.3
    in all             372.6  444.7  378.5  385.8  420.3

Rivals that spend the time of the choice by gradients on more candidates, which takes the same
machine and versions 0.511 s each, beside other work: 1,500 take 766 s, 1,000 take 511 s. The search
with that choice takes 669 ± 123 s: 294 ± 19 s to score its 500 candidates, 375 ± 128 s for search
and choice. All classes were in the memory before. Columns as above, with the number of candidates
in place of the seconds (`--candidates 1500 --seeds 20`; `--candidates 1000 --seeds 20`; `--seeds 5
--rivals "ours, steady gradients"`):

    random                    20 92.57 ± 0.37  ( 8) 92.78 ± 0.50   93.34 ± 0.38  0.726 ± 0.033  1500
    random, our choice        20 93.63 ± 0.20  ( 9) 93.41 ± 0.44   93.34 ± 0.38  0.726 ± 0.033  1500
    largest                   20 93.66 ± 0.13  (11) 93.67 ± 0.28   93.66 ± 0.13  0.342 ± 0.214  1500
    nsga2                     20               ( 0) 92.74 ± 0.10   93.76 ± 0.00  0.814 ± 0.000  1500
    regularised evolution     20 92.67         ( 1) 92.67 ± 0.00   93.76 ± 0.00  0.809 ± 0.007  1500
    ours, no tournament       20 93.76 ± 0.00  (20) 93.76 ± 0.00   93.06 ± 0.37  0.769 ± 0.007  1394
    random                    20 90.08 ± 3.52  ( 4) 91.88 ± 2.12   93.32 ± 0.34  0.688 ± 0.050  1000
    random, our choice        20 93.42 ± 0.49  ( 8) 93.28 ± 0.48   93.32 ± 0.34  0.688 ± 0.050  1000
    largest                   20 93.69 ± 0.28  ( 9) 93.62 ± 0.29   93.69 ± 0.28  0.262 ± 0.186  1000
    nsga2                     20               ( 0) 92.75 ± 0.10   93.76 ± 0.00  0.808 ± 0.008  1000
    regularised evolution     20 92.67         ( 1) 92.67 ± 0.00   93.76 ± 0.00  0.805 ± 0.008  1000
    ours, no tournament       20 93.72 ± 0.12  (20) 93.72 ± 0.12   93.03 ± 0.33  0.768 ± 0.008   993
    ours, steady gradients     5 94.19 ± 0.11  ( 4) 93.52 ± 1.51   93.04 ± 0.54  0.700 ± 0.045   500

In one of these five searches the table does not hold what is handed over, and the ninth of the list
is the first that it knows, with 90.82 %.

Searches in which steady candidates survive first: what could survive is measured in the search,
and the choice by ranks takes steady candidates before others. Random search has the same help. In
place of the hypervolume: mean and best of the known accuracies of the archive, which holds all
non-dominated steady candidates; then seconds to measure, and in all, with the scoring of the 500
candidates (beside other work; 0.586 s each). Accuracy, front mean and front best as above, the
front being that of the survivors (`--gradients gradients.csv --seeds 10 --rivals NAMES`):

    ours, steady first, no tournament  10 94.22 ± 0.00 (10) 94.22 ± 0.00  94.01 ± 0.08  94.23 ± 0.02
      archive 94.04 ± 0.04, best 94.34 ± 0.00    131.1 s to measure, 425.1 s in all
    random, steady first               10 94.19 ± 0.19 ( 6) 93.98 ± 0.41  94.11 ± 0.31  94.22 ± 0.18
      archive 94.11 ± 0.31, best 94.22 ± 0.18    128.5 s to measure, 422.7 s in all
    nsga2, steady first                10 94.22 ± 0.00 (10) 94.22 ± 0.00  94.06 ± 0.05  94.34 ± 0.00
      archive 94.06 ± 0.05, best 94.34 ± 0.00    302.4 s to measure, 596.4 s in all
    ours, steady first                 10 94.22 ± 0.00 (10) 94.22 ± 0.00  93.98 ± 0.10  94.23 ± 0.09
      archive 94.04 ± 0.01, best 94.34 ± 0.00    136.4 s to measure, 439.4 s in all

The hypervolumes are 0.328 ± 0.026, 0.239 ± 0.041, 0.356 ± 0.010 and 0.333 ± 0.019. The table knows
no member of the front of random search in three searches of ten.
Its fronts have one to five members, of which many are as good as ours; in what is handed over ours
is the same in every search, and random search hands over 0.24 less on the mean of the first known.

The same with later scores (`--objectives ntk_entropy participation correlation_entropy --memory
later_scores.csv --gradients gradients.csv --out later.csv --seeds 5`), 0.223 s to score a
candidate, another study on the second core. As the study prints it, with the first known accuracy,
mean and best of front and of archive, hypervolume, candidates, and seconds, those to measure among
the first; the rows are kept in rows/rivals:

    ours, steady first, no tournament n =  5   94.22 ± 0.00 ( 5)   94.22 ± 0.00 ( 5)
        93.88 ± 0.13 ( 5)   94.22 ± 0.00 ( 5)   93.88 ± 0.13 ( 5)   94.22 ± 0.00 ( 5)
        0.501 ± 0.006   500    61.0 s     0.0 s to measure   172.6 s in all
    random, steady first       n =  5   94.26 ± 0.06 ( 2)   93.87 ± 0.52 ( 5)   93.73 ± 0.46
        ( 5)   93.96 ± 0.38 ( 5)   93.73 ± 0.46 ( 5)   93.96 ± 0.38 ( 5)  0.318 ± 0.063   500
        71.2 s     0.0 s to measure   182.8 s in all

What is handed over is as good as by the paper's scores, 94.22. The fronts are slightly worse: the
archive of ours has 93.88 in the mean for 94.04, its best 94.22 for 94.34.

"ours" hands over by ranks in the three scores and in size, of all that it scored; "front's best" by
the sum of ranks in its front. The best of the table is 94.37. What the searches agree on by ranks
is the cell of six 3×3 convolutions (93.76), in which gradients explode in the depth that is
trained. Of the candidates whose gradients stay, "steady gradients" hands over the most expressive
one and reaches the target of 93.9; its limits were set with ours of seeds 0 to 2 in view, and the
other seeds do as well. The choice does most of that: among random candidates it finds as good ones,
though less reliably. A training of the ten best for three epochs on 10,000 images chooses worse
ones, as it prefers what learns fast without depth.
Tournaments lower the hypervolume and change nothing in what is handed over; with alphas that start
at zero, as in the paper, it was 0.396 ± 0.123 (n = 5, at an earlier commit).
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
from common.rows import read_rows
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
    """The columns that tell what a search has measured, and what that takes; begins anew."""
    measurements = problem.measurements
    if measurements is None:
        return {"measuring": 0.0}
    taken = sum(seconds[images] * n for images, n in measurements.images.items())
    columns = {f"of {images}": measurements.images.get(images, 0) for images in seconds}
    measurements.images, measurements.spent = {}, 0.0
    return {**columns, "measuring": taken}


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
    measured(problem, of_images)
    rows = read_rows(of.out, ["handed_over", "first_known"]) if of.out.exists() else pd.DataFrame()
    done = set(zip(rows["rival"], rows["seed"], strict=True)) if len(rows) else set()
    for seed in range(of.first_seed, of.seeds):
        for rival in of.rivals:
            if (rival, seed) in done:
                continue
            start = time.perf_counter()
            outcome = SEARCHES[rival](problem, of.candidates, seed)
            seconds = time.perf_counter() - start
            row = {"rival": rival, "seed": seed, "space": of.space}
            row |= describe(outcome, problem, accuracies, box)
            row["seconds"] = seconds - (problem.measurements.spent if problem.measurements else 0)
            row |= measured(problem, of_images)
            row["scoring"] = per_candidate * outcome.n_scored if outcome.remembers else 0.0
            rows = pd.concat([rows, pd.DataFrame([row])], ignore_index=True)
            rows.to_csv(of.out, index=False)
    return rows


def report(rows: pd.DataFrame) -> None:
    """One line per rival, mean ± standard deviation over seeds."""
    for name, group in rows.groupby("rival", sort=False):
        cells = [f"{name:26s} n = {len(group):2d}"]
        for column in (*COLUMNS, *(ARCHIVE if group["archive"].any() else ())):
            values = group[column].dropna()
            spread = values.std() if len(values) > 1 else float("nan")
            cells.append(f"{values.mean():6.2f} ± {spread:4.2f} ({len(values):2d})")
        cells.append(f"{group['hypervolume'].mean():5.3f} ± {group['hypervolume'].std():5.3f}")
        cells.append(f"{group['scored'].mean():4.0f}  {group['seconds'].mean():6.1f} s")
        in_all = group["seconds"] + group["scoring"] + group["measuring"]
        cells.append(
            f"{group['measuring'].mean():6.1f} s to measure  {in_all.mean():6.1f} s in all"
        )
        print("  ".join(cells))


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
