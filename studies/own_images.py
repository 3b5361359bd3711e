"""Is a search worth its time on people's own images?

Five data sets (common/own_images.py), a fifth of each class tested on, another fifth for each seed:
made digits of 28×28 pixels in three classes of 150, 60 and 25 images; BreastMNIST; scikit-learn's
digits; 1,400 photographs of two classes, JPEG files in mixed sizes; 2,500 images of CIFAR-10. For
each seed a search with the defaults of the command line, within limits. What is handed over by
`choose` is trained by `train`, with defaults throughout:

- ours: by ranks, the default choice;
- random: two candidates of the first generation, drawn at random within the same limits;
- later: as "ours", of a search by later scores;
- inside and random inside: as the first two, of cells that halve the map inside them, which was the
  default before;
- shortcut: as "ours", of cells with a shortcut around each;
- training: of ours, the best of the first five by a short training, images held out;
- smaller: of these five the one with the fewest multiply-accumulates that is at most a standard
  error of the best one's accuracy behind it, as by `choose --by training`;
- of all: the same of these five and of three candidates of the first generation;
- resnet20: designed by hand, beyond the limits.

The test images are looked at once per training, at its end. What is there already is not done
again. `--searches ours later inside shortcut` leaves the three choices by training out.

Printed for each data set: the minutes of one core to search, by later scores, inside, with
shortcuts, and to choose by training; for each kind its accuracy, its balanced accuracy, AUC,
parameters, MMACs and seconds of training; and how much more accurate it is than the random ones,
"above random, split by split" and "above random inside, split by split".

Command, 263 minutes of one core; its rows are kept in rows/own_images:
    python studies/own_images.py --shared PATH --work studies/rows/own_images \
        --searches ours later inside shortcut

AMD EPYC virtual machine, other work on its second core; ± is the standard deviation over n
trainings, or over five splits:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; at most 100,000
        parameters and 12,500,000 multiply-accumulates per image
    made: minutes to search 0.3, by later scores 0.4, inside 0.3, with shortcuts 0.3
      ours          98.3 ± 1.8 %, balanced 96.9 ± 3.8 %, AUC 0.999 ± 0.001, 89,555 parameters, 10.3
          MMACs, 21.3 s, n = 5
      later         98.7 ± 1.9 %, balanced 97.1 ± 5.9 %, AUC 0.999 ± 0.002, 92,835 parameters, 9.9
          MMACs, 23.7 s, n = 5
      inside        95.3 ± 3.8 %, balanced 88.0 ± 10.6 %, AUC 0.992 ± 0.014, 89,920 parameters, 8.6
          MMACs, 22.5 s, n = 5
      shortcut      97.4 ± 1.8 %, balanced 94.7 ± 3.9 %, AUC 0.999 ± 0.001, 92,432 parameters, 10.3
          MMACs, 23.8 s, n = 5
      resnet20      97.9 ± 2.1 %, balanced 96.7 ± 5.7 %, AUC 0.999 ± 0.003, 268,979 parameters, 30.8
          MMACs, 34.2 s, n = 5
      random        96.2 ± 4.6 %, balanced 89.7 ± 13.0 %, AUC 0.981 ± 0.038, 42,014 parameters, 4.5
          MMACs, 16.3 s, n = 10
      random inside 94.3 ± 4.9 %, balanced 85.8 ± 13.2 %, AUC 0.981 ± 0.030, 42,014 parameters, 3.4
          MMACs, 14.6 s, n = 10
        above random, split by split: ours +2.1 ± 2.8; later +2.6 ± 2.1; inside -0.9 ± 6.7; shortcut
            +1.3 ± 3.6; resnet20 +1.7 ± 2.1
        above random inside, split by split: ours +4.0 ± 3.2; later +4.5 ± 3.7; inside +1.1 ± 8.3;
            shortcut +3.2 ± 4.6; resnet20 +3.6 ± 3.3
    breastmnist: minutes to search 0.3, by later scores 0.4, inside 0.2, with shortcuts 0.3
      ours          88.8 ± 3.0 %, balanced 83.8 ± 3.8 %, AUC 0.925 ± 0.022, 94,229 parameters, 10.4
          MMACs, 90.2 s, n = 5
      later         88.8 ± 1.3 %, balanced 83.6 ± 1.5 %, AUC 0.907 ± 0.031, 91,285 parameters, 10.0
          MMACs, 67.5 s, n = 5
      inside        87.6 ± 1.5 %, balanced 82.0 ± 2.1 %, AUC 0.914 ± 0.019, 86,712 parameters, 8.1
          MMACs, 67.8 s, n = 5
      shortcut      89.7 ± 1.4 %, balanced 84.7 ± 2.6 %, AUC 0.927 ± 0.024, 90,572 parameters, 9.9
          MMACs, 88.5 s, n = 5
      resnet20      87.1 ± 1.5 %, balanced 81.4 ± 1.6 %, AUC 0.888 ± 0.029, 268,914 parameters, 30.8
          MMACs, 99.6 s, n = 5
      random        87.5 ± 1.9 %, balanced 81.2 ± 2.4 %, AUC 0.918 ± 0.023, 41,930 parameters, 4.5
          MMACs, 52.3 s, n = 10
      random inside 87.7 ± 1.9 %, balanced 81.8 ± 2.2 %, AUC 0.907 ± 0.025, 41,930 parameters, 3.4
          MMACs, 42.4 s, n = 10
        above random, split by split: ours +1.3 ± 2.1; later +1.3 ± 1.2; inside +0.1 ± 1.2; shortcut
            +2.2 ± 1.5; resnet20 -0.4 ± 1.5
        above random inside, split by split: ours +1.2 ± 2.4; later +1.2 ± 1.4; inside -0.1 ± 1.6;
            shortcut +2.1 ± 1.5; resnet20 -0.6 ± 1.6
    digits: minutes to search 0.2, by later scores 0.2, inside 0.2, with shortcuts 0.2
      ours          99.5 ± 0.4 %, balanced 99.5 ± 0.4 %, AUC 1.000 ± 0.000, 93,853 parameters, 1.7
          MMACs, 24.9 s, n = 5
      later         99.5 ± 0.4 %, balanced 99.5 ± 0.4 %, AUC 0.999 ± 0.001, 94,740 parameters, 1.7
          MMACs, 23.9 s, n = 5
      inside        99.4 ± 0.5 %, balanced 99.4 ± 0.5 %, AUC 1.000 ± 0.000, 94,183 parameters, 1.6
          MMACs, 23.5 s, n = 5
      shortcut      99.3 ± 0.3 %, balanced 99.3 ± 0.3 %, AUC 1.000 ± 0.000, 95,764 parameters, 1.7
          MMACs, 29.5 s, n = 5
      resnet20      99.3 ± 0.8 %, balanced 99.3 ± 0.8 %, AUC 1.000 ± 0.000, 269,434 parameters, 2.5
          MMACs, 29.0 s, n = 5
      random        99.6 ± 0.3 %, balanced 99.6 ± 0.3 %, AUC 1.000 ± 0.000, 42,604 parameters, 0.7
          MMACs, 16.1 s, n = 10
      random inside 99.4 ± 0.3 %, balanced 99.4 ± 0.3 %, AUC 1.000 ± 0.000, 42,604 parameters, 0.7
          MMACs, 15.7 s, n = 10
        above random, split by split: ours -0.1 ± 0.3; later -0.1 ± 0.2; inside -0.2 ± 0.5; shortcut
            -0.3 ± 0.2; resnet20 -0.3 ± 0.7
        above random inside, split by split: ours +0.1 ± 0.3; later +0.1 ± 0.2; inside -0.0 ± 0.5;
            shortcut -0.1 ± 0.2; resnet20 -0.1 ± 0.8
    photographs: minutes to search 0.3, by later scores 0.5, inside 0.3, with shortcuts 0.4
      ours          76.9 ± 2.2 %, balanced 76.9 ± 2.2 %, AUC 0.858 ± 0.016, 68,920 parameters, 12.0
          MMACs, 76.1 s, n = 5
      later         76.1 ± 2.4 %, balanced 76.1 ± 2.4 %, AUC 0.840 ± 0.028, 68,168 parameters, 11.9
          MMACs, 83.9 s, n = 5
      inside        76.9 ± 2.3 %, balanced 76.9 ± 2.3 %, AUC 0.854 ± 0.017, 73,368 parameters, 10.6
          MMACs, 69.9 s, n = 5
      shortcut      77.4 ± 0.9 %, balanced 77.4 ± 0.9 %, AUC 0.853 ± 0.010, 71,061 parameters, 12.1
          MMACs, 88.4 s, n = 5
      resnet20      75.9 ± 2.6 %, balanced 75.9 ± 2.6 %, AUC 0.843 ± 0.020, 269,202 parameters, 40.6
          MMACs, 124.2 s, n = 5
      random        76.0 ± 2.4 %, balanced 76.0 ± 2.4 %, AUC 0.841 ± 0.024, 48,130 parameters, 8.4
          MMACs, 56.6 s, n = 10
      random inside 75.8 ± 2.6 %, balanced 75.8 ± 2.6 %, AUC 0.841 ± 0.026, 45,584 parameters, 6.3
          MMACs, 44.7 s, n = 10
        above random, split by split: ours +0.9 ± 3.3; later +0.1 ± 1.5; inside +0.9 ± 2.9; shortcut
            +1.4 ± 2.7; resnet20 -0.1 ± 3.0
        above random inside, split by split: ours +1.1 ± 3.2; later +0.3 ± 3.2; inside +1.1 ± 0.7;
            shortcut +1.6 ± 3.3; resnet20 +0.1 ± 3.5
    cifar10: minutes to search 0.3, by later scores 0.5, inside 0.3, with shortcuts 0.4
      ours          67.1 ± 1.8 %, balanced 66.9 ± 1.9 %, AUC 0.933 ± 0.007, 76,026 parameters, 12.3
          MMACs, 151.2 s, n = 5
      later         68.2 ± 1.1 %, balanced 68.0 ± 1.3 %, AUC 0.941 ± 0.007, 67,725 parameters, 12.1
          MMACs, 140.8 s, n = 5
      inside        67.9 ± 1.6 %, balanced 67.6 ± 1.7 %, AUC 0.936 ± 0.008, 90,925 parameters, 10.5
          MMACs, 118.5 s, n = 5
      shortcut      67.4 ± 1.9 %, balanced 67.2 ± 2.1 %, AUC 0.938 ± 0.008, 72,192 parameters, 11.9
          MMACs, 140.4 s, n = 5
      resnet20      71.6 ± 1.6 %, balanced 71.4 ± 1.7 %, AUC 0.945 ± 0.007, 269,722 parameters, 40.6
          MMACs, 225.3 s, n = 5
      random        66.6 ± 2.3 %, balanced 66.3 ± 2.4 %, AUC 0.936 ± 0.005, 52,152 parameters, 8.7
          MMACs, 109.8 s, n = 10
      random inside 65.5 ± 3.1 %, balanced 65.2 ± 3.2 %, AUC 0.932 ± 0.010, 46,386 parameters, 6.3
          MMACs, 81.8 s, n = 10
        above random, split by split: ours +0.5 ± 2.7; later +1.6 ± 1.9; inside +1.2 ± 1.5; shortcut
            +0.8 ± 2.3; resnet20 +5.0 ± 1.0
        above random inside, split by split: ours +1.6 ± 3.3; later +2.8 ± 2.3; inside +2.4 ± 2.0;
            shortcut +2.0 ± 2.1; resnet20 +6.2 ± 2.3
    all 25 splits:
        above random, split by split: ours +0.9 ± 2.4; later +1.1 ± 1.7; inside +0.2 ± 3.2; shortcut
            +1.1 ± 2.3; resnet20 +1.2 ± 2.7
        above random inside, split by split: ours +1.6 ± 2.8; later +1.8 ± 2.8; inside +0.9 ± 3.7;
            shortcut +1.7 ± 2.8; resnet20 +1.8 ± 3.6

Above two random networks within the same limits, over all 25 splits, the search with the defaults
gains 0.9 ± 2.4 points and a search by later scores 1.1 ± 1.7. Cells that halve the map inside,
which were the default before, gain 0.2 ± 3.2, and 0.9 ± 3.7 above random ones of their own kind.
The defaults hand over better networks than before on made images and BreastMNIST, by 3.0 and 1.2
points, as good ones on digits and photographs, and on CIFAR-10 0.8 points worse ones; five splits
prove none of these.
With a shortcut around each cell the gain is 1.1 ± 2.3: by 0.3 to 0.9 points more than without on
BreastMNIST, photographs and CIFAR-10, by 0.2 and 0.9 less on digits and made images.

By later scores the gain is more than a deviation on two sets of five (made images +2.6 ± 2.1,
BreastMNIST +1.3 ± 1.2), with shortcuts on one (BreastMNIST +2.2 ± 1.5), by the defaults and inside
on none; the target was three. An accuracy on the 47 to 498 test images has a standard error of 0.4
to 2.6 points by itself, and on digits all networks read nearly every image. The random networks are
half as large as those that searches hand over, and 14 cells make all 50 of them.

ResNet-20, of about three times the parameters and multiply-accumulates, gains 1.2 ± 2.7: more than
ours on CIFAR-10 (+5.0 ± 1.0), less on the other four, by less than a deviation.

Whether a choice by a short training is worth its time was measured when trainings had 20 epochs:
archive/short_trainings.md.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from common.command import machine, parser
from common.own_image_searches import SEARCHES, SPACES
from common.own_images import SETS
from common.rows import rows_by, with_deviation
from pymoo_nas.datasets import Dataset
from pymoo_nas.networks import count_all
from pymoo_nas.spaces import Architecture
from pymoo_nas.training import AUTO, train

BY_HAND = "resnet20"

Vector = NDArray[np.float64]

DRAWN = ("random", "random inside")
"""Kinds of which there are two for each split."""


def trained(images: Dataset, epochs: int | str, key: str) -> dict[str, Any]:
    """What a training comes to."""
    seed, text = int(key.split()[1]), key.split()[2]
    mark, _, genotype = text.rpartition(":")
    architecture = Architecture.read(genotype, SPACES.get(mark))
    network = architecture.build("trained", images, seed=seed)
    started = time.process_time()
    training = train(network, images, epochs=epochs, seed=seed)
    counts = count_all(network, images.normalized(images.train_images[:1]))
    return {
        "params": counts.params,
        "flops": counts.flops,
        "epochs": len(training.epochs),
        "accuracy": 100 * training.test_accuracy,
        "balanced": 100 * training.balanced_accuracy,
        "auc": training.auc,
        "seconds": time.process_time() - started,
    }


def measured(of: argparse.Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row per split with what is handed over, and a row per network that is trained."""
    searches: dict[str, pd.DataFrame] = {}
    trainings = pd.DataFrame()
    for seed in range(of.seeds):
        for name in of.sets:
            images = SETS[name](of.shared, of.work, seed)
            here = f"{name} {seed}"
            texts = {BY_HAND}
            for file in of.searches:
                make, kinds, _ = SEARCHES[file]
                rows = rows_by(
                    of.work / f"{file}.csv", "key", [here], partial(make, of, images), kinds
                )
                searches[file] = rows.set_index("key")
                texts |= {str(searches[file].loc[here, kind]) for kind in kinds}
            trainings = rows_by(
                of.work / "trainings.csv",
                "key",
                [f"{here} {text}" for text in sorted(texts)],
                partial(trained, images, of.epochs),
            )
    return pd.concat(searches.values(), axis=1), trainings.set_index("key")


def report(of: argparse.Namespace, searches: pd.DataFrame, trainings: pd.DataFrame) -> None:
    """A line for each data set and kind, and what they gain."""
    kinds = [kind for file in of.searches for kind in SEARCHES[file][1]]
    of_all: list[dict[str, Vector]] = []
    for name in of.sets:
        here = [f"{name} {seed}" for seed in range(of.seeds)]
        minutes = searches.loc[here].filter(like="seconds").mean() / 60
        spent = (f"{SEARCHES[file][2]} {minutes[f'{file}_seconds']:.1f}" for file in of.searches)
        print(f"{name}: minutes {', '.join(spent)}")
        rows = {
            kind: trainings.loc[[f"{key} {searches[kind][key]}" for key in here]] for kind in kinds
        }
        rows[BY_HAND] = trainings.loc[[f"{key} {BY_HAND}" for key in here]]
        for kind in DRAWN:
            if f"{kind} 0" in rows:
                rows[kind] = pd.concat([rows.pop(f"{kind} {n}") for n in range(2)])
        width = 1 + max(map(len, rows))
        for kind, of_kind in rows.items():
            print(f"  {kind:{width}s}{described(of_kind)}")
        of_all.append({kind: accuracies(of_kind, of.seeds) for kind, of_kind in rows.items()})
        report_gains(of_all[-1])
    print(f"all {len(of.sets) * of.seeds} splits:")
    report_gains({kind: np.concatenate([one[kind] for one in of_all]) for kind in of_all[0]})


def described(rows: pd.DataFrame) -> str:
    """The columns of a kind."""
    mean = rows[["params", "flops", "seconds"]].mean()
    return (
        f"{with_deviation(rows['accuracy'], 1)} %, balanced {with_deviation(rows['balanced'], 1)} "
        f"%, AUC {with_deviation(rows['auc'], 3)}, {mean['params']:,.0f} parameters, "
        f"{mean['flops'] / 1e6:.1f} MMACs, {mean['seconds']:.1f} s, n = {len(rows)}"
    )


def accuracies(rows: pd.DataFrame, seeds: int) -> Vector:
    """The accuracy (seeds,) of a kind, of random ones the mean of each split."""
    found: Vector = rows["accuracy"].to_numpy(float).reshape(-1, seeds).mean(0)
    return found


def report_gains(accuracy: Mapping[str, Vector]) -> None:
    """How much more accurate each choice is than the random ones of the same split."""
    for drawn in DRAWN:
        if drawn in accuracy:
            gains = "; ".join(
                f"{kind} {with_deviation(pd.Series(accuracy[kind] - accuracy[drawn]), 1, '+')}"
                for kind in accuracy
                if not kind.startswith("random")
            )
            print(f"    above {drawn}, split by split: {gains}")


def number_or_auto(text: str) -> int | str:
    """A number of epochs, or "auto"."""
    return text if text == AUTO else int(text)


def main(argv: Sequence[str] | None = None) -> None:
    """Search, choose, train and print."""
    limits = {"max_params": 100_000, "max_flops": 12_500_000}
    made = parser(__doc__, "shared", "work", seeds=5, generations=9, **limits)
    made.add_argument("--sets", nargs="+", choices=SETS, default=[*SETS])
    made.add_argument("--epochs", type=number_or_auto, default=AUTO)
    made.add_argument("--searches", nargs="+", choices=SEARCHES, default=[*SEARCHES])
    of = made.parse_args(argv)
    work: Path = of.work
    work.mkdir(parents=True, exist_ok=True)
    print(f"{machine()}; at most {of.max_params:,} parameters and {of.max_flops:,} "
          "multiply-accumulates per image")  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few images, ties, and classes of unequal numbers
        report(of, *measured(of))


if __name__ == "__main__":
    main()
