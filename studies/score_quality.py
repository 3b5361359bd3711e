"""Do the three scores rank NAS-Bench-201's architectures as training does?

Kendall's τ and Spearman's ρ against the CIFAR-10 test accuracy of the table (200 epochs), lower
score better, with 95 % bootstrap intervals; unconnected architectures (exactly 10.0) apart. The
5,000 rows are split once into a half for tuning and a half for reporting. Every architecture is
written down as soon as it is scored, so that a run can be interrupted and continued.

Command:
    python studies/score_quality.py --table PATH/nasbench201_5000.csv --cifar PATH/cifar10.npz \
        --half report --n 1000 --partial quality.csv --plot studies/figures/score_quality.png

RESULT
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
from pymoo_nas.datasets import load_dataset
from pymoo_nas.devices import seeded
from pymoo_nas.nasbench201 import NASBench201Space, load_table
from pymoo_nas.plots import save_figure
from pymoo_nas.scores import OBJECTIVES
from pymoo_nas.scoring import draw_probe, score_builds

UNCONNECTED = 10.0
"""Accuracy in % of the architectures whose output sees no image."""

BALANCED = ("balanced ntk", "activation", "correlation")
AGGREGATES = {
    "three": OBJECTIVES,
    "three and FLOPs": (*OBJECTIVES, "FLOPs"),
    "balanced three": BALANCED,
    "balanced and FLOPs": (*BALANCED, "FLOPs"),
}
"""Sums of log ranks, and of what."""

Vector = npt.NDArray[np.float64]


def half_of(table: pd.DataFrame, half: str) -> pd.DataFrame:
    """One of two halves, the same ones in every run."""
    order = np.random.default_rng(2026).permutation(len(table))
    chosen = order[: len(order) // 2] if half == "tune" else order[len(order) // 2 :]
    return table.iloc[chosen].reset_index(drop=True)


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

    Found on the tuning half: powers of 1, 2, 4, 8, 12 and 20 gave τ = 0.676, 0.694, 0.710, 0.721,
    0.722 and 0.720 for the balanced three and FLOPs, log ranks 0.695 (587 architectures, R = 3).
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
