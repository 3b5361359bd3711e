"""Do the three scores rank NAS-Bench-201's architectures as training does?

Kendall's τ and Spearman's ρ against the CIFAR-10 test accuracy of the table (200 epochs), lower
score better, with 95 % bootstrap intervals; unconnected architectures (exactly 10.0) apart. The
5,000 rows are split once into a half for tuning and a half for reporting. Every architecture is
written down as soon as it is scored, so that a run can be interrupted and continued.

Command:
    python studies/score_quality.py --table PATH/nasbench201_5000.csv --cifar PATH/cifar10.npz \
        --half report --n 1000 --partial quality.csv --plot studies/figures/score_quality.png

AMD EPYC virtual machine, τ with 95 % bootstrap intervals, columns tau, interval, rho, and the mean
accuracy of the ten best:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 2 threads; half report, N = 64, R =
    979 connected architectures; 21 unconnected, 21 of them flagged; 0 connected ones flagged
    score                          tau    95 % interval    rho   mean accuracy of the ten best
    ntk                           0.508   [0.475, 0.539]   0.694   90.30
    activation                    0.617   [0.588, 0.641]   0.803   92.89
    correlation                   0.638   [0.609, 0.665]   0.817   92.56
    balanced ntk                  0.587   [0.558, 0.615]   0.775   91.93
    parameters                    0.591   [0.565, 0.619]   0.763   93.36
    FLOPs                         0.591   [0.565, 0.619]   0.763   93.36
    three, log ranks              0.653   [0.625, 0.678]   0.830   91.92
    three, worst rank             0.648   [0.620, 0.673]   0.827   91.77
    three and FLOPs, log ranks    0.706   [0.685, 0.727]   0.880   93.07
    three and FLOPs, worst rank   0.713   [0.692, 0.734]   0.886   93.16
    balanced three, log ranks     0.676   [0.650, 0.700]   0.849   92.70
    balanced three, worst rank    0.672   [0.645, 0.696]   0.846   92.48
    balanced and FLOPs, log ranks 0.718   [0.696, 0.738]   0.890   93.17
    balanced and FLOPs, worst rank 0.727   [0.706, 0.746]   0.897   93.14
    best of all 94.11; median 0.190 s each

Targets on the reporting half: ntk 0.55 (balanced: met), activation 0.64 and correlation 0.66 (not
met: 0.617 and 0.638), three 0.70 (not met: 0.676), three and FLOPs 0.75 (not met: 0.727), 0.2 s
(met).

The same on the tuning half (--half tune --n 600 --inits 3), where the variants of the scores
(score_variants.py) and the way of adding ranks were chosen:

    587 connected architectures; 13 unconnected, 13 of them flagged; 0 connected ones flagged
    score                          tau    95 % interval    rho   mean accuracy of the ten best
    ntk                           0.538   [0.499, 0.579]   0.722   91.18
    activation                    0.606   [0.573, 0.643]   0.791   93.12
    correlation                   0.635   [0.598, 0.672]   0.811   92.65
    balanced ntk                  0.589   [0.552, 0.626]   0.775   92.63
    parameters                    0.552   [0.514, 0.592]   0.727   93.20
    FLOPs                         0.552   [0.514, 0.592]   0.727   93.20
    three, log ranks              0.653   [0.621, 0.689]   0.828   92.35
    three, worst rank             0.657   [0.626, 0.692]   0.834   92.34
    three and FLOPs, log ranks    0.688   [0.660, 0.719]   0.866   93.11
    three and FLOPs, worst rank   0.716   [0.689, 0.745]   0.888   93.20
    balanced three, log ranks     0.667   [0.635, 0.701]   0.840   93.04
    balanced three, worst rank    0.669   [0.636, 0.704]   0.843   92.47
    balanced and FLOPs, log ranks 0.695   [0.667, 0.725]   0.871   93.28
    balanced and FLOPs, worst rank 0.721   [0.696, 0.751]   0.892   93.28
    best of all 94.06; median 0.604 s each
"""

from __future__ import annotations

import argparse
import os
import platform
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.stats import kendalltau, rankdata, spearmanr

import pymoo_nas
from common.nasbench201 import UNCONNECTED, half_of, load_table
from pymoo_nas.datasets import load_dataset
from pymoo_nas.devices import seeded
from pymoo_nas.nasbench201 import NASBench201Space
from pymoo_nas.plots import save_figure
from pymoo_nas.scores import OBJECTIVES
from pymoo_nas.scoring import draw_probe, score_builds

BALANCED = ("balanced ntk", "activation", "correlation")
AGGREGATES = {
    "three": OBJECTIVES,
    "three and FLOPs": (*OBJECTIVES, "FLOPs"),
    "balanced three": BALANCED,
    "balanced and FLOPs": (*BALANCED, "FLOPs"),
}
"""Sums of log ranks, and of what."""

Vector = npt.NDArray[np.float64]


def score_table(rows: pd.DataFrame, arguments: argparse.Namespace) -> pd.DataFrame:
    """Score what the partial file lacks, appending to it; the scores of all rows."""
    done = pd.read_csv(arguments.partial) if arguments.partial.exists() else pd.DataFrame()
    known = set(done["arch"]) if len(done) else set()
    probe = draw_probe(load_dataset(arguments.cifar), arguments.images, arguments.seed)
    space = NASBench201Space(width=arguments.width, cells_per_stage=arguments.cells)

    def build(text: str, seed: int) -> torch.nn.Module:
        with seeded(torch.device("cpu"), seed):
            return space.build(space.parse(text), 3, 10)

    for index, arch in enumerate(rows["arch"]):
        if arch in known:
            continue
        builds = [partial(build, arch, seed) for seed in range(arguments.inits)]
        scores = score_builds(builds, probe)
        row = {"arch": arch, **dict(zip(OBJECTIVES, scores.values, strict=True))}
        row |= {
            "balanced_ntk": scores.balanced_ntk,
            "seconds": scores.seconds,
            "degenerate": scores.degenerate,
        }
        header = not arguments.partial.exists()
        pd.DataFrame([row]).to_csv(arguments.partial, mode="a", header=header, index=False)
        if index % 100 == 99:
            print(f"    {index + 1} of {len(rows)}", flush=True)
    return rows.merge(pd.read_csv(arguments.partial, keep_default_na=False), on="arch")


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


def interval(scores: Vector, accuracy: Vector, n: int = 500) -> tuple[float, float]:
    """95 % bootstrap interval of Kendall's τ."""
    rng = np.random.default_rng(0)
    drawn = (rng.integers(len(scores), size=len(scores)) for _ in range(n))
    values = [-kendalltau(scores[i], accuracy[i])[0] for i in drawn]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def report(frame: pd.DataFrame) -> None:
    """Print the table of correlations."""
    unconnected = frame[frame["cifar10_test"] <= UNCONNECTED]
    flagged = (unconnected["degenerate"] != "").sum()
    frame = frame[frame["cifar10_test"] > UNCONNECTED]
    accuracy = frame["cifar10_test"].to_numpy(float)
    columns: dict[str, Vector] = {name: frame[name].to_numpy(float) for name in OBJECTIVES}
    columns["balanced ntk"] = frame["balanced_ntk"].to_numpy(float)
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
        "score                          tau    95 % interval    rho   mean accuracy of the ten best"
    )
    for name, values in columns.items():
        low, high = interval(values, accuracy)
        top = accuracy[np.argsort(values, kind="stable")[:10]].mean()
        print(
            f"{name:29s} {-kendalltau(values, accuracy)[0]:.3f}   [{low:.3f}, {high:.3f}]   "
            f"{-spearmanr(values, accuracy)[0]:.3f}   {top:.2f}"
        )
    print(f"best of all {accuracy.max():.2f}; median {frame['seconds'].median():.3f} s each")


def draw(frame: pd.DataFrame) -> Figure:
    """Score against accuracy, three panels; what is far out on the bad side is cut off."""
    frame = frame[(frame["cifar10_test"] > UNCONNECTED) & (frame["degenerate"] == "")]
    figure = Figure(figsize=(12, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 3, sharey=True), OBJECTIVES, strict=True):
        axes.scatter(frame[name], frame["cifar10_test"], s=6, alpha=0.4, color="#0072B2")
        axes.set_xlim(frame[name].min(), frame[name].quantile(0.98))
        axes.set(xlabel=f"{name} (lower is better)", ylim=(50, 95))
    figure.axes[0].set_ylabel("CIFAR-10 test accuracy, %")
    return figure


def main() -> None:
    """Score, report, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--half", choices=("tune", "report"), default="tune")
    parser.add_argument("--partial", type=Path, default=Path("quality.csv"))
    parser.add_argument("--plot", type=Path)
    for name, default in (("n", 300), ("images", 64), ("inits", 2), ("width", 8), ("cells", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; "
        f"half {arguments.half}, N = {arguments.images}, R = {arguments.inits}, width "
        f"{arguments.width}, {arguments.cells} cells per stage, probe seed {arguments.seed}"
    )
    rows = half_of(load_table(arguments.table), arguments.half)[: arguments.n]
    frame = score_table(rows, arguments)
    report(frame)
    if arguments.plot is not None:
        save_figure(draw(frame), arguments.plot)


if __name__ == "__main__":
    main()
