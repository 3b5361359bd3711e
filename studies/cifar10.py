"""What do the networks that a search hands over come to on CIFAR-10, beside ResNets?

Search and training see the first 40,000 of the 45,000 training images only; the last 5,000 and the
1,000 test images are looked at once per network, in the end. Three searches of ours and three
random ones with as many candidates, each of which hands over a cell by `choose --by gradients`; the
six are trained on a short schedule, then the best
of each kind, by the images held out of that training, a CIFAR ResNet-20 and torchvision's ResNet-18
on the full one, all by the same command but for ResNet-18, which is trained by SGD: with Muon its
kernels of 512 channels would take several times as long. What is there already is not done again.

Command:
    python studies/cifar10.py --cifar PATH/cifar10.npz --work cifar10

AMD EPYC virtual machine, beside other work of one to two threads, which makes the minutes uneven;
seeds 0 to 2, one training each (--full ours resnet20), at a commit with three cells, limits of
32,000,000 multiply-accumulates and 205,000 acts, 300 candidates, a choice among the three best by
one epoch of training, and no decay of the kernels that Muon moves; not yet printed with those of
today:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads;
        accuracy on the 5,000 withheld images, then on the 1,000 test images
    ours 0         3 epochs   201,250 parameters  26.0 MMACs    5.2 min  82.98 %  82.10 %
    random 0       3 epochs   155,378 parameters  20.5 MMACs    4.4 min  82.60 %  81.20 %
    ours 1         3 epochs   194,554 parameters  25.6 MMACs    3.9 min  82.78 %  82.70 %
    random 1       3 epochs   186,490 parameters  24.4 MMACs    3.5 min  82.96 %  82.20 %
    ours 2         3 epochs   221,946 parameters  30.3 MMACs    3.6 min  82.86 %  83.00 %
    random 2       3 epochs   169,034 parameters  21.5 MMACs    2.8 min  82.80 %  82.00 %
    ours          20 epochs   221,946 parameters  30.3 MMACs   23.7 min  91.08 %  90.50 %
    resnet20      20 epochs   269,722 parameters  40.6 MMACs   26.6 min  90.80 %  89.30 %
    ours, short schedule: 82.87 ± 0.10 %, n = 3
    random, short schedule: 82.79 ± 0.18 %, n = 3

The networks are, ours and random in turn:
    8,16,0,0|0,0,0,0|0,8,0,0|16,0,0,0|0,0,0,0|0,0,8,0   8,16,0,0|0,0,0,0|8,0,16,0
    16,8,0,0|0,8,0,0|8,8,0,0                            8,16,0,0|8,0,0,0|0,8,8,0
    24,0,8,0|0,0,0,0|0,16,0,8                           0,8,0,0|0,16,0,0|16,0,0,0

Before that, all kernels were trained by SGD and features halved by averages between cells (first
with a limit of 28,000,000 multiply-accumulates and none on acts, then with the same):

    ours          20 epochs   191,522 parameters  25.9 MMACs   24.4 min  90.22 %  90.30 %
    resnet20      20 epochs   269,722 parameters  40.6 MMACs   27.5 min  90.02 %  89.90 %
    resnet18      20 epochs 11,181,642 parameters  37.0 MMACs   26.6 min  84.20 %  84.30 %
    ours, short schedule: 78.70 ± 1.89 %, n = 3
    random, short schedule: 78.28 ± 1.32 %, n = 3

    ours          20 epochs   212,066 parameters  27.1 MMACs   26.1 min  89.60 %  90.30 %
    random        20 epochs   186,490 parameters  24.4 MMACs   23.2 min  90.48 %  90.40 %
    ours, short schedule: 76.59 ± 1.41 %, n = 3
    random, short schedule: 77.85 ± 0.76 %, n = 3

With Muon (recipe.py) and max pooling between cells (reductions.py) three epochs come to four to six
points more, and the six networks lie within 0.4 points. What a search hands over is as good as the
best of random candidates by the same choice, and larger. 91 % is reached, in less time than
ResNet-18 takes by SGD; one point above ResNet-20 is not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rival_searches import by_choice, by_gradients, sampled

import pymoo_nas
from pymoo_nas.counts import count_flops, count_parameters
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.evaluation import evaluate
from pymoo_nas.files import load_weights, write_json
from pymoo_nas.models import build_model, is_cell
from pymoo_nas.problem import NASProblem
from pymoo_nas.runs import RunFolder
from pymoo_nas.search_space import CellSpace

N_TRAINING = 40_000
LIMITS: dict[str, Any] = {"max_params": 560_000, "max_flops": 45_000_000, "max_acts": 150_000}
"""The last two keep the time of a training at that of ResNet-18, whatever the cell is made of."""

CELLS = 4
"""One more than in Fig. 3: 32 pixels are halved three times before maps are as small as can be."""

SEARCH = {"generations": 50, "offspring": 20, "cells": CELLS} | {
    k.replace("_", "-"): v for k, v in LIMITS.items()
}
FULL = ("ours", "random", "resnet20", "resnet18")
OPTIMIZERS = {"resnet18": "sgd"}


def command(name: str, *arguments: str, **options: Any) -> None:
    """Run pymoo-nas as a user does."""
    flags = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    start = [sys.executable, "-c", "from pymoo_nas.cli import main; main()"]
    subprocess.run([*start, name, *arguments, *flags], check=True)


def split(cifar: Path, work: Path) -> Path:
    """The images that search and training may see, with the 5,000 withheld ones as test images."""
    path = work / "cifar40.npz"
    if not path.exists():
        arrays = dict(np.load(cifar))
        for kind in ("images", "labels"):
            everything = arrays[f"train_{kind}"]
            arrays[f"train_{kind}"] = everything[:N_TRAINING]
            arrays[f"test_{kind}"] = everything[N_TRAINING:]
        np.savez(path, **arrays)
    return path


def search_ours(images: Path, work: Path, seed: int) -> str:
    """The cell that a search hands over."""
    run = work / f"ours-{seed}"
    if not (run / "front.csv").exists():
        command("search", str(images), out=run, seed=seed, **SEARCH)
    if not (run / "choice.json").exists():
        command("choose", str(run), by="gradients")
    return str(RunFolder(run).choice()[0])


def search_random(images: Path, work: Path, seed: int) -> str:
    """The cell that random search hands over, by as many candidates and the same choice."""
    path = work / f"random-{seed}.json"
    if not path.exists():
        space = CellSpace(n_cells=CELLS)
        problem = NASProblem(images, search_space=space, **LIMITS, seed=seed)
        n = SEARCH["generations"] * SEARCH["offspring"]
        best = by_gradients(problem, by_choice(problem, sampled(problem, n, seed)))[0]
        write_json(path, {"genotype": space.format(best.X[0])})
    return str(json.loads(path.read_text("utf-8"))["genotype"])


def trained(images: Path, out: Path, model: str, epochs: int, validation: float) -> dict[str, Any]:
    """Train a network by the command line where it is not trained yet; its description."""
    if not (out / "training.json").exists():
        interrupted = (out / "training.state.safetensors").exists()
        command(
            "train",
            *(["--resume"] if interrupted else []),
            model=model,
            **({"cells": CELLS} if is_cell(model) else {}),
            dataset=images,
            epochs=epochs,
            validation=validation,
            optimizer=OPTIMIZERS.get(model, "muon"),
            precision="bfloat16",
            out=out,
        )
    described: dict[str, Any] = json.loads((out / "training.json").read_text("utf-8"))
    return described


def row(name: str, model: str, out: Path, dataset: Dataset, test: Dataset) -> str:
    """One line of the table."""
    described = json.loads((out / "training.json").read_text("utf-8"))
    network = build_model(model, dataset, space=CellSpace(n_cells=CELLS))
    load_weights(network, out)
    sample = dataset.normalized(dataset.train_images[:1])
    flops = count_flops(network, sample)
    second = evaluate(network, test.test_images, test.test_labels, dataset)
    return (
        f"{name:12s} {described['settings']['epochs']:3d} epochs {count_parameters(network):9,d} "
        f"parameters {flops / 1e6:5.1f} MMACs {described['seconds'] / 60:6.1f} min "
        f"{100 * described['test_accuracy']:6.2f} % {100 * second.accuracy:6.2f} %  {model}"
    )


def main() -> None:
    """Search, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--short", type=int, default=3, help="epochs of the short schedule")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--full", nargs="*", choices=FULL, default=FULL, help="on full schedule")
    arguments = parser.parse_args()
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    images = split(arguments.cifar, work)
    dataset, test = load_dataset(images), load_dataset(arguments.cifar)
    short: dict[str, list[dict[str, Any]]] = {"ours": [], "random": []}
    rows: list[tuple[str, str, Path]] = []
    for seed in range(arguments.seeds):
        for kind, search in (("ours", search_ours), ("random", search_random)):
            model = search(images, work, seed)
            out = work / f"{kind}-{seed}-short"
            described = trained(images, out, model, arguments.short, 0.1)
            short[kind].append({**described, "model": model})
            rows.append((f"{kind} {seed}", model, out))
    best = {
        kind: max(found, key=lambda described: described["validation_accuracy"])["model"]
        for kind, found in short.items()
    }
    for name in arguments.full:
        model = best.get(name, name)
        out = work / f"{name}-full"
        trained(images, out, model, arguments.epochs, 0.0)
        rows.append((name, model, out))
    print(
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; "
        f"accuracy on the 5,000 withheld images, then on the 1,000 test images"
    )
    for line in rows:
        print(row(*line, dataset, test))
    for kind, found in short.items():
        values = 100 * np.array([described["test_accuracy"] for described in found])
        print(f"{kind}, short schedule: {values.mean():.2f} ± {values.std(ddof=1):.2f} %, "
              f"n = {len(values)}")  # fmt: skip


if __name__ == "__main__":
    main()
