"""Do the scores rank the cells of DARTS as training does, and how small a network shows it?

Kendall's τ with the CIFAR-10 validation accuracy of 500 trained cells: of each objective, lower
better, and of sizes and the latency of the scored network, higher better. Cells that no image
reaches are left out. The columns are tau, its 95 % bootstrap interval, and the mean accuracy of the
ten best. Every cell is written down as soon as it is scored, so that a run can be continued.

The size of the network that is scored was chosen on the first 100 cells, and the other 400 are
reported for that size. Seconds are those of both initialisations, beside other work on the machine.

Command, AMD EPYC virtual machine, OMP_NUM_THREADS=1:
    python studies/darts_scores.py --table PATH/darts_500.csv --cifar PATH/cifar10.npz \
        --partial darts.csv --first 100 --n 400 --sizes 3x4

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads;
        rows 100 to 499, N = 64, R = 2, probe seed 0
    3x4 (layers x channels): 400 connected, 0 unconnected, 0 of them flagged;
        0 connected ones flagged; median 4.77 s each
    score                          tau    95 % interval    mean accuracy of the ten best
    ntk                            0.510   [0.469, 0.555]   83.73
    activation                     0.457   [0.405, 0.501]   84.37
    correlation                    0.322   [0.257, 0.372]   82.18
    balanced_ntk                   0.554   [0.517, 0.591]   83.90
    jacob_cov                      0.297   [0.232, 0.349]   82.18
    synflow                        0.647   [0.612, 0.679]   84.58
    zico                           0.590   [0.546, 0.629]   84.59
    params                         0.643   [0.605, 0.678]   85.20
    flops                          0.624   [0.582, 0.661]   85.05
    acts                           0.604   [0.563, 0.639]   84.73
    peak_memory                   -0.055   [-0.125, 0.019]   77.01
    latency                        0.516   [0.473, 0.560]   84.45
    three, log ranks               0.532   [0.490, 0.573]   83.83
    three and FLOPs, log ranks     0.594   [0.554, 0.633]   84.71
    balanced and FLOPs, log ranks  0.595   [0.556, 0.632]   84.73
    best of all 86.61, mean 79.20

On these 400 cells ``balanced_ntk`` agrees best of the objectives from kernels, by 0.55.
``synflow`` agrees as well as parameters do, by 0.65 and 0.64, and ``zico`` less, by 0.59; no sum of
ranks above is better than parameters alone. Latencies were measured beside much other work; by the
wall clock, before they were measured beside a reference, their tau was 0.204 [0.145, 0.262].

Command, of later forms of the scores, on the same cells:
    ... --objectives ntk activation correlation ntk_entropy participation correlation_entropy \
        --no-latency

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; rows 100 to 499, N =
        64, R = 2, probe seed 0
    3x4 (layers x channels): 400 connected, 0 unconnected, 0 of them flagged; 0 connected ones
        flagged; median 1.94 s each
    score                          tau    95 % interval    mean accuracy of the ten best
    ntk                            0.510   [0.469, 0.555]   83.73
    activation                     0.457   [0.405, 0.501]   84.37
    correlation                    0.322   [0.257, 0.372]   82.18
    ntk_entropy                    0.499   [0.451, 0.542]   84.46
    participation                  0.591   [0.549, 0.630]   85.27
    correlation_entropy            0.185   [0.110, 0.249]   80.06
    params                         0.643   [0.605, 0.678]   85.20
    flops                          0.624   [0.582, 0.661]   85.05
    acts                           0.604   [0.563, 0.639]   84.73
    peak_memory                   -0.055   [-0.125, 0.019]   77.01
    three, log ranks               0.532   [0.490, 0.573]   83.83
    three and FLOPs, log ranks     0.594   [0.554, 0.633]   84.71
    mixed three, log ranks         0.573   [0.533, 0.612]   84.24
    later three, log ranks         0.465   [0.411, 0.516]   84.41
    later and FLOPs, log ranks     0.554   [0.504, 0.597]   84.60
    best of all 86.61, mean 79.20

``participation`` agrees best of all objectives from kernels, as it does on NAS-Bench-201;
``correlation_entropy`` agrees less than ``correlation``. In place of the paper's three,
``ntk_entropy``, ``activation`` and ``participation`` gain 0.04 here and 0.05 there; "later", which
is best there with FLOPs, loses here.

Command, where the size was chosen:
    ... --first 0 --n 100 --sizes 3x4 3x8 4x4 5x4

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads;
        rows 0 to 99, N = 64, R = 2, probe seed 0
    3x4 (layers x channels): 99 connected, 1 unconnected, 1 of them flagged;
        0 connected ones flagged; median 1.15 s each
    score                          tau    95 % interval    mean accuracy of the ten best
    ntk                            0.528   [0.431, 0.622]   83.22
    activation                     0.386   [0.267, 0.494]   81.70
    correlation                    0.315   [0.178, 0.460]   80.19
    balanced_ntk                   0.513   [0.401, 0.610]   82.91
    params                         0.515   [0.412, 0.604]   83.23
    flops                          0.504   [0.401, 0.591]   83.26
    acts                           0.529   [0.419, 0.624]   82.05
    three, log ranks               0.486   [0.387, 0.586]   83.15
    three and FLOPs, log ranks     0.532   [0.427, 0.625]   83.05
    balanced and FLOPs, log ranks  0.523   [0.416, 0.619]   83.05
    best of all 85.75, mean 79.17
    3x8 (layers x channels): 99 connected, 1 unconnected, 1 of them flagged;
        0 connected ones flagged; median 2.30 s each
    score                          tau    95 % interval    mean accuracy of the ten best
    ntk                            0.499   [0.399, 0.594]   83.45
    activation                     0.391   [0.271, 0.498]   81.70
    correlation                    0.280   [0.145, 0.422]   80.78
    balanced_ntk                   0.524   [0.423, 0.623]   83.22
    params                         0.516   [0.415, 0.607]   82.97
    flops                          0.515   [0.412, 0.601]   82.57
    acts                           0.529   [0.419, 0.624]   82.05
    three, log ranks               0.486   [0.376, 0.583]   82.64
    three and FLOPs, log ranks     0.533   [0.431, 0.618]   82.64
    balanced and FLOPs, log ranks  0.522   [0.422, 0.607]   82.69
    best of all 85.75, mean 79.17
    4x4 (layers x channels): 99 connected, 1 unconnected, 1 of them flagged;
        0 connected ones flagged; median 1.31 s each
    score                          tau    95 % interval    mean accuracy of the ten best
    ntk                            0.486   [0.392, 0.575]   82.94
    activation                     0.399   [0.282, 0.504]   81.70
    correlation                    0.216   [0.078, 0.359]   79.25
    balanced_ntk                   0.502   [0.397, 0.590]   83.53
    params                         0.519   [0.418, 0.607]   82.57
    flops                          0.511   [0.409, 0.598]   83.26
    acts                           0.529   [0.419, 0.624]   82.05
    three, log ranks               0.429   [0.322, 0.530]   82.55
    three and FLOPs, log ranks     0.470   [0.374, 0.566]   82.49
    balanced and FLOPs, log ranks  0.476   [0.379, 0.569]   82.72
    best of all 85.75, mean 79.17
    5x4 (layers x channels): 99 connected, 1 unconnected, 1 of them flagged;
        0 connected ones flagged; median 2.97 s each
    score                          tau    95 % interval    mean accuracy of the ten best
    ntk                            0.440   [0.325, 0.541]   82.33
    activation                     0.422   [0.314, 0.521]   81.98
    correlation                    0.012   [-0.143, 0.163]   76.87
    balanced_ntk                   0.456   [0.352, 0.562]   83.05
    params                         0.515   [0.413, 0.604]   82.57
    flops                          0.511   [0.409, 0.598]   83.26
    acts                           0.524   [0.414, 0.621]   82.05
    three, log ranks               0.352   [0.237, 0.475]   82.21
    three and FLOPs, log ranks     0.423   [0.311, 0.526]   82.74
    balanced and FLOPs, log ranks  0.431   [0.323, 0.537]   82.95
    best of all 85.75, mean 79.17

The smallest size, 3x4, is chosen. More layers take longer, and the scores agree less, above all
``correlation``. More channels take longer, and the scores agree as well, within the intervals.

In this table the normal and the reduction cell are always the same. The table does not tell how
well a network of one normal and two reduction cells ranks genotypes whose cells differ.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from common.command import machine, parser
from common.ranks import Vector, interval, mean_of_best, tau
from common.rows import rows_by
from pymoo_nas._machine import seeded
from pymoo_nas.datasets import load_dataset
from pymoo_nas.networks import Counts
from pymoo_nas.scores import (
    LATER_OBJECTIVES,
    OBJECTIVES,
    PAPER_OBJECTIVES,
    SIZES,
    draw_probe,
    measure_latency,
    read_objectives,
    score_builds,
)
from pymoo_nas.search import log_rank_sum
from pymoo_nas.spaces import DARTSSpace

TRUTH = "cifar10_valid"
"""Column of the accuracies in %."""

UNCONNECTED = 11.0
"""Accuracies in % up to here are those of guessing."""

SCORED = [name for name, one in OBJECTIVES.items() if name not in SIZES and not one.noisy]
"""Objectives that are no size and no time."""

BALANCED = ("balanced_ntk", "activation", "correlation")
AGGREGATES = {
    "three": PAPER_OBJECTIVES,
    "three and FLOPs": (*PAPER_OBJECTIVES, "flops"),
    "balanced and FLOPs": (*BALANCED, "flops"),
    "mixed three": ("ntk_entropy", "activation", "participation"),
    "later three": LATER_OBJECTIVES,
    "later and FLOPs": (*LATER_OBJECTIVES, "flops"),
}
"""Sums of log ranks, and of what; see score_quality.py."""


def size_of(text: str) -> tuple[int, int]:
    """Layers and channels: ``5x8``."""
    layers, _, channels = text.partition("x")
    return int(layers), int(channels)


def scored_rows(rows: pd.DataFrame, size: str, arguments: argparse.Namespace) -> pd.DataFrame:
    """Score what the partial file lacks, appending to it; the rows with their scores."""
    probe = draw_probe(load_dataset(arguments.cifar), arguments.images, arguments.seed)
    layers, channels = size_of(size)
    space = DARTSSpace(layers=layers, channels=channels)
    objectives = read_objectives(arguments.objectives)
    texts = {f"{size} {index}": text for index, text in rows["genotype"].items()}

    def build(text: str, seed: int) -> nn.Module:
        with seeded(torch.device("cpu"), seed):
            return space.build(space.parse(text), 3, 10)

    def latency(key: str) -> float:
        return measure_latency(build(texts[key], 0), probe.images)

    def measured(key: str) -> dict[str, Any]:
        builds = [partial(build, texts[key], seed) for seed in range(arguments.inits)]
        scores = score_builds(builds, probe, objectives=objectives)
        counts = {name: getattr(scores, name) for name in Counts._fields}
        return {
            **scores.objectives,
            **counts,
            **({"latency": latency(key)} if arguments.latency else {}),
            "seconds": scores.seconds,
            "degenerate": scores.degenerate,
        }

    found = rows_by(arguments.partial, "key", texts, measured)
    found["degenerate"] = found["degenerate"].astype(object).fillna("")
    return rows.assign(key=list(texts)).merge(found, on="key")


def columns_of(frame: pd.DataFrame) -> dict[str, Vector]:
    """Name → scores and sums of ranks, smaller better; of sizes the negative."""
    columns = {name: frame[name].to_numpy(float) for name in SCORED if name in frame}
    columns |= {name: -frame[name].to_numpy(float) for name in SIZES if name in frame}
    for title, names in AGGREGATES.items():
        if {*names} <= {*columns}:
            columns[f"{title}, log ranks"] = log_rank_sum([columns[name] for name in names])
    return columns


def report(frame: pd.DataFrame, size: str, n_drawn: int) -> None:
    """Print the agreement of each score with the accuracies."""
    unconnected = frame[frame[TRUTH] <= UNCONNECTED]
    flagged = (unconnected["degenerate"] != "").sum()
    frame = frame[frame[TRUTH] > UNCONNECTED]
    accuracy = frame[TRUTH].to_numpy(float)
    print(
        f"{size} (layers x channels): {len(frame)} connected, {len(unconnected)} unconnected, "
        f"{flagged} of them flagged; {(frame['degenerate'] != '').sum()} connected ones flagged; "
        f"median {frame['seconds'].median():.2f} s each"
    )
    print("score                          tau    95 % interval    mean accuracy of the ten best")
    for name, values in columns_of(frame).items():
        low, high = interval(values, accuracy, n_drawn)
        print(
            f"{name:29s} {tau(values, accuracy):6.3f}   [{low:.3f}, {high:.3f}]   "
            f"{mean_of_best(values, accuracy, 10):.2f}"
        )
    print(f"best of all {accuracy.max():.2f}, mean {np.mean(accuracy):.2f}", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Score some rows of the table at each size, and report."""
    of = parser(__doc__, "table", "cifar", first=0, n=100, images=64, inits=2, seed=0, drawn=500)
    of.add_argument("--sizes", nargs="+", default=["3x4"])
    of.add_argument("--objectives", nargs="+", choices=SCORED, default=SCORED)
    of.add_argument("--latency", action=argparse.BooleanOptionalAction, default=True)
    of.add_argument("--partial", type=Path, default=Path("darts.csv"))
    arguments = of.parse_args(argv)
    last = arguments.first + arguments.n - 1
    print(
        f"{machine()}; rows {arguments.first} to {last}, N = {arguments.images}, R = "
        f"{arguments.inits}, probe seed {arguments.seed}"
    )
    rows = pd.read_csv(arguments.table).loc[arguments.first : last]
    for size in arguments.sizes:
        report(scored_rows(rows, size, arguments), size, arguments.drawn)


if __name__ == "__main__":
    main()
