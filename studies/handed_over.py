"""Do the scores still rank networks that searches hand over at the budgets of budgets.py?

Among random cells at such limits the scores agree with the accuracy (cells.py). Here each network
is the best of some 600 candidates by scores already, or by a choice after them. They are those of
budgets.py that repeat one cell of the paper's operations and halve the map between cells; their
accuracy is that on images held out of four epochs of training, not that on the images withheld.
Scores are means of three initialisations.

Command; its rows are kept in rows/handed_over:
    python studies/handed_over.py --cifar PATH/cifar10.npz --rows studies/rows/budgets \
        --work studies/rows/handed_over

AMD EPYC virtual machine, two studies beside, 2 minutes. Kendall's τ, 1 where the better score (the
larger network) always has the higher accuracy, and its 95 % bootstrap interval over networks:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads
    A: 26 networks; B: 15 networks
    ntk                  -0.19 (-0.55 to  0.13)  -0.31 (-0.71 to  0.13)
    activation           -0.08 (-0.41 to  0.28)  -0.37 (-0.71 to  0.05)
    correlation           0.05 (-0.33 to  0.39)   0.37 ( 0.01 to  0.65)
    balanced_ntk         -0.18 (-0.54 to  0.18)  -0.30 (-0.63 to  0.07)
    ntk_entropy          -0.08 (-0.42 to  0.25)   0.28 (-0.23 to  0.71)
    participation         0.01 (-0.36 to  0.33)  -0.20 (-0.56 to  0.14)
    correlation_entropy   0.01 (-0.37 to  0.35)   0.31 (-0.07 to  0.65)
    jacob_cov             0.08 (-0.28 to  0.40)   0.41 ( 0.00 to  0.71)
    synflow               0.14 (-0.19 to  0.46)  -0.52 (-0.75 to -0.33)
    zico                  0.13 (-0.16 to  0.43)  -0.14 (-0.43 to  0.21)
    params               -0.08 (-0.41 to  0.22)  -0.02 (-0.39 to  0.38)
    flops                -0.35 (-0.57 to -0.11)   0.13 (-0.30 to  0.50)
    acts                  0.00 (-0.29 to  0.31)   0.04 (-0.42 to  0.49)

No score agrees with the accuracy within both budgets; most intervals hold 0. Random cells at the
limits had τ of 0.55 and 0.53 by the condition number and the linear regions (cells.py): a search
takes what the scores know, and among what is left they know nothing. So neither other scores of
this kind nor a longer search by them will make these networks better; the space, or trainings, may.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from common.budget_searches import KINDS, architecture_of
from common.command import machine, parser
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

ELSEWHERE = ("inside", "light", "separable", "front", "staged", "staged-chosen")
"""Kinds of other networks: another halving, other operations, other cells at other stages."""

SCORES = (*PAPER_OBJECTIVES, "balanced_ntk", *LATER_OBJECTIVES, "jacob_cov", "synflow", "zico")
SIZES = ("params", "flops", "acts")


def handed_over(rows: pd.DataFrame) -> pd.DataFrame:
    """The trainings of networks of one repeated cell; of equal networks the first."""
    kinds = [kind for kind in KINDS if kind not in ELSEWHERE]
    return rows[rows["kind"].isin(kinds)].drop_duplicates(["budget", "model"])


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
            **found.objectives,
        }

    of.work.mkdir(parents=True, exist_ok=True)
    rows = rows_by(of.work / "scores.csv", "rival", by_rival, scored)
    return rows[rows["rival"].isin(by_rival)]


def report(rows: pd.DataFrame, drawn: int) -> None:
    """A line for each score and size, of both budgets that have networks enough."""
    groups = {
        budget: group for budget, group in rows.groupby("budget") if len(group) >= len(SCORES)
    }
    print("; ".join(f"{budget!s}: {len(group)} networks" for budget, group in groups.items()))
    for name in (*SCORES, *SIZES):
        told = []
        for group in groups.values():
            values = group[name].to_numpy(float) * (-1 if name in SIZES else 1)
            accuracy = group["accuracy"].to_numpy(float)
            low, high = interval(values, accuracy, drawn)
            told.append(f"{tau(values, accuracy):5.2f} ({low:5.2f} to {high:5.2f})")
        print(f"{name:20s} {'  '.join(told)}")


def main(argv: Sequence[str] | None = None) -> None:
    """Score, print."""
    of = parser(__doc__, "cifar", "rows", "work", images=64, inits=3, drawn=500).parse_args(argv)
    trainings = read_rows(of.rows / "trained-4.csv", ["rival", "model"])
    print(machine())
    report(score_table(of, handed_over(trainings)), of.drawn)


if __name__ == "__main__":
    main()
