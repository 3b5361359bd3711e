"""How long do a scoring and a step of training take on a card, where is the time spent?

Scoring: cells of the tables in docs/benchmarks.md, each with its parameters, multiply-accumulates,
the time of one forward and backward pass on 64 images, the kernels and the scores with their check
as multiples of it, the operations that a pass and the kernels start on the device ("launches"), and
how often the kernels wait for the device. Then random cells by one process; on a card also how far
log10 κ is from that of the CPU, and on any device how far float32 is from float64. Then two
initialisations of each cell: a forward and a backward pass of one after the other and of stacked
parameters (`torch.func.vmap`); the kernels of the second one with a plan of its own and with that
of the first. Last the eigenvalues of a generation's kernels, on the CPU in float64.

A data set of made images of CIFAR-10's size is trained on, 128 images a step, with a cell of
551,898 parameters and with ResNet-20, which has as many multiply-accumulates. `before` is the loop
of earlier versions, which most scripts resemble: images as floats, Muon kernel by kernel, and a
look at the loss in each step. The other rows are `pymoo_nas.train`: images held on the card as
bytes, Muon in batches, SGD fused, no look at the loss; in both memory formats, and on CUDA also in
bfloat16 and with --compile.

"step" is the mean of n steps that wait for nothing of their own. The parts are medians of n steps,
each with the device waited for before and behind it, so that on a card they add up to more. All
rows are measured in turn, in three rounds, of which the median counts.

`optimisers`: Muon kernel by kernel, in batches of equal shape, and in batches that are padded, as
on CUDA; SGD for the other weights, one by one, by foreach and fused.

Command for a card:
    python studies/gpu_speed.py --device cuda

No card has been measured yet. On the CPU, two cores of a shared AMD EPYC virtual machine, one
thread, beside other work (load average 5 to 8):
    python studies/gpu_speed.py --n 5

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads
    cpu: AMD EPYC
    cells: 551,898 parameters, 40.5 MMACs
      before                   step 1593.27 ms (data 11.82, passes 1828.34, optimisers 79.02),
        1.00 times as fast
      float32, contiguous      step 2143.89 ms (data 7.42, passes 2225.15, optimisers 69.18),
        0.74 times as fast
      float32, channels_last   step 1709.35 ms (data 2.45, passes 1651.87, optimisers 70.10),
        0.93 times as fast
    resnet20: 269,722 parameters, 40.6 MMACs
      before                   step 1956.40 ms (data 14.79, passes 1939.75, optimisers 38.52),
        1.00 times as fast
      float32, contiguous      step 2465.76 ms (data 7.61, passes 2359.97, optimisers 34.53),
        0.79 times as fast
      float32, channels_last   step 2058.72 ms (data 6.88, passes 1917.67, optimisers 33.06),
        0.95 times as fast
    cells: Muon of 30 kernels: kernel by kernel 73.33 ms, equal shapes (26 batches) 73.34 ms,
        padded (2 batches) 214.57 ms
    cells: SGD of 62 weights: one by one 1.85 ms, foreach 3.71 ms, fused 0.70 ms
    resnet20: Muon of 19 kernels: kernel by kernel 33.33 ms, equal shapes (6 batches) 25.30 ms,
        padded (1 batches) 65.49 ms
    resnet20: SGD of 40 weights: one by one 1.36 ms, foreach 0.73 ms, fused 0.32 ms

The rows of scoring are of another run, beside other work, each figure from one repetition:
    python studies/gpu_speed.py --n 1

    32,8,0,0|0,0,0,0|24,0,0,0|0,0,0,0|0,8,0,0|24,0,8,0: 544,170 parameters, 32.5 MMACs,
        pass 885.8 ms (268 launches), kernels 1.87 times that (965 launches, 4 waits),
        scores with check 2.44 times
    16,24,0,0|0,0,0,0|16,0,0,0|0,8,0,0|8,0,0,0|8,0,8,0: 490,922 parameters, 43.0 MMACs,
        pass 1246.5 ms (299 launches), kernels 1.57 times that (1025 launches, 4 waits),
        scores with check 1.62 times
    16,0,0,0|24,0,0,0|0,32,0,0: 514,370 parameters, 33.6 MMACs, pass 579.3 ms (140 launches),
        kernels 2.17 times that (551 launches, 4 waits), scores with check 2.89 times
    8,24,0,0|0,0,0,0|8,24,0,0: 537,314 parameters, 39.5 MMACs, pass 610.7 ms (214 launches),
        kernels 2.74 times that (777 launches, 4 waits), scores with check 3.11 times
    56,0,0,0|0,0,0,0|16,0,0,0: 262,226 parameters, 17.2 MMACs, pass 406.7 ms (60 launches),
        kernels 2.92 times that (278 launches, 4 waits), scores with check 2.64 times

At commit a7cea09, which lacks this study, the same functions count 2,317 launches and 93 waits for
the kernels of the first cell, and 2,555, 1,213, 1,871 and 524 launches for the others.

Those of initialisations and eigenvalues are of a later run, beside other work (load average 3):
    python studies/gpu_speed.py --n 7

    2 initialisations of 32,8,0,0|0,0,0,0|24,0,0,0|0,0,0,0|0,8,0,0|24,0,8,0:
        one by one 1219.7 ms (476 launches), stacked 1723.5 ms (495 launches),
        own plan 1265.2 ms (965 launches), known plan 1197.1 ms (850 launches)
    2 initialisations of 16,24,0,0|0,0,0,0|16,0,0,0|0,8,0,0|8,0,0,0|8,0,8,0:
        one by one 1658.7 ms (532 launches), stacked 2346.0 ms (550 launches),
        own plan 1579.9 ms (1025 launches), known plan 1478.2 ms (898 launches)
    2 initialisations of 16,0,0,0|24,0,0,0|0,32,0,0:
        one by one 1217.9 ms (250 launches), stacked 1773.8 ms (263 launches),
        own plan 1155.4 ms (551 launches), known plan 1124.9 ms (490 launches)
    2 initialisations of 8,24,0,0|0,0,0,0|8,24,0,0:
        one by one 1618.2 ms (380 launches), stacked 2221.0 ms (400 launches),
        own plan 1555.3 ms (777 launches), known plan 1332.4 ms (686 launches)
    2 initialisations of 56,0,0,0|0,0,0,0|16,0,0,0:
        one by one 862.1 ms (108 launches), stacked 1053.5 ms (116 launches),
        own plan 798.7 ms (278 launches), known plan 720.1 ms (250 launches)
    eigenvalues of each of 40 kernels of 64 images: one by one 0.36 ms,
        together by numpy 0.27 ms, together by torch 0.22 ms

So initialisations are scored one after the other, with one plan: stacked parameters take 1.2 to 1.5
times as long and save no launch, as a batch norm of stacked parameters becomes several operations
and a convolution a grouped one. Eigenvalues are computed candidate by candidate: they take less
than a thousandth of the scoring of these cells.

On the CPU the passes take almost all of the time, and the step as a whole is as fast as before
within what other work disturbs. Data take a fifth to half of their time. SGD is faster fused. Muon
gains where kernels have equal shapes, as those of ResNet-20; those of the cells have 26 shapes. To
pad them costs a CPU more than it saves: padding is for cards, which wait for the start of each
operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn

from common.command import machine, parser
from common.halving import INSIDE
from common.initialisations import eigenvalue_row, initialisation_rows
from common.scoring_steps import scoring_rows, search_rows
from common.timing import medians
from common.training_steps import (
    PARTS,
    OurSteps,
    PlainSteps,
    Steps,
    milliseconds_in_turn,
    synchronise,
)
from pymoo_nas._machine import processor, resolve_device
from pymoo_nas.datasets import Dataset
from pymoo_nas.networks import count_all
from pymoo_nas.spaces import Architecture
from pymoo_nas.training._muon import PADDED, Muon

NETWORKS = {
    "cells": "32,8,0,0|0,0,0,0|24,0,0,0|0,0,0,0|0,8,0,0|24,0,8,0",
    "resnet20": "resnet20",
}
"""Name → the network that is trained; both have 41 million multiply-accumulates."""

QUICK = {"cells": "8,0,0,0|0,0,0,0|0,8,0,0", "resnet20": "resnet20"}
"""The same with `--quick`."""

SCORED = (
    NETWORKS["cells"],
    "16,24,0,0|0,0,0,0|16,0,0,0|0,8,0,0|8,0,0,0|8,0,8,0",
    "16,0,0,0|24,0,0,0|0,32,0,0",
    "8,24,0,0|0,0,0,0|8,24,0,0",
    "56,0,0,0|0,0,0,0|16,0,0,0",
)
"""Genotypes that are scored."""

QUICK_SCORED = (QUICK["cells"],)

OURS: Mapping[str, Mapping[str, Any]] = {
    "float32, contiguous": {"precision": "float32", "contiguous": True},
    "float32, channels_last": {"precision": "float32"},
    "bfloat16, contiguous": {"precision": "bfloat16", "contiguous": True},
    "bfloat16, channels_last": {"precision": "bfloat16"},
    "bfloat16, compiled": {"precision": "bfloat16", "compile": True},
}
"""Name of a row → arguments of `OurSteps`."""


def made_images(n: int, size: int) -> Dataset:
    """So many random images of ten classes, of size×size pixels."""
    rng = np.random.default_rng(0)

    def part(n: int) -> tuple[Any, Any]:
        labels = np.arange(n, dtype=np.int64) % 10
        return rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8), labels

    names = tuple(str(label) for label in range(10))
    return Dataset("made", *part(n), *part(20), names, "flip")


def training_rows(
    dataset: Dataset, texts: Mapping[str, str], device: torch.device, n: int
) -> Iterator[str]:
    """One line for each network and each way to train it."""
    for name, text in texts.items():

        def network(text: str = text) -> nn.Module:
            return Architecture.read(text, INSIDE).build("trained", dataset, seed=0)

        counts = count_all(network(), dataset.normalized(dataset.train_images[:1]))
        yield f"{name}: {counts.params:,} parameters, {counts.flops / 1e6:.1f} MMACs"
        rows: dict[str, Steps] = {"before": PlainSteps(network(), dataset, device)}
        compiling: dict[str, str] = {}
        for title, options in OURS.items():
            if options["precision"] == "bfloat16" and device.type != "cuda":
                continue  # many processors would take minutes
            rows[title] = steps = OurSteps(network(), dataset, device, **options)
            if options.get("compile"):
                compiling[title] = f", {steps.seconds_to_compile:.0f} s to compile"
        found = milliseconds_in_turn(rows, n, device, rounds=min(n, 3))
        for title in rows:
            yield _line(title, found[title], found["before"]) + compiling.get(title, "")


def _line(title: str, found: Mapping[str, float], before: Mapping[str, float]) -> str:
    parts = ", ".join(f"{part} {found[part]:.2f}" for part in PARTS)
    ratio = before["step"] / found["step"]
    return f"  {title:24} step {found['step']:7.2f} ms ({parts}), {ratio:.2f} times as fast"


def optimiser_rows(
    dataset: Dataset, texts: Mapping[str, str], device: torch.device, n: int
) -> Iterator[str]:
    """Two lines for each network: Muon and SGD, in several ways."""
    for name, text in texts.items():
        plain = PlainSteps(
            Architecture.read(text, INSIDE).build("trained", dataset), dataset, device
        )
        plain.passes(next(plain.data()))
        n_batches: dict[str, int] = {}
        ways: dict[str, Callable[[], Any]] = {"kernel by kernel": plain.muon}
        for title, padded in (("equal shapes", 0.0), ("padded", PADDED)):
            muon = Muon(plain.kernels, 1e-4, padded=padded)
            muon.step()
            n_batches[title] = sum(len(batches) for batches in muon._batches.values())
            ways[title] = muon.step
        yield _ways(f"{name}: Muon of {len(plain.kernels)} kernels", ways, n, device, n_batches)
        others = plain.sgd.param_groups[0]["params"]
        kinds: Mapping[str, dict[str, bool]] = {
            "one by one": {"foreach": False},
            "foreach": {"foreach": True},
            "fused": {"fused": True},
        }
        sgd = {
            kind: torch.optim.SGD(others, 1e-4, momentum=0.9, nesterov=True, **options).step
            for kind, options in kinds.items()
        }
        yield _ways(f"{name}: SGD of {len(others)} weights", sgd, n, device, {})


def _ways(
    title: str,
    ways: Mapping[str, Callable[[], Any]],
    n: int,
    device: torch.device,
    n_batches: Mapping[str, int],
) -> str:
    times = medians(ways, n, partial(synchronise, device))
    texts = []
    for name, seconds in times.items():
        batches = f" ({n_batches[name]} batches)" if name in n_batches else ""
        texts.append(f"{name}{batches} {1000 * seconds:.2f} ms")
    return f"{title}: " + ", ".join(texts)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study."""
    made = parser(__doc__, n=30)
    made.add_argument("--device", default="cpu")
    made.add_argument("--quick", action="store_true", help="small images and networks, n = 1")
    arguments = made.parse_args(argv)
    device = resolve_device(arguments.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    print(machine())
    print(f"{device}: {processor(device)}")
    n, texts = (1, QUICK) if arguments.quick else (arguments.n, NETWORKS)
    dataset = made_images(256, 8) if arguments.quick else made_images(128 * 300, 32)
    scored = QUICK_SCORED if arguments.quick else SCORED
    for row in chain(
        scoring_rows(scored, device, dataset, n, synchronise),
        search_rows(device, dataset, 2 if arguments.quick else 20),
        initialisation_rows(scored, device, dataset, n, synchronise),
        [eigenvalue_row(n)],
        training_rows(dataset, texts, device, n),
        optimiser_rows(dataset, texts, device, n),
    ):
        print(row, flush=True)


if __name__ == "__main__":
    main()
