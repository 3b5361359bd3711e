"""What do the networks that a search hands over come to on CIFAR-10, beside ResNets?

Search and training see the first 40,000 of the 45,000 training images only, by which reduction and
limits were chosen too; the last 5,000 and the 1,000 test images are looked at once per training, at
its end. Three searches of ours and three random ones with as many candidates, each of which hands
over a cell by `choose --by gradients`; the six are trained on a short schedule, then the best of
each kind, by the images held out of that training, a CIFAR ResNet-20 and torchvision's ResNet-18 on
the full one, all by the same command. What is there already is not done again.

Command:
    python studies/cifar10.py --cifar PATH/cifar10.npz --work cifar10 --optimizers muon \
        --full ours resnet20 --full-seeds 2
    python studies/cifar10.py --cifar PATH/cifar10.npz --work cifar10 --optimizers muon \
        --full random resnet18
    python studies/cifar10.py --cifar PATH/cifar10.npz --work cifar10 --optimizers muon \
        --searches ours ranks random --full

AMD EPYC virtual machine; trainings left out the incomplete last batch and kept moving averages in
batch norms, as versions before did. Beside other work, of ResNet-18, ResNet-20 0 and ours 1 for a
while of two threads, which makes the minutes uneven. On the short schedule the seed is that of the
search (the training has 0), on the full one that of the training; ± is the standard deviation over
them:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads;
        accuracy on the 5,000 withheld images, then on the 1,000 test images
    ours     0 muon   3 epochs    543,242 parameters  80.7 MMACs   4.2 min  87.22 %  88.50 %
    ours     1 muon   3 epochs    540,746 parameters  80.9 MMACs   3.8 min  86.82 %  85.90 %
    ours     2 muon   3 epochs    551,898 parameters  81.5 MMACs   4.6 min  87.36 %  88.20 %
    ranks    0 muon   3 epochs    469,466 parameters  71.1 MMACs   5.7 min  86.82 %  85.70 %
    ranks    1 muon   3 epochs    500,042 parameters  75.4 MMACs   5.2 min  87.16 %  86.30 %
    ranks    2 muon   3 epochs    551,898 parameters  81.5 MMACs   4.6 min  87.36 %  88.20 %
    random   0 muon   3 epochs    320,554 parameters  50.1 MMACs   3.4 min  85.68 %  84.10 %
    random   1 muon   3 epochs    283,002 parameters  43.2 MMACs   3.6 min  85.68 %  84.30 %
    random   2 muon   3 epochs    384,762 parameters  59.0 MMACs   3.7 min  86.42 %  86.00 %
    ours     0 muon  20 epochs    551,898 parameters  81.5 MMACs  33.6 min  93.24 %  92.70 %
    ours     1 muon  20 epochs    551,898 parameters  81.5 MMACs  41.8 min  93.14 %  93.10 %
    random   0 muon  20 epochs    384,762 parameters  59.0 MMACs  25.8 min  92.08 %  92.80 %
    resnet20 0 muon  20 epochs    269,722 parameters  40.6 MMACs  22.8 min  91.48 %  90.90 %
    resnet20 1 muon  20 epochs    269,722 parameters  40.6 MMACs  16.6 min  91.56 %  91.10 %
    resnet18 0 muon  20 epochs 11,181,642 parameters  37.0 MMACs  44.7 min  86.72 %  86.70 %
    ours, muon, short schedule: 87.13 ± 0.28 %, n = 3
    ranks, muon, short schedule: 87.11 ± 0.27 %, n = 3
    random, muon, short schedule: 85.93 ± 0.43 %, n = 3
    ours, muon, full schedule: 93.19 ± 0.07 %, n = 2
    resnet20, muon, full schedule: 91.52 ± 0.06 %, n = 2

"ranks" is what `choose` hands over by ranks, its default, of the searches of ours: as good, with
fewer parameters. The cells are these, of which the third of ours and of random was trained in full:
    ours    8,24,0,0|0,0,0,0|8,24,0,0
            16,24,0,0|0,0,0,0|16,0,0,0|0,0,0,0|16,0,0,0|16,0,0,0
            32,8,0,0|0,0,0,0|24,0,0,0|0,0,0,0|0,8,0,0|24,0,8,0
    ranks   8,24,0,0|0,0,0,0|0,24,0,0
            16,24,0,0|0,0,0,0|16,0,0,0|0,8,0,0|8,0,0,0|8,0,8,0
            the same as the third of ours
    random  16,16,0,0|16,8,0,0|0,8,0,0
            0,16,0,0|16,0,8,0|0,0,0,0|0,0,8,0|8,8,0,0|0,8,0,0
            16,16,0,0|8,8,0,0|0,16,0,0

By Muon a step of ours takes less time than one of ResNet-18, and twice that of ResNet-20 (0.31,
0.40 and 0.15 s); by SGD almost twice that of ResNet-18 (0.30, 0.17 and 0.14 s: speed.py).

With half these limits, and cells that halve the map inside (`--reduction inside --max-flops
45000000 --max-acts 150000`; at an earlier commit, on a slower machine):

    ours 0    muon   3 epochs    435,242 parameters  40.2 MMACs   4.5 min  85.12 %  83.90 %
    ours 1    muon   3 epochs    550,058 parameters  41.0 MMACs   4.3 min  84.98 %  84.70 %
    ours 2    muon   3 epochs    521,930 parameters  41.5 MMACs   3.9 min  85.40 %  85.10 %
    random 0  muon   3 epochs    241,114 parameters  23.7 MMACs   2.9 min  83.52 %  83.70 %
    random 1  muon   3 epochs    138,778 parameters  23.0 MMACs   2.5 min  82.04 %  83.10 %
    random 2  muon   3 epochs    135,194 parameters  19.7 MMACs   2.3 min  81.26 %  81.50 %
    ours      muon  20 epochs    521,930 parameters  41.5 MMACs  27.9 min  91.74 %  90.80 %
    random    muon  20 epochs    241,114 parameters  23.7 MMACs  21.7 min  90.40 %  89.20 %
    ours, short schedule: 85.17 ± 0.21 %, n = 3
    random, short schedule: 82.27 ± 1.15 %, n = 3

The cell that was trained in full is 16,0,0,0|24,0,0,0|0,32,0,0; its step takes no more time than
one of ResNet-18 by SGD either. Cells that halve the map behind them are worse in these limits
(`--searches ours --seeds 2 --max-flops 45000000 --max-acts 150000 --full`, on the machine above):

    ours     0 muon   3 epochs    233,962 parameters  40.1 MMACs   1.8 min  84.52 %  83.50 %
    ours     1 muon   3 epochs    169,482 parameters  27.9 MMACs   1.8 min  83.46 %  82.20 %
    ours, muon, short schedule: 83.99 ± 0.75 %, n = 2

At earlier commits, in this order: ours without a stem, four cells that halve the map behind them,
at most 45,000,000 multiply-accumulates and 150,000 acts, by Muon and by SGD; ResNet-20 by Muon;
ours without a stem, three cells, at most 90,000,000 and 300,000; ResNet-20 before the decay of the
kernels that Muon moves; both ResNets by SGD, with which training has not changed:

    ours      muon  20 epochs    478,298 parameters  36.2 MMACs  24.4 min  91.48 %  91.10 %
    ours      sgd   20 epochs    478,298 parameters  36.2 MMACs  23.9 min  90.34 %  90.80 %
    resnet20  muon  20 epochs    269,722 parameters  40.6 MMACs  29.3 min  91.48 %  90.90 %
    ours      muon  20 epochs    532,554 parameters  74.4 MMACs  58.0 min  92.24 %  93.10 %
    resnet20  muon  20 epochs    269,722 parameters  40.6 MMACs  26.6 min  90.80 %  89.30 %
    resnet20  sgd   20 epochs    269,722 parameters  40.6 MMACs  27.5 min  90.02 %  89.90 %
    resnet18  sgd   20 epochs 11,181,642 parameters  37.0 MMACs  26.6 min  84.20 %  84.30 %

A search hands over larger networks than random candidates by the same choice, and better ones,
after three epochs and after twenty. Ours is 1.7 points more accurate than ResNet-20 and
6.5 more than ResNet-18, by the same command.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.command import machine, parser
from common.command_line import command
from common.searches import by_choice, by_gradients, sampled
from common.trainings import described, has_ended, was_interrupted
from pymoo_nas._machine import write_json
from pymoo_nas.choice import order_scored
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.networks import count_flops, count_parameters
from pymoo_nas.runs import RunFolder
from pymoo_nas.search import NASProblem
from pymoo_nas.spaces import REDUCTIONS, Architecture, CellSpace
from pymoo_nas.training import load_weights
from pymoo_nas.training._evaluation import evaluate
from pymoo_nas.training._optimizers import OPTIMIZERS

FULL = ("ours", "random", "resnet20", "resnet18")


@dataclass(frozen=True)
class Size:
    """How large the networks of the two searches may be.

    Limits on multiply-accumulates and acts bound the time of a training, whatever the cell is made
    of (speed.py).
    """

    cells: int
    reduction: str
    max_flops: int
    max_acts: int
    max_params: int = 560_000

    @property
    def limits(self) -> dict[str, Any]:
        """Those of a problem."""
        return {
            "max_params": self.max_params,
            "max_flops": self.max_flops,
            "max_acts": self.max_acts,
        }

    @property
    def space(self) -> CellSpace:
        """What is searched."""
        return CellSpace(n_cells=self.cells, reduction=self.reduction)

    @property
    def options(self) -> dict[str, Any]:
        """The space, on a command line."""
        return {"cells": self.cells, "reduction": self.reduction}


@dataclass(frozen=True)
class Row:
    """A trained network of the table, and where it lies."""

    kind: str
    schedule: str
    model: str
    out: Path
    seed: int
    optimizer: str = "muon"

    @property
    def described(self) -> dict[str, Any]:
        """What the training says of itself."""
        return described(self.out)

    def text(self, size: Size, dataset: Dataset, test: Dataset) -> str:
        """One line of the table."""
        found = self.described
        network = Architecture.read(self.model, size.space).build("trained", dataset)
        load_weights(network, self.out)
        flops = count_flops(network, dataset.normalized(dataset.train_images[:1]))
        second = evaluate(network, test.test_images, test.test_labels, dataset)
        return (
            f"{self.kind:8s} {self.seed} {self.optimizer:4s} "
            f"{found['settings']['epochs']:3d} epochs "
            f"{count_parameters(network):10,d} parameters {flops / 1e6:5.1f} MMACs "
            f"{found['seconds'] / 60:5.1f} min {100 * found['test_accuracy']:6.2f} % "
            f"{100 * second.accuracy:6.2f} %  {self.model}"
        )


def split(cifar: Path, work: Path, withheld: int) -> Path:
    """The images that search and training may see, with the last, withheld ones as test images."""
    path = work / "cifar40.npz"
    if not path.exists():
        arrays = dict(np.load(cifar))
        for kind in ("images", "labels"):
            everything = arrays[f"train_{kind}"]
            arrays[f"train_{kind}"] = everything[:-withheld]
            arrays[f"test_{kind}"] = everything[-withheld:]
        np.savez(path, **arrays)
    return path


def keep_size(path: Path, size: Size) -> None:
    """Networks of other sizes do not stand in one table."""
    if not path.exists():
        write_json(path, asdict(size))
    kept = Size(**json.loads(path.read_text("utf-8")))
    if kept != size:
        raise SystemExit(f"{path.parent} holds networks of {kept}; take another --work for {size}")


def search_ours(images: Path, work: Path, size: Size, effort: dict[str, int]) -> str:
    """The cell that a search hands over."""
    run = work / f"ours-{effort['seed']}"
    if not (run / "front.csv").exists():
        command("search", images, out=run, **size.options, **effort, **size.limits)
    if not (run / "choice.json").exists():
        command("choose", run, by="gradients")
    choice = RunFolder(run).choice()
    assert choice is not None
    return choice.genotypes[0]


def search_ours_by_ranks(images: Path, work: Path, size: Size, effort: dict[str, int]) -> str:
    """The cell that the same search hands over by ranks in scores and size."""
    search_ours(images, work, size, effort)
    history = RunFolder(work / f"ours-{effort['seed']}").history()
    return str(order_scored(history)["genotype"].iloc[0])


def search_random(images: Path, work: Path, size: Size, effort: dict[str, int]) -> str:
    """The cell that random search hands over, by as many candidates and the same choice."""
    seed = effort["seed"]
    path = work / f"random-{seed}.json"
    if not path.exists():
        problem = NASProblem(images, search_space=size.space, **size.limits, seed=seed)
        scored = sampled(problem, effort["generations"] * effort["offspring"], seed)
        best = by_gradients(problem, by_choice(problem, scored))[0]
        write_json(path, {"genotype": size.space.format(best.X[0])})
    return str(json.loads(path.read_text("utf-8"))["genotype"])


SEARCHES = {"ours": search_ours, "random": search_random, "ranks": search_ours_by_ranks}
"""Name → a way to a cell; "ranks" is ours by another choice."""


def train(images: Path, row: Row, size: Size, **options: Any) -> Row:
    """Train a network by the command line where it is not trained yet."""
    if not has_ended(row.out):
        command(
            "train",
            *(["--resume"] if was_interrupted(row.out) else []),
            model=row.model,
            **(size.options if CellSpace.looks_like(row.model) else {}),
            dataset=images,
            optimizer=row.optimizer,
            precision="bfloat16",
            out=row.out,
            **options,
        )
    return row


def main(argv: Sequence[str] | None = None) -> None:
    """Search, train, print."""
    arguments = parsed(argv)
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    images = split(arguments.cifar, work, arguments.withheld)
    limits = {name: getattr(arguments, name) for name in ("max_params", "max_flops", "max_acts")}
    size = Size(arguments.cells, arguments.reduction, **limits)
    effort = {"generations": arguments.generations, "offspring": arguments.offspring}
    keep_size(work / "size.json", size)
    short: dict[str, list[Row]] = {kind: [] for kind in arguments.searches}
    for seed, kind in itertools.product(range(arguments.seeds), arguments.searches):
        model = SEARCHES[kind](images, work, size, {**effort, "seed": seed})
        row = Row(kind, "short", model, work / f"{kind}-{seed}-short", seed)
        short[kind].append(train(images, row, size, epochs=arguments.short, validation=0.1))
    best = {
        kind: max(rows, key=lambda row: float(row.described["validation_accuracy"])).model
        for kind, rows in short.items()
    }
    full = [
        Row(
            name,
            "full",
            best.get(name, name),
            work / f"{name}-full-{optimizer}-{seed}",
            seed,
            optimizer,
        )
        for seed, name, optimizer in itertools.product(
            range(arguments.full_seeds), arguments.full, arguments.optimizers
        )
        if name in best or name not in SEARCHES
    ]
    for row in full:
        train(images, row, size, epochs=arguments.epochs, validation=0.0, seed=row.seed)
    print(f"{machine()}; accuracy on the 5,000 withheld images, then on the 1,000 test images")
    rows = [*itertools.chain.from_iterable(short.values()), *full]
    report(rows, size, load_dataset(images), load_dataset(arguments.cifar))


def report(rows: list[Row], size: Size, dataset: Dataset, test: Dataset) -> None:
    """Print every row; of those that differ by a search or by a seed, mean ± standard deviation."""
    alike: dict[str, list[float]] = {}
    for row in rows:
        print(row.text(size, dataset, test))
        group = f"{row.kind}, {row.optimizer}, {row.schedule} schedule"
        alike.setdefault(group, []).append(100 * row.described["test_accuracy"])
    for group, values in alike.items():
        if len(values) > 1:
            spread = np.std(values, ddof=1)
            print(f"{group}: {np.mean(values):.2f} ± {spread:.2f} %, n = {len(values)}")


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the command line."""
    effort = {"seeds": 3, "generations": 50, "offspring": 20, "withheld": 5000}
    limits = {"max_params": 560_000, "max_flops": 90_000_000, "max_acts": 300_000}
    of = parser(__doc__, "cifar", "work", **effort, cells=3, **limits)
    of.add_argument("--searches", nargs="+", choices=SEARCHES, default=["ours", "random"])
    of.add_argument("--reduction", choices=REDUCTIONS, default="between")
    of.add_argument("--short", type=int, default=3, help="epochs of the short schedule")
    of.add_argument("--epochs", type=int, default=20)
    of.add_argument("--full", nargs="*", choices=FULL, default=FULL, help="on full schedule")
    of.add_argument("--full-seeds", type=int, default=1, help="trainings of each of these")
    of.add_argument(
        "--optimizers", nargs="+", choices=OPTIMIZERS, default=[*OPTIMIZERS], help="of the full one"
    )
    return of.parse_args(argv)


if __name__ == "__main__":
    main()
