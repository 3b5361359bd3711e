"""Do the three scores, and variants of them, rank NAS-Bench-201's architectures as training does?

`scores`: Kendall's τ and Spearman's ρ against the CIFAR-10 test accuracy of the table (200 epochs),
lower score better, with 95 % bootstrap intervals; unconnected architectures (exactly 10.0) apart.
The 5,000 rows are split once into a half for tuning and a half for reporting. Every architecture is
written down as soon as it is scored, so that a run can be interrupted and continued.

`variants`, on the tuning half only: τ of connected architectures, for 1 to R initialisations, with
scores of the tangent kernel, normalised or without some kind of layer; of the ReLU kernel, of
single stages or divided by powers of the number of units; of the gradient correlation, with other
weights and ridges.

Command, AMD EPYC virtual machine, OMP_NUM_THREADS=1, beside other work; columns tau, 95 % bootstrap
interval, rho, nDCG of the best 100 (Tybl 2025), and the mean accuracy of the ten best:
    python studies/score_quality.py scores --table PATH/nasbench201_5000.csv --half report \
        --cifar PATH/cifar10.npz --n 1000 --partial quality.csv \
        --plot studies/figures/score_quality.png

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; half report, N = 64,
        R = 2, width 8, 1 cells per stage, probe seed 0
    979 connected architectures; 21 unconnected, 21 of them flagged; 0 connected ones flagged
    score                          tau    95 % interval    rho   nDCG   mean accuracy of the ten
        best
    ntk                           0.508   [0.475, 0.539]   0.694   0.974  90.30
    activation                    0.617   [0.588, 0.641]   0.803   0.990  92.89
    correlation                   0.638   [0.609, 0.665]   0.817   0.985  92.56
    balanced ntk                  0.587   [0.559, 0.615]   0.775   0.982  91.93
    ntk_entropy                   0.588   [0.561, 0.615]   0.778   0.983  91.30
    participation                 0.687   [0.661, 0.710]   0.859   0.989  92.61
    correlation_entropy           0.624   [0.598, 0.648]   0.811   0.986  92.45
    parameters                    0.591   [0.565, 0.619]   0.763   0.992  93.36
    FLOPs                         0.591   [0.565, 0.619]   0.763   0.992  93.36
    three, log ranks              0.653   [0.625, 0.678]   0.830   0.985  91.92
    three, worst rank             0.648   [0.620, 0.673]   0.827   0.985  91.77
    three and FLOPs, log ranks    0.706   [0.685, 0.727]   0.880   0.991  93.07
    three and FLOPs, worst rank   0.713   [0.692, 0.734]   0.886   0.992  93.16
    balanced three, log ranks     0.676   [0.650, 0.700]   0.849   0.988  92.70
    balanced three, worst rank    0.672   [0.645, 0.696]   0.846   0.987  92.48
    balanced and FLOPs, log ranks 0.718   [0.696, 0.738]   0.890   0.992  93.17
    balanced and FLOPs, worst rank 0.727   [0.706, 0.746]   0.897   0.993  93.14
    mixed three, log ranks        0.706   [0.683, 0.729]   0.874   0.989  93.05
    mixed three, worst rank       0.701   [0.676, 0.725]   0.871   0.989  93.03
    mixed and FLOPs, log ranks    0.737   [0.718, 0.756]   0.902   0.993  93.09
    mixed and FLOPs, worst rank   0.744   [0.725, 0.762]   0.909   0.993  93.07
    later three, log ranks        0.683   [0.658, 0.709]   0.856   0.988  93.06
    later three, worst rank       0.687   [0.662, 0.712]   0.858   0.988  93.00
    later and FLOPs, log ranks    0.741   [0.721, 0.761]   0.904   0.993  93.03
    later and FLOPs, worst rank   0.758   [0.739, 0.776]   0.917   0.993  93.02
    best of all 94.11; median 0.702 s each

Targets on the reporting half: three 0.70 (met by "mixed three", 0.706; those of the paper have
0.653, with the balanced kernel 0.676), three and FLOPs 0.75 (met by "later", 0.758; those of the
paper have 0.713, with the balanced kernel 0.727), ntk 0.55 (met by ntk_entropy and the balanced
one), activation 0.64 and correlation 0.66 (not met by the paper's, 0.617 and 0.638; participation
has 0.687). Published: aggregates 0.750 (VKDNW) and 0.712 to 0.741 (AZ-NAS), one score alone 0.669
(InTrain), 0.634 (SWAP), 0.618 (VKDNW).

Command, where the variants of the scores and the way of adding ranks were chosen. "Mixed three" is
the best of all triples of the seven scores by log ranks; "later three" the best with FLOPs by the
worst rank, of the triples with one form of each of the paper's three:
    ... scores --half tune --n 600

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; half tune, N = 64, R
        = 2, width 8, 1 cells per stage, probe seed 0
    587 connected architectures; 13 unconnected, 13 of them flagged; 0 connected ones flagged
    score                          tau    95 % interval    rho   nDCG   mean accuracy of the ten
        best
    ntk                           0.506   [0.463, 0.549]   0.689   0.976  91.70
    activation                    0.603   [0.570, 0.641]   0.788   0.990  93.05
    correlation                   0.624   [0.585, 0.661]   0.802   0.986  92.67
    balanced ntk                  0.571   [0.531, 0.612]   0.755   0.983  92.23
    ntk_entropy                   0.571   [0.536, 0.609]   0.762   0.987  91.94
    participation                 0.667   [0.635, 0.701]   0.841   0.991  92.94
    correlation_entropy           0.614   [0.579, 0.648]   0.799   0.988  92.72
    parameters                    0.552   [0.514, 0.592]   0.727   0.990  93.20
    FLOPs                         0.552   [0.514, 0.592]   0.727   0.990  93.20
    three, log ranks              0.646   [0.613, 0.681]   0.822   0.989  93.15
    three, worst rank             0.643   [0.611, 0.679]   0.824   0.988  92.58
    three and FLOPs, log ranks    0.687   [0.657, 0.718]   0.863   0.993  93.32
    three and FLOPs, worst rank   0.706   [0.677, 0.737]   0.881   0.993  93.14
    balanced three, log ranks     0.664   [0.632, 0.699]   0.837   0.989  93.15
    balanced three, worst rank    0.662   [0.630, 0.698]   0.838   0.990  92.63
    balanced and FLOPs, log ranks 0.697   [0.668, 0.727]   0.871   0.993  93.28
    balanced and FLOPs, worst rank 0.718   [0.689, 0.747]   0.889   0.994  93.21
    mixed three, log ranks        0.688   [0.655, 0.721]   0.858   0.992  93.28
    mixed three, worst rank       0.678   [0.647, 0.713]   0.852   0.992  93.22
    mixed and FLOPs, log ranks    0.712   [0.684, 0.741]   0.883   0.994  93.20
    mixed and FLOPs, worst rank   0.721   [0.694, 0.751]   0.891   0.995  93.41
    later three, log ranks        0.673   [0.639, 0.707]   0.844   0.990  92.85
    later three, worst rank       0.679   [0.647, 0.713]   0.848   0.990  92.85
    later and FLOPs, log ranks    0.724   [0.697, 0.754]   0.888   0.994  93.12
    later and FLOPs, worst rank   0.741   [0.715, 0.770]   0.901   0.994  93.23
    best of all 94.06; median 0.664 s each

Command, with one initialisation, the library's default:
    ... scores --half report --n 1000 --inits 1

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; half report, N = 64,
        R = 1, width 8, 1 cells per stage, probe seed 0
    979 connected architectures; 21 unconnected, 21 of them flagged; 0 connected ones flagged
    score                          tau    95 % interval    rho   nDCG   mean accuracy of the ten
        best
    ntk                           0.484   [0.456, 0.514]   0.677   0.976  91.09
    activation                    0.609   [0.582, 0.633]   0.797   0.989  92.93
    correlation                   0.644   [0.619, 0.671]   0.826   0.987  91.85
    balanced ntk                  0.549   [0.523, 0.577]   0.744   0.981  92.08
    ntk_entropy                   0.570   [0.544, 0.597]   0.765   0.984  91.72
    participation                 0.672   [0.646, 0.696]   0.849   0.988  92.66
    correlation_entropy           0.630   [0.605, 0.656]   0.818   0.987  92.36
    parameters                    0.591   [0.565, 0.619]   0.763   0.992  93.36
    FLOPs                         0.591   [0.565, 0.619]   0.763   0.992  93.36
    three, log ranks              0.649   [0.624, 0.673]   0.831   0.985  92.28
    three, worst rank             0.645   [0.618, 0.668]   0.828   0.986  91.95
    three and FLOPs, log ranks    0.704   [0.684, 0.725]   0.880   0.992  93.07
    three and FLOPs, worst rank   0.711   [0.690, 0.731]   0.885   0.993  93.15
    balanced three, log ranks     0.667   [0.641, 0.690]   0.845   0.988  92.68
    balanced three, worst rank    0.664   [0.639, 0.688]   0.843   0.989  92.45
    balanced and FLOPs, log ranks 0.715   [0.696, 0.735]   0.888   0.992  93.10
    balanced and FLOPs, worst rank 0.724   [0.704, 0.743]   0.895   0.993  93.29
    mixed three, log ranks        0.695   [0.672, 0.718]   0.868   0.989  93.14
    mixed three, worst rank       0.694   [0.670, 0.718]   0.867   0.989  93.13
    mixed and FLOPs, log ranks    0.732   [0.714, 0.751]   0.899   0.993  93.24
    mixed and FLOPs, worst rank   0.740   [0.721, 0.758]   0.906   0.992  93.21
    later three, log ranks        0.681   [0.657, 0.704]   0.856   0.990  93.13
    later three, worst rank       0.687   [0.663, 0.711]   0.860   0.990  93.18
    later and FLOPs, log ranks    0.741   [0.722, 0.761]   0.905   0.993  93.14
    later and FLOPs, worst rank   0.758   [0.739, 0.776]   0.916   0.994  93.32
    best of all 94.11; median 0.342 s each

Command:
    python studies/score_quality.py variants --table PATH/nasbench201_5000.csv \
        --cifar PATH/cifar10.npz

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7; 300 architectures, N = 64, probe seed 0,
        τ for R = 1 to 3
    FLOPs 0.545
    ntk: plain                               0.463  0.510  0.540
    ntk: unit diagonal                       0.499  0.530  0.550
    ntk: centred                             0.447  0.468  0.521
    ntk: balanced                            0.519  0.573  0.598
    ntk: balanced, unit diagonal             0.526  0.574  0.592
    ntk: without stem                        0.469  0.506  0.546
    ntk: without 3×3                         0.476  0.510  0.545
    ntk: without 1×1                         0.463  0.509  0.542
    ntk: without reduction                   0.584  0.627  0.641
    ntk: without scales                      0.463  0.509  0.540
    ntk: without shifts                      0.463  0.509  0.541
    ntk: without classifier                  0.461  0.506  0.542
    ntk: of the cells' convolutions          0.573  0.601  0.625
    ntk: −log det, unit diagonal             0.481  0.523  0.535
    activation: all                          0.590  0.598  0.600
    activation: stage 1                      0.583  0.588  0.597
    activation: stage 2                      0.591  0.598  0.596
    activation: stage 3                      0.590  0.593  0.592
    activation: / units^0.1                  0.590  0.601  0.602
    activation: / units^0.25                 0.580  0.589  0.591
    activation: / units^0.5                  0.562  0.568  0.570
    activation: / units^0.75                 0.559  0.567  0.571
    activation: / units^1.0                  0.481  0.504  0.526
    correlation: half weight, ridge 1e-06    0.615  0.618  0.631
    correlation: half weight, ridge 0.0001   0.615  0.618  0.631
    correlation: half weight, ridge 0.01     0.615  0.618  0.631
    correlation: no weight, ridge 1e-06      0.619  0.619  0.634
    correlation: full weight, ridge 1e-06    0.613  0.615  0.628
    log ranks of three, and with FLOPs, all repeats:
    ntk: plain                               0.634  0.637
    ntk: unit diagonal                       0.639  0.634
    ntk: centred                             0.639  0.646
    ntk: balanced                            0.651  0.648
    ntk: balanced, unit diagonal             0.649  0.645
    ntk: without stem                        0.638  0.639
    ntk: without 3×3                         0.640  0.641
    ntk: without 1×1                         0.635  0.637
    ntk: without reduction                   0.667  0.657
    ntk: without scales                      0.635  0.637
    ntk: without shifts                      0.635  0.637
    ntk: without classifier                  0.635  0.638
    ntk: of the cells' convolutions          0.666  0.656
    ntk: −log det, unit diagonal             0.629  0.630

The gradients of the skeleton's reduction blocks hide those of the cells: the kernel in which every
parameter tensor weighs alike ("balanced") gains 0.06, and is offered as ``balanced_ntk``. The
gradients of the cells alone gain as much, and 0.015 in the sum of three, but are no property of a
network as such. Nothing else gains more than the standard error of about 0.02.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.stats import rankdata, spearmanr

from common.command import machine, options, parser
from common.nasbench201 import HALVES, UNCONNECTED, half_of, load_table
from common.ranks import Vector, interval, mean_of_best, ndcg, tau
from common.rows import rows_by
from common.variants import variants_of
from pymoo_nas._machine import seeded
from pymoo_nas.datasets import load_dataset
from pymoo_nas.plots import save_figure
from pymoo_nas.scores import (
    LATER_OBJECTIVES,
    PAPER_OBJECTIVES,
    draw_probe,
    read_objectives,
    score_builds,
)
from pymoo_nas.search import log_rank_sum
from pymoo_nas.spaces import NASBench201Space

BALANCED = ("balanced ntk", "activation", "correlation")
AGGREGATES = {
    "three": PAPER_OBJECTIVES,
    "three and FLOPs": (*PAPER_OBJECTIVES, "FLOPs"),
    "balanced three": BALANCED,
    "balanced and FLOPs": (*BALANCED, "FLOPs"),
    "mixed three": ("ntk_entropy", "activation", "participation"),
    "mixed and FLOPs": ("ntk_entropy", "activation", "participation", "FLOPs"),
    "later three": LATER_OBJECTIVES,
    "later and FLOPs": (*LATER_OBJECTIVES, "FLOPs"),
}
"""Sums of log ranks, and of what."""

OTHER_CORRELATION = "correlation: half weight, ridge 1e-06"
"""Of the variants, that of the published weight."""


def score_table(rows: pd.DataFrame, arguments: argparse.Namespace) -> pd.DataFrame:
    """Score what the partial file lacks, appending to it; the scores of all rows."""
    probe = draw_probe(load_dataset(arguments.cifar), arguments.images, arguments.seed)
    space = NASBench201Space(width=arguments.width, cells_per_stage=arguments.cells)
    objectives = read_objectives((*PAPER_OBJECTIVES, "balanced_ntk", *LATER_OBJECTIVES))

    def build(text: str, seed: int) -> torch.nn.Module:
        with seeded(torch.device("cpu"), seed):
            return space.build(space.parse(text), 3, 10)

    def measured(arch: str) -> dict[str, Any]:
        builds = [partial(build, arch, seed) for seed in range(arguments.inits)]
        scores = score_builds(builds, probe, objectives=objectives)
        return {
            **scores.objectives,
            "seconds": scores.seconds,
            "degenerate": scores.degenerate,
        }

    found = rows_by(arguments.partial, "arch", rows["arch"], measured)
    found["degenerate"] = found["degenerate"].astype(object).fillna("")
    return rows.merge(found, on="arch")


def log_rank(scores: Vector) -> Vector:
    """−log of the share of candidates that are not better: additive over scores, smaller is better.

    The worst rank weighs most: a candidate that is last in one score is out (Lee 2024, AZ-NAS).
    """
    shares: Vector = (len(scores) + 1 - rankdata(scores)) / len(scores)
    return -np.log(shares)


def high_rank(scores: Vector) -> Vector:
    """The eighth power of the rank: summed over scores, little but the worst one counts.

    Chosen on the tuning half.
    """
    ranks: Vector = (rankdata(scores) / len(scores)) ** 8
    return ranks


def report(frame: pd.DataFrame, n_drawn: int) -> None:
    """Print the table of correlations."""
    unconnected = frame[frame["cifar10_test"] <= UNCONNECTED]
    flagged = (unconnected["degenerate"] != "").sum()
    frame = frame[frame["cifar10_test"] > UNCONNECTED]
    accuracy = frame["cifar10_test"].to_numpy(float)
    columns: dict[str, Vector] = {name: frame[name].to_numpy(float) for name in PAPER_OBJECTIVES}
    columns["balanced ntk"] = frame["balanced_ntk"].to_numpy(float)
    columns |= {name: frame[name].to_numpy(float) for name in LATER_OBJECTIVES}
    columns["parameters"] = -frame["params_m"].to_numpy(float)
    columns["FLOPs"] = -frame["flops_m"].to_numpy(float)
    for title, names in AGGREGATES.items():
        for how, function in (("log ranks", log_rank), ("worst rank", high_rank)):
            ranks = [function(columns[name]) for name in names]
            columns[f"{title}, {how}"] = np.sum(ranks, axis=0)
    print(
        f"{len(frame)} connected architectures; {len(unconnected)} unconnected, "
        f"{flagged} of them flagged; {(frame['degenerate'] != '').sum()} connected ones flagged"
    )
    print(
        "score                          tau    95 % interval    rho   nDCG   mean accuracy of the "
        "ten best"
    )
    for name, values in columns.items():
        low, high = interval(values, accuracy, n_drawn)
        print(
            f"{name:29s} {tau(values, accuracy):.3f}   [{low:.3f}, {high:.3f}]   "
            f"{-spearmanr(values, accuracy)[0]:.3f}   {ndcg(values, accuracy):.3f}  "
            f"{mean_of_best(values, accuracy, 10):.2f}"
        )
    print(f"best of all {accuracy.max():.2f}; median {frame['seconds'].median():.3f} s each")


def draw(frame: pd.DataFrame) -> Figure:
    """Score against accuracy, three panels; what is far out on the bad side is cut off."""
    frame = frame[(frame["cifar10_test"] > UNCONNECTED) & (frame["degenerate"] == "")]
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 3, sharey=True), PAPER_OBJECTIVES, strict=True):
        axes.scatter(frame[name], frame["cifar10_test"], s=6, alpha=0.4, color="#0072B2")
        axes.set_xlim(frame[name].min(), frame[name].quantile(0.98))
        axes.set(xlabel=f"{name} (lower is better)", ylim=(50, 95))
    figure.axes[0].set_ylabel("CIFAR-10 test accuracy, %")
    return figure


def report_variants(measured: dict[str, list[list[float]]], rows: pd.DataFrame) -> None:
    """τ of every variant, then of the sums in which a variant of the first score takes part."""
    accuracy = rows["cifar10_test"].to_numpy(float)
    flops = rows["flops_m"].to_numpy(float)
    print(f"FLOPs {tau(-flops, accuracy):.3f}")
    # Not every architecture has such units.
    scores = {name: np.array(v) for name, v in measured.items() if len(v) == len(rows)}
    for name, values in scores.items():
        by_repeats = [tau(values[:, : r + 1].mean(1), accuracy) for r in range(values.shape[1])]
        print(f"{name:40s} " + "  ".join(f"{value:.3f}" for value in by_repeats))
    others = [scores[name].mean(1) for name in ("activation: all", OTHER_CORRELATION)]
    print("log ranks of three, and with FLOPs, all repeats:")
    for name, values in scores.items():
        if name.startswith("ntk"):
            three = log_rank_sum([values.mean(1), *others])
            four = log_rank_sum([values.mean(1), *others, -flops])
            taus = [tau(total, accuracy) for total in (three, four)]
            print(f"{name:40s} " + "  ".join(f"{value:.3f}" for value in taus))


def scores(arguments: argparse.Namespace) -> None:
    """Score, report, draw."""
    print(
        f"{machine()}; half {arguments.half}, N = {arguments.images}, R = {arguments.inits}, width "
        f"{arguments.width}, {arguments.cells} cells per stage, probe seed {arguments.seed}"
    )
    rows = half_of(load_table(arguments.table), arguments.half)[: arguments.n]
    frame = score_table(rows, arguments)
    report(frame, arguments.drawn)
    if arguments.plot is not None:
        save_figure(draw(frame), arguments.plot)


def variants(arguments: argparse.Namespace) -> None:
    """Measure the variants and print their tables."""
    table = half_of(load_table(arguments.table), "tune")
    rows = table[table["cifar10_test"] > UNCONNECTED][: arguments.n]
    probe = draw_probe(load_dataset(arguments.cifar), arguments.images, arguments.seed)
    space = NASBench201Space()
    measured: dict[str, list[list[float]]] = defaultdict(list)
    for arch in rows["arch"]:
        inits = [variants_of(space, arch, seed, probe) for seed in range(arguments.inits)]
        for name in inits[0]:
            measured[name].append([found.get(name, np.nan) for found in inits])
    print(
        f"{machine()}; {len(rows)} architectures, N = {arguments.images}, probe seed "
        f"{arguments.seed}, τ for R = 1 to {arguments.inits}"
    )
    report_variants(measured, rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is asked for."""
    commands = (of := parser(__doc__)).add_subparsers(required=True)
    probe = {"n": 300, "images": 64, "seed": 0}
    part = options(commands.add_parser("scores"), "table", "cifar", **probe, inits=2)
    options(part, width=8, cells=1, drawn=500)
    part.add_argument("--half", choices=HALVES, default="tune")
    part.add_argument("--partial", type=Path, default=Path("quality.csv"))
    part.add_argument("--plot", type=Path)
    part.set_defaults(run=scores)
    part = options(commands.add_parser("variants"), "table", "cifar", **probe, inits=3)
    part.set_defaults(run=variants)
    arguments = of.parse_args(argv)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
