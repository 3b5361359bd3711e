"""Do gradients that stay as they are in the deep network tell which architecture trains best?

Architectures of NAS-Bench-201 of more than 40 million multiply-accumulates (smaller ones are never
handed over), of one half of the table, are scored as a search does, and their growth and smoothness
are measured (gradient_flow.py). From random parts of them, each as large as two thirds, one is
handed over: as `choose` does by ranks, or the best among the steady ones, by several limits and
orders. Every architecture is written down as soon as it is done.

Command:
    python studies/steady_gradients.py --cifar PATH/cifar10.npz --table PATH/nasbench201_5000.csv \
        --partial steady.csv --half tune --n 200

AMD EPYC virtual machine, beside other work, one run; ± is the standard deviation over the parts:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads;
        half tune, n = 200, best 93.82, R = 2, 60 parts
    growth: τ with the accuracy 0.35
    smoothness: τ with the accuracy -0.45
    growth  smoothness  order                 handed over     first five
       inf         inf  three and size        93.11 ± 0.98   92.21 ± 0.46
       inf         inf  activation and size   93.47 ± 0.09   93.20 ± 0.18
      0.80        0.00  three and size        93.47 ± 0.38   92.48 ± 0.57
      0.80        0.00  activation and size   93.38 ± 0.54   92.37 ± 0.65
      0.80        0.00  size                  93.12 ± 1.12   91.78 ± 0.81
      0.60        0.00  activation and size   93.38 ± 0.54   92.37 ± 0.65
      0.70        0.00  activation and size   93.38 ± 0.54   92.37 ± 0.65
      0.90        0.00  activation and size   93.38 ± 0.54   92.37 ± 0.65
      1.00        0.00  activation and size   92.81 ± 0.97   92.55 ± 0.38
      0.80       -0.02  activation and size   91.44 ± 3.21   89.18 ± 2.09
      0.80        0.02  activation and size   93.60 ± 0.56   92.63 ± 0.49
      0.80        0.05  activation and size   93.69 ± 0.07   92.76 ± 0.37
      0.80         inf  activation and size   93.41 ± 0.51   92.59 ± 0.23
       inf        0.00  activation and size   93.33 ± 0.37   92.92 ± 0.23

Among random architectures, few of which are large, the steady ones are not better than the most
expressive ones. Among the candidates of searches, which are all large and expressive, they are
(rivals.py): there the choice by ranks hands over plain stacks, which have the largest growth.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from common.command import machine, parser
from common.nasbench201 import HALVES, half_of, load_table
from common.rows import rows_by
from pymoo_nas.choice._orders import rank_power_sum
from pymoo_nas.scores import PAPER_OBJECTIVES
from pymoo_nas.search import NASProblem
from pymoo_nas.search._steadiness import MOST_GROWTH, MOST_SMOOTHNESS
from pymoo_nas.spaces import NASBench201Space

LEAST_FLOPS = 40
PARTS = 60
"""Random parts, over which mean and standard deviation are taken."""

LIMITS = (
    *((growth, MOST_SMOOTHNESS) for growth in (0.6, 0.7, 0.8, 0.9, 1.0)),
    *((MOST_GROWTH, smoothness) for smoothness in (-0.02, 0.02, 0.05, np.inf)),
    (np.inf, MOST_SMOOTHNESS),
)
ORDERS = {
    "three and size": (*PAPER_OBJECTIVES, "size"),
    "activation and size": ("activation", "size"),
    "size": ("size",),
}


def measure(rows: pd.DataFrame, problem: NASProblem, partial: Path) -> pd.DataFrame:
    """Score and look through what the partial file lacks; all of it."""

    def measured(arch: str) -> dict[str, float]:
        scores = problem.score_genotype(problem.search_space.parse(arch))
        flow = problem.steadiness(arch)
        return {
            **dict(zip(PAPER_OBJECTIVES, scores.values, strict=True)),
            "size": -scores.flops,
            "growth": flow.growth,
            "smoothness": flow.smoothness,
        }

    return rows.merge(rows_by(partial, "arch", rows["arch"], measured), on="arch")


def handed_over(
    rows: pd.DataFrame, growth: float, smoothness: float, names: tuple[str, ...]
) -> tuple[float, float]:
    """Accuracy of the first one, and of the first five; of all where none is steady."""
    steady = rows[(rows["growth"] < growth) & (rows["smoothness"] < smoothness)]
    steady = rows if steady.empty else steady
    order = np.argsort(rank_power_sum(steady[list(names)]), kind="stable")
    accuracy = steady["cifar10_test"].to_numpy(float)[order]
    return float(accuracy[0]), float(accuracy[:5].mean())


def report(rows: pd.DataFrame) -> None:
    """Print correlations, and what is handed over."""
    for name in ("growth", "smoothness"):
        tau = kendalltau(rows[name], rows["cifar10_test"], nan_policy="omit")[0]
        print(f"{name}: τ with the accuracy {tau:.2f}")
    rng = np.random.default_rng(0)
    n = 2 * len(rows) // 3
    parts = [rows.iloc[rng.choice(len(rows), n, replace=False)] for _ in range(PARTS)]
    print("growth  smoothness  order                 handed over     first five")
    settings = [(np.inf, np.inf, "three and size"), (np.inf, np.inf, "activation and size")]
    settings += [(MOST_GROWTH, MOST_SMOOTHNESS, order) for order in ORDERS]
    settings += [(*limits, "activation and size") for limits in LIMITS]
    for growth, smoothness, order in dict.fromkeys(settings):
        found = np.array([handed_over(p, growth, smoothness, ORDERS[order]) for p in parts])
        cells = [
            f"{mean:.2f} ± {spread:.2f}"
            for mean, spread in zip(found.mean(0), found.std(0, ddof=1), strict=True)
        ]
        print(f"{growth:6.2f}  {smoothness:10.2f}  {order:20s}  {'   '.join(cells)}")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, report."""
    of = parser(__doc__, "table", "cifar", "partial", n=300, inits=2)
    of.add_argument("--half", choices=HALVES, default="tune")
    arguments = of.parse_args(argv)
    problem = NASProblem(arguments.cifar, search_space=NASBench201Space(), n_inits=arguments.inits)
    table = half_of(load_table(arguments.table), arguments.half)
    rows = measure(
        table[table["flops_m"] > LEAST_FLOPS].head(arguments.n), problem, arguments.partial
    )
    print(
        f"{machine()}; "
        f"half {arguments.half}, n = {len(rows)}, best {rows['cifar10_test'].max():.2f}, "
        f"R = {arguments.inits}, {PARTS} parts"
    )
    report(rows)


if __name__ == "__main__":
    main()
