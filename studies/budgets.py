"""At three budgets of parameters and multiply-accumulates: what do searches hand over on CIFAR-10?

The budgets are (A) that of MLPerf Tiny's ResNet-8, 78,700 parameters and 12.5 M
multiply-accumulates per image, (B) that of ResNet-20, 280,000 and 41 M, and (C) 560,000 and 82 M.
Every search scores about 600 candidates, 30 generations of 20. Each network is trained by `train`
with its defaults but for the epochs; the full schedule may add `--ema` and `--cutout`, and then has
rows of its own. The kinds of networks:

    ours            a search with otherwise the defaults
    shortcut        the same with `--shortcut`
    inside          the same of cells that halve the map inside
    light           "inside" with `--shortcut --widths 1,1.5,2`, of separable convolutions in the
                    place of residual blocks
    later           a search by later scores
    front           cells of its front in sequence, which `train` takes without a choice
    staged          the same scores for another cell at each stage, without tournaments
    staged-chosen   that with the choice of "tried"
    chosen          "later" with the choice of "tried"
    tried           "later" with `--shortcut`; the first eight by ranks are trained for two epochs,
                    and the best is taken, or a smaller one as good
    lean            "tried" with a limit of acts
    limited         "lean" without these trainings
    separable       "later" of separable convolutions, with a limit of acts
    evolved         "shortcut" with the choice of "te-nas"
    random          as many random candidates with the scores and the choice of "tried"
    random-later    as many with those of "later"
    te-nas          of others with `--shortcut` the one that `choose --by te-nas` takes
    largest         the largest of these
    resnet8, resnet14, resnet20, resnet32, mobilenetv2, shufflenetv2
                    by hand, scaled in width to the largest within the budget

Search and training see the first 40,000 training images. On a short schedule every rival is trained
once for each search, a tenth of the images held out; by these the best of each kind is chosen (of
the ResNets: the best depth), and trained on the full schedule once for each seed. The last 5,000
training images are looked at once per training, at its end. What is there already is not done
again; processes for different `--kinds` may share a folder.

A line for each budget and kind, after "N epochs: parameters, MMACs, thousand acts, ms per image,
minutes of search and choice, of training, accuracy %, n".

Commands of what is measured so far; their rows are kept in rows/budgets:
    python studies/budgets.py --cifar PATH/cifar10.npz --work studies/rows/budgets --budgets A \
        --kinds ours shortcut inside light later front staged random random-later te-nas largest \
        resnet8 resnet14 resnet20 resnet32 mobilenetv2 shufflenetv2 --epochs 0
    ... --budgets A --kinds light --full-seeds 1
    ... --budgets A --kinds later tried resnet8 resnet14 resnet20 resnet32
    ... --budgets A --kinds tried --epochs 17 --full-seeds 1
    ... --budgets A --kinds te-nas
    ... --budgets A --kinds lean --seeds 2
    ... --budgets A --kinds staged-chosen --seeds 2 --epochs 0
    ... --budgets A --kinds separable --epochs 0
    ... --budgets A --kinds evolved --seeds 1 --epochs 0
    ... --budgets B --kinds shortcut inside tried lean --seeds 1 --epochs 0
    ... --budgets B --kinds chosen --seeds 1 --full-seeds 1
    ... --budgets B --kinds ours largest mobilenetv2 shufflenetv2 --epochs 0
    ... --budgets B --kinds later random-later resnet8 resnet14 resnet20 resnet32
    ... --budgets B --kinds resnet20 --full-seeds 1
    ... --budgets C --kinds later --seeds 1
    ... --budgets B C --kinds resnet14 te-nas
    ... --budgets C --kinds resnet8 resnet20 mobilenetv2 shufflenetv2 --epochs 0
    ... --budgets C --kinds later random-later largest --epochs 0
    ... --budgets C --kinds limited --seeds 1 --full-seeds 1

The long schedule, on a machine with a GPU, is to be measured:
    ... --epochs 100 --ema 0.999 --cutout 16 --device cuda

AMD EPYC virtual machine, one or two other studies beside; "minutes of search" are those of the
processor; ± is the standard deviation over n searches, on the full schedule over n trainings of the
best network:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; accuracy on 5000 images
        that nothing else has seen
    4 epochs: parameters, MMACs, thousand acts, ms per image, minutes of search, of training,
        accuracy %, n
    A evolved         69,322  11.4  134.1   2.51   7.2  26.1  82.54  1
    A front           65,738  12.0  154.4   1.16   2.3   2.7  79.89 ± 2.43  3
    A inside          60,805  11.2  138.1   1.08   1.5   3.0  74.30 ± 3.58  3
    A largest         76,821  12.5  214.6   1.17   1.5   5.0  79.88 ± 2.95  3
    A later           67,082  12.2  152.2   1.15   2.3   2.7  80.94 ± 1.63  3
    A lean            67,314  11.6  144.8   1.09  12.5   3.7  82.43 ± 0.38  2
    A light           61,532  12.2  282.3   2.14   2.1   3.7  80.07 ± 0.40  3
    A mobilenetv2     72,842   4.0  322.4   1.73         6.5  69.72  1
    A ours            75,338  12.3  154.5   1.12   1.5   3.1  78.87 ± 2.22  3
    A random          68,021  11.2  192.1   1.12  11.9   2.8  82.21 ± 0.37  3
    A random-later    73,189  12.3  142.9   1.08   1.9   2.6  81.18 ± 1.52  3
    A resnet14        67,860  10.4   81.9   0.74         2.2  79.46  1
    A resnet20        68,050  10.2   94.2   0.83         1.9  79.74  1
    A resnet32        66,064   9.8  113.7   1.07         3.0  75.68  1
    A resnet8         75,290  12.2   73.7   0.60         1.7  78.08  1
    A separable       62,441  12.2  232.0   1.55   2.4   4.6  80.39 ± 2.38  3
    A shortcut        71,802  12.0  201.6   1.26   1.7   3.5  81.38 ± 1.59  3
    A shufflenetv2    72,157   2.6  127.0   1.70         2.3  70.18  1
    A staged          45,087  12.3  127.2   1.03   1.9   2.4  78.63 ± 4.01  3
    A staged-chosen    49,266  11.6  125.4   1.00  11.0   2.1  79.95 ± 3.78  2
    A te-nas          69,775  11.9  161.7   1.03   1.5   3.9  82.23 ± 0.56  3
    A tried           73,999  11.5  205.8   1.27  14.4   3.0  81.91 ± 0.89  3
    B chosen         247,850  38.0  297.9   2.22  31.9  11.8  87.00  1
    B inside         255,834  34.6  319.4   2.49   2.7   5.1  81.98  1
    B largest        270,410  40.9  280.5   2.00   2.1   5.5  85.48 ± 1.62  3
    B later          261,519  40.7  311.2   2.45   4.5   6.7  86.67 ± 0.41  3
    B lean           254,250  40.4  277.4   2.28  26.8   5.7  86.24  1
    B mobilenetv2    263,578  11.8  591.2   1.97         7.0  76.76  1
    B ours           267,418  40.0  337.2   2.63   3.0   6.6  83.86 ± 0.92  3
    B random-later   230,143  37.4  310.2   2.04   2.9   5.9  85.97 ± 1.79  3
    B resnet14       242,811  37.1  155.6   1.37         5.3  85.64  1
    B resnet20       269,722  40.6  188.4   1.61         4.5  84.38  1
    B resnet32       261,718  38.8  227.3   1.72         6.2  82.14  1
    B resnet8        245,031  39.6  133.6   1.00         6.3  84.56  1
    B shortcut       262,842  39.8  257.9   1.84   3.4   8.4  81.78  1
    B shufflenetv2   266,294   9.5  251.5   1.91         5.1  78.06  1
    B te-nas         241,439  38.3  249.1   1.88   2.1   6.5  85.33 ± 1.53  3
    B tried          253,930  38.1  298.9   2.39  29.6   5.9  85.82  1
    C largest         537,295  80.4  480.5   6.34   2.5  32.6  88.42 ± 0.45  3
    C later          531,829  80.1  457.0   7.04  20.2  31.7  87.73 ± 0.58  3
    C limited        508,874  78.7  389.1   3.22   6.6  11.4  88.16  1
    C mobilenetv2    533,882  22.3  808.0   2.25        15.0  79.80  1
    C random-later   541,706  80.9  405.1   6.56   9.1  32.2  88.04 ± 0.25  3
    C resnet14       525,654  80.3  229.4   1.96         9.4  87.34  1
    C resnet20       508,672  76.4  259.1   2.34         8.7  86.62  1
    C resnet8        488,115  78.6  188.9   1.51         8.8  86.48  1
    C shufflenetv2   545,134  19.5  367.1   2.05        10.0  79.74  1
    C te-nas         502,042  76.0  471.0   3.08   2.5   8.9  88.36 ± 0.49  3
    17 epochs: parameters, MMACs, thousand acts, ms per image, minutes of search, of training,
        accuracy %, n
    A tried           74,938  11.4  212.9   1.26  14.4  14.3  87.86  1
    20 epochs: parameters, MMACs, thousand acts, ms per image, minutes of search, of training,
        accuracy %, n
    A later           71,114  12.4  134.1   1.08   2.3  13.0  87.74 ± 0.00  2
    A lean            75,066  12.2  141.2   1.16  12.5  19.9  88.27 ± 0.07  2
    A light           69,124  12.0  290.1   1.97   2.1  21.0  87.28  1
    A resnet14        67,860  10.4   81.9   0.70        12.7  86.97 ± 0.47  2
    A te-nas          69,322  11.4  148.4   1.05   1.5  12.7  88.37 ± 0.30  2
    A tried           74,938  11.4  212.9   1.32  14.4  17.3  88.41 ± 0.10  2
    B chosen         247,850  38.0  297.9   2.23  31.9  45.8  91.74  1
    B later          257,194  40.6  294.8   2.23   4.5  46.6  91.80 ± 0.08  2
    B random-later   255,850  36.9  375.7   3.91   2.9  87.8  91.71 ± 0.21  2
    B resnet14       242,811  37.1  155.6   1.34        34.7  91.19 ± 0.24  2
    B resnet20       269,722  40.6  188.4   1.55        23.9  91.02  1
    B te-nas         271,754  40.9  227.3   3.16   2.1  62.7  91.39 ± 0.16  2
    C later          546,186  80.3  501.7   3.97  20.2  72.2  92.89 ± 0.47  2
    C limited        508,874  78.7  389.1   3.33   6.6  77.9  92.60  1
    C resnet14       525,654  80.3  229.4   1.96        56.9  92.64 ± 0.11  2
    C te-nas         548,282  81.6  513.0   3.42   2.5  63.1  93.38 ± 0.42  2
    A ms per step of 128 images, in turn: later 109 (1.10), lean 108 (1.09), light 155 (1.57),
        resnet14 99 (1.00), te-nas 107 (1.07), tried 134 (1.35)
    B ms per step of 128 images, in turn: chosen 247 (1.32), later 248 (1.32), random-later 278
        (1.48), resnet14 221 (1.18), resnet20 188 (1.00), te-nas 194 (1.04)
    C ms per step of 128 images, in turn: later 468 (1.30), limited 450 (1.26), resnet14 359
        (1.00), te-nas 437 (1.22)

With the defaults a search hands over networks that are not better than the best ResNet: 0.6 points
below ResNet-14 within A, which is within the deviation, 1.8 below it within B. Cells that halve the
map inside, which were the default before, are 4.6 and, by the first seed, 2.9 points worse than
these: their first convolutions see the largest map at full cost, and the limits leave little for
the others. (Halving between cells is the default by the images held out of these trainings, a
tenth: 79.27 % for 75.28 within A, 85.65 for 82.93 within B.) Shortcuts are worth 2.5 points within
A, 82.02 for 79.27 by the images held out; the one search by the paper's scores within B with them
hands over a network 3.1 points worse than that of the same seed without. By the paper's scores
networks differ as much from search to search: within A from 77.4 to 81.4.

Later scores are worth 2.1 and 2.8 points more than the paper's, within A with two seeds of three
only. Shortcuts and a choice by short trainings add 1.0 within A, most of it with one seed. Within B
no kind with shortcuts has a mean above later scores alone, and the choice without shortcuts
("chosen", n = 1) has 0.3 more after four epochs and 0.1 less after 20: it is not worth its half
hour there. With a limit of acts the networks are as good within A, and train faster: a step takes
1.09 times the time of ResNet-14's, without the limit 1.35 times. (Times depend on what ran beside,
and on the processor: te-nas within B took 25 and 100 minutes, random-later 36 and 140; later
searches within C 8, 27 and 26.)

On the full schedule within A, lean has 88.27 ± 0.07 %, 1.30 points above the best ResNet within the
same limits; the first of random candidates with shortcuts by te-nas has 88.37 ± 0.30 %, 1.40 above
it, at 1.07 times its time and after 1.5 minutes of search without a training; later scores alone
are 0.77 above it, at 1.10 times its time; tried of three epochs fewer is 0.89 above it. Within B
later scores are 0.61 above it, at 1.12 times its time (248 and 221 ms; 1.04 before), the first of
as many random candidates by these scores 0.52, at 1.26 times, and "chosen" 0.55 (n = 1); te-nas has
91.39 ± 0.16 there, 0.20 above it, within the deviation, and ResNet-20 91.02 (n = 1). Within C
te-nas has 93.38 ± 0.42 %, 0.74 above ResNet-14, at 1.22 times its time; later scores have 92.89 ±
0.47, 0.25 above it, at 1.30 times, limited 92.60 (n = 1).

There were three targets within each: 88.0, 92.8 and 94.0 %; 1.0 point above the best ResNet; and a
step of 1.3 times its time. Within A lean and te-nas meet all three, within B and C the best ones
meet the last alone (te-nas within C was 0.45 and 1.04 above it, at most 93.68).

After four epochs within C, means are 0.39 (later) to 1.08 (largest) points above ResNet-14, the
best depth; of three evolved networks one is 0.28 below it, of the others none.

No gain by evolution shows. After 20 epochs within B, the first of as many random candidates by
later scores has 91.71 ± 0.21, the evolved one 91.80 ± 0.08. After four, of three searches each, the
first of as many random candidates by later scores has 81.18 within A, the evolved one 80.94; 85.97
and 86.67 within B; 88.04 and 87.73 within C, which as many searches cannot tell from chance. With
shortcuts and the choice by training these are 82.21 and 81.91 within A, and with shortcuts in the
order of TE-NAS, without a training, 82.23 are reached (by evolution and this order 82.54, n = 1; by
the default order 81.38). The largest of the same random candidates have 79.88, about as much as
ResNet-20: scores are worth 2.4 points there (n = 3, most of it with one seed), and nothing within B
and C, where the largest have 85.48 and 88.42, and those in the order of TE-NAS 85.33 and 88.36.
(One search of three hands over the same network by both, within B and within C; the one of C is
that of the 20 epochs.) By the paper's scores, within 560,000 parameters, 90 M multiply-accumulates
and 300,000 acts, evolution was worth 1.2 points with 1,000 candidates (cifar10.py). handed_over.py
asks what the scores still tell about networks that they have chosen.

Networks with another cell at each stage are no better here, where the same cells were 1.03 ± 0.31
points better when they halved the map inside (spaces.py). Three cells of the front in sequence have
79.89. Of three searches for a cell for each stage, without tournaments, one hands over a network of
83.24; those of the two others have less than half of the parameters that the limit allows: the
first two stages take up the multiply-accumulates, and leave few to the third, where most parameters
are. A choice by training does not mend it (82.62 and 77.28).

MobileNetV2 and ShuffleNetV2 are worse by far on so short a schedule. Separable convolutions,
shortcuts and less wide later stages are worth 5.8 points where cells halve inside, but a step takes
1.57 times that of ResNet-14, and the network is 0.3 above it on the full schedule (n = 1). Where
cells halve between them, searches by later scores for cells of separable convolutions, with a limit
of acts, are not better: 80.39 for 80.94. The same cells are 2.1 points better with them
(spaces.py); so it is these searches, or the limit.

To be measured: random in full, what has no line within B and C, further seeds of n below three.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.budget_networks import build, paced, report_paces
from common.budget_searches import BUDGETS, KINDS, SEARCH_OF, SEARCHES
from common.command import machine, parser
from common.hand_designed import HAND_DESIGNED, largest_within
from common.images import of_training_images
from common.rows import rows_by, with_deviation
from common.trainings import described, has_ended, was_interrupted
from pymoo_nas.datasets import Dataset, load_dataset
from pymoo_nas.networks import count_all
from pymoo_nas.scores import measure_latency
from pymoo_nas.training import AUTO, train

HELD_OUT = 0.1

ADDED = ("ema", "cutout")
"""Settings of `train` that the full schedule may add."""


def schedule(of: argparse.Namespace, epochs: int) -> str:
    """The name of a schedule, which tells all that it changes of `train`."""
    parts = [str(epochs)]
    if of.precision != AUTO:
        parts.append(of.precision)
    if epochs != of.short:
        parts += [f"{name}{getattr(of, name):g}" for name in ADDED if getattr(of, name)]
    return "-".join(parts)


def searched(of: argparse.Namespace, dataset: Dataset, work: Path) -> pd.DataFrame:
    """One row per search: its genotypes, and its seconds of one core."""
    keys = [
        f"{budget} {name} {seed}"
        for seed in range(of.seeds)
        for budget in of.budgets
        for name in SEARCHES
        if any(SEARCH_OF.get(kind) == name for kind in of.kinds)
    ]

    def search(key: str) -> dict[str, Any]:
        budget, name, seed = key.split()
        started = time.process_time()
        found = SEARCHES[name](dataset, budget, int(seed), of)
        row = {kind: found.get(kind, "") for kind in KINDS}
        return {**row, "seconds": time.process_time() - started}

    rows = rows_by(work / "searches.csv", "key", keys, search, KINDS)
    return rows[rows["key"].isin(keys)]


def trained(
    of: argparse.Namespace, dataset: Dataset, work: Path, rivals: Sequence[str], epochs: int
) -> pd.DataFrame:
    """One row per training; an interrupted one goes on.

    Args:
        of: the arguments of the command line.
        dataset: fits by its training images, tests by those that are withheld.
        work: holds a folder for each training.
        rivals: "budget kind seed model" of each network.
        epochs: of each training.
    """

    def row(rival: str) -> dict[str, Any]:
        budget, kind, seed, model = rival.split()
        # The best of a kind is another network once there are more searches.
        named = zlib.crc32(model.encode())
        # Two kinds may take the same network from a search.
        of_search = SEARCH_OF.get(kind, kind)
        out = work / f"{budget}-{of_search}-{seed}-{schedule(of, epochs)}-{named:08x}"
        network = build(kind, model, dataset, int(seed))
        image = dataset.normalized(dataset.train_images[:1])
        size = {
            **count_all(network, image)._asdict(),
            "milliseconds": measure_latency(network, image),
        }
        if not has_ended(out):
            train(
                network,
                dataset,
                epochs=epochs,
                validation=HELD_OUT if epochs == of.short else 0.0,
                seed=int(seed),
                precision=of.precision,
                **({} if epochs == of.short else {name: getattr(of, name) for name in ADDED}),
                device=of.device,
                out=out,
                resume=was_interrupted(out),
            )
        found = described(out)
        return {
            **dict(zip(("budget", "kind", "seed", "model"), rival.split(), strict=True)),
            **size,
            "minutes": found["seconds"] / 60,
            "validation": 100 * float(found["validation_accuracy"] or 0.0),
            "accuracy": 100 * found["test_accuracy"],
        }

    rows = rows_by(work / f"trained-{schedule(of, epochs)}.csv", "rival", rivals, row, ("model",))
    return rows[rows["rival"].isin(rivals)]


def best_of_each(short: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Budget, kind and model to train in full: of each kind the best by the held-out images."""
    kinds = short["kind"].str.replace(r"resnet\d+", "resnet", regex=True)
    best = short.loc[short.groupby([short["budget"], kinds])["validation"].idxmax()]
    return list(best[["budget", "kind", "model"]].itertuples(index=False, name=None))


def report(rows: pd.DataFrame, searches: pd.DataFrame, epochs: int) -> None:
    """A line for each budget and kind."""
    print(
        f"{epochs} epochs: parameters, MMACs, thousand acts, ms per image, minutes of search, of "
        "training, accuracy %, n"
    )
    for (budget, kind), group in rows.groupby(["budget", "kind"]):
        search = " " * 5
        if kind in KINDS:
            name = SEARCH_OF[str(kind)]
            held = searches[searches["key"].str.startswith(f"{budget} {name} ")]
            search = f"{held['seconds'].mean() / 60:5.1f}"
        mean = group[["params", "flops", "acts", "milliseconds", "minutes"]].mean()
        print(
            f"{budget} {kind:12s} {mean['params']:9,.0f} {mean['flops'] / 1e6:5.1f} "
            f"{mean['acts'] / 1e3:6.1f} {mean['milliseconds']:6.2f} {search} "
            f"{mean['minutes']:5.1f}  {with_deviation(group['accuracy'], 2)}  {len(group)}"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Search, train on the short schedule, then the best of each kind on the full one."""
    of = parsed(argv)
    work: Path = of.work
    work.mkdir(parents=True, exist_ok=True)
    images = load_dataset(of.cifar)
    fitted = len(images.train_labels) - of.withheld
    places = np.arange(len(images.train_labels))
    dataset = of_training_images(images, places[: min(fitted, of.images)], places[fitted:])
    searches = searched(of, dataset, work)
    rivals = []
    for row in searches.to_dict("records"):
        budget, _, seed = row["key"].split()
        found = {kind: row[kind] for kind in KINDS if isinstance(row[kind], str) and row[kind]}
        rivals += [
            f"{budget} {kind} {seed} {model}" for kind, model in found.items() if kind in of.kinds
        ]
    by_hand = [name for name in HAND_DESIGNED if name in of.kinds]
    for budget in of.budgets:
        widths = {name: largest_within(name, BUDGETS[budget]) for name in by_hand}
        rivals += [f"{budget} {name} 0 {width:g}" for name, width in widths.items()]
    print(f"{machine()}; accuracy on {of.withheld} images that nothing else has seen")
    short = trained(of, dataset, work, rivals, of.short)
    report(short, searches, of.short)
    if of.epochs:
        full = [
            f"{budget} {kind} {seed} {model}"
            for seed in range(of.full_seeds)
            for budget, kind, model in best_of_each(short)
        ]
        rows = trained(of, dataset, work, full, of.epochs)
        report(rows, searches, of.epochs)
        report_paces(paced(of, dataset, work, rows))


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the command line."""
    numbers = {"seeds": 3, "generations": 30, "offspring": 20, "withheld": 5000, "images": 40_000}
    of = parser(__doc__, "cifar", "work", **numbers, short=4, epochs=20, full_seeds=2)
    of.add_argument("--budgets", nargs="+", choices=BUDGETS, default=list(BUDGETS))
    kinds = [*KINDS, *HAND_DESIGNED]
    of.add_argument("--kinds", nargs="+", choices=kinds, default=kinds)
    of.add_argument("--precision", default=AUTO)
    of.add_argument("--ema", type=float, default=0.0, help="of the full schedule")
    of.add_argument("--cutout", type=int, default=0, help="of the full schedule")
    of.add_argument("--device", default="cpu")
    return of.parse_args(argv)


if __name__ == "__main__":
    main()
