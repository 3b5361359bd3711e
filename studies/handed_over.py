"""Do the scores still rank networks that searches hand over at the budgets of budgets.py?

Among random cells the scores agree with the accuracy (cells.py). Here each network is the best of
some 600 candidates by scores already, or by a choice after them. They are those of budgets.py that
repeat one cell of the paper's operations and halve the map between cells, but for the largest of
random candidates, which no score chose. Their accuracy is that on images held out of four epochs of
training; "withheld" is that of the same training on images that nothing else has seen. Scores are
means of three initialisations.

Command; its rows are kept in rows/handed_over:
    python studies/handed_over.py --cifar PATH/cifar10.npz --rows studies/rows/budgets \
        --work studies/rows/handed_over

AMD EPYC virtual machine, two studies beside, 2 minutes. Kendall's τ, 1 where the better score (the
larger network) always has the higher accuracy, and its 95 % bootstrap interval over networks:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads
    A: 24 networks; B: 16 networks; C: 10 networks
    ntk                  -0.36 (-0.62 to -0.04)  -0.31 (-0.67 to  0.11)   0.02 (-0.56 to  0.49)
    activation           -0.21 (-0.50 to  0.13)  -0.28 (-0.65 to  0.13)   0.11 (-0.48 to  0.66)
    correlation          -0.08 (-0.42 to  0.31)   0.38 ( 0.06 to  0.69)   0.02 (-0.50 to  0.46)
    balanced_ntk         -0.34 (-0.61 to  0.02)  -0.26 (-0.59 to  0.12)   0.16 (-0.37 to  0.71)
    ntk_entropy          -0.23 (-0.53 to  0.09)   0.29 (-0.18 to  0.76)   0.24 (-0.26 to  0.76)
    participation        -0.13 (-0.43 to  0.25)  -0.13 (-0.49 to  0.26)   0.33 (-0.23 to  0.84)
    correlation_entropy  -0.03 (-0.37 to  0.35)   0.34 (-0.04 to  0.67)   0.02 (-0.51 to  0.50)
    jacob_cov            -0.04 (-0.38 to  0.33)   0.41 ( 0.05 to  0.74)   0.07 (-0.43 to  0.47)
    synflow               0.01 (-0.34 to  0.35)  -0.54 (-0.74 to -0.30)   0.07 (-0.52 to  0.58)
    zico                  0.01 (-0.31 to  0.36)  -0.06 (-0.33 to  0.30)   0.24 (-0.34 to  0.79)
    params                0.03 (-0.24 to  0.32)   0.02 (-0.30 to  0.40)   0.56 ( 0.10 to  0.84)
    flops                -0.28 (-0.53 to -0.01)   0.18 (-0.22 to  0.54)   0.60 ( 0.24 to  0.86)
    acts                  0.09 (-0.19 to  0.39)   0.10 (-0.33 to  0.50)   0.42 (-0.05 to  0.80)
    withheld              0.58 ( 0.32 to  0.80)   0.71 ( 0.46 to  0.90)  -0.02 (-0.79 to  0.65)

No score agrees with the accuracy within more than one budget. The condition number and the
multiply-accumulates disagree with it within A, `synflow` within B; `correlation` and `jacob_cov`
agree within B alone, and within C no score does, but parameters and multiply-accumulates do (n =
10). (Of 39 such intervals two miss 0 by chance.) Random cells had τ of 0.24 by the condition number
and of 0.44 by the linear regions within A, and of 0.55 and 0.53 within larger limits (cells.py). A
choice by a score leaves little to tell by it; networks chosen by different scores stand together
here, which makes τ smaller, and with so few of them a weak agreement cannot be told from none: both
accuracies of one training agree by 0.58 and 0.71 only, and not at all within C, where the networks
are nearly alike. So this gives no reason to expect better networks from a longer search by the same
scores; it does not tell that other scores are worth nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from common.budget_searches import KINDS, architecture_of
from common.command import machine, parser, present
from common.ranks import interval, tau
from common.rows import read_rows, rows_by
from pymoo_nas.datasets import load_dataset
from pymoo_nas.scores import (
    LATER_OBJECTIVES,
    PAPER_OBJECTIVES,
    draw_probe,
    read_objectives,
    score_builds,
)

ELSEWHERE = ("inside", "light", "separable", "front", "staged", "staged-chosen", "largest")
"""Kinds of other networks: another halving, other operations, other cells at other stages, or no
choice by scores."""

SCORES = (*PAPER_OBJECTIVES, "balanced_ntk", *LATER_OBJECTIVES, "jacob_cov", "synflow", "zico")
SIZES = ("params", "flops", "acts")
WITHHELD = "withheld"


def handed_over(rows: pd.DataFrame) -> pd.DataFrame:
    """The trainings of networks of one repeated cell; of equal networks the first."""
    kinds = [kind for kind in KINDS if kind not in ELSEWHERE]
    return rows[rows["kind"].isin(kinds)].drop_duplicates(["budget", "model", *SIZES])


def score_table(of: Any, trainings: pd.DataFrame) -> pd.DataFrame:
    """One row per training: its sizes, accuracy and scores; kept ones are not measured again."""
    dataset = load_dataset(of.cifar)
    probe = draw_probe(dataset, of.images, 0)
    objectives = read_objectives(SCORES)
    by_rival = {one["rival"]: one for one in trainings.to_dict("records")}

    def scored(rival: str) -> dict[str, Any]:
        one = by_rival[rival]
        architecture = architecture_of(one["kind"], one["model"])
        builds = [
            partial(architecture.build, "scored", dataset, seed=seed) for seed in range(of.inits)
        ]
        found = score_builds(builds, probe, objectives=objectives)
        return {
            **{name: one[name] for name in ("budget", "kind", *SIZES)},
            "accuracy": one["validation"],
            WITHHELD: one["accuracy"],
            **found.objectives,
        }

    of.work.mkdir(parents=True, exist_ok=True)
    rows = rows_by(of.work / "scores.csv", "rival", by_rival, scored)
    return rows[rows["rival"].isin(by_rival)]


def report(rows: pd.DataFrame, drawn: int) -> None:
    """A line for each score and size, of each budget with as many networks as scores."""
    groups = {
        budget: group for budget, group in rows.groupby("budget") if len(group) >= len(SCORES)
    }
    print("; ".join(f"{budget!s}: {len(group)} networks" for budget, group in groups.items()))
    for name in (*SCORES, *SIZES, WITHHELD):
        told = []
        for group in groups.values():
            values = group[name].to_numpy(float) * (1 if name in SCORES else -1)
            accuracy = group["accuracy"].to_numpy(float)
            low, high = interval(values, accuracy, drawn)
            told.append(f"{tau(values, accuracy):5.2f} ({low:5.2f} to {high:5.2f})")
        print(f"{name:20s} {'  '.join(told)}")


def main(argv: Sequence[str] | None = None) -> None:
    """Score, print."""
    made = parser(__doc__, "cifar", "work", images=64, inits=3, drawn=500)
    made.add_argument("--rows", type=present, required=True, help="a folder of budgets.py")
    of = made.parse_args(argv)
    trainings = read_rows(of.rows / "trained-4.csv", ["rival", "model"])
    print(machine())
    report(score_table(of, handed_over(trainings)), of.drawn)


if __name__ == "__main__":
    main()
