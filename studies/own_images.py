"""Is a search worth its time on people's own images?

Five data sets (common/own_images.py), a fifth of each class tested on, another fifth for each seed:
made digits of 28×28 pixels in three classes of 150, 60 and 25 images; BreastMNIST; scikit-learn's
digits; 1,400 photographs of two classes, JPEG files in mixed sizes; 2,500 images of CIFAR-10. For
each seed a search with the defaults of the command line, within limits. What is handed over by
`choose` is trained by `train`, with defaults throughout:

- ranks: the default choice;
- training: the best of the first five by a short training, images held out;
- smaller: of these five the one with the fewest multiply-accumulates that is at most a standard
  error of the best one's accuracy behind it, as by `choose --by training`;
- of all: the same of these five and of three candidates of the first generation;
- random: two candidates of the first generation, drawn at random within the same limits;
- behind: what a second search hands over by ranks, of cells that halve the map behind them;
- random behind: two candidates of its first generation;
- later: as "behind", by later scores;
- resnet20: designed by hand, beyond the limits.

The test images are looked at once per training, at its end. What is there already is not done
again.

`--beside tried behind later` measures these beside ranks, random and resnet20: the choices by
training, "behind" with its random ones, and "later".

Printed for each data set: the minutes of one core to search, and to choose by training; for each
kind its accuracy, its balanced accuracy, AUC, parameters, MMACs and seconds of training; and how
much more accurate it is than the two random ones, above random, split by split.

Command of what is measured so far, 53 minutes of one core; its rows are kept in rows/own_images:
    python studies/own_images.py --shared PATH --work studies/rows/own_images \
        --sets made breastmnist digits --beside later

AMD EPYC virtual machine, another study on its second core; ± is the standard deviation over n
trainings, or over five splits:

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; at most 100,000
        parameters and 12,500,000 multiply-accumulates per image
    made: minutes to search 0.3, to search by later scores 0.4
      ranks    95.3 ± 3.8 %, balanced 88.0 ± 10.6 %, AUC 0.992 ± 0.014, 89,920 parameters, 8.6
          MMACs, 22.5 s, n = 5
      later    98.7 ± 1.9 %, balanced 97.1 ± 5.9 %, AUC 0.999 ± 0.002, 92,835 parameters, 9.9 MMACs,
          23.7 s, n = 5
      resnet20 97.9 ± 2.1 %, balanced 96.7 ± 5.7 %, AUC 0.999 ± 0.003, 268,979 parameters, 30.8
          MMACs, 34.2 s, n = 5
      random   94.3 ± 4.9 %, balanced 85.8 ± 13.2 %, AUC 0.981 ± 0.030, 42,014 parameters, 3.4
          MMACs, 14.6 s, n = 10
        above random, split by split: ranks +1.1 ± 8.3; later +4.5 ± 3.7; resnet20 +3.6 ± 3.3
    breastmnist: minutes to search 0.2, to search by later scores 0.4
      ranks    87.6 ± 1.5 %, balanced 82.0 ± 2.1 %, AUC 0.914 ± 0.019, 86,712 parameters, 8.1 MMACs,
          67.8 s, n = 5
      later    88.8 ± 1.3 %, balanced 83.6 ± 1.5 %, AUC 0.907 ± 0.031, 91,285 parameters, 10.0
          MMACs, 67.5 s, n = 5
      resnet20 87.1 ± 1.5 %, balanced 81.4 ± 1.6 %, AUC 0.888 ± 0.029, 268,914 parameters, 30.8
          MMACs, 99.6 s, n = 5
      random   87.7 ± 1.9 %, balanced 81.8 ± 2.2 %, AUC 0.907 ± 0.025, 41,930 parameters, 3.4 MMACs,
          42.4 s, n = 10
        above random, split by split: ranks -0.1 ± 1.6; later +1.2 ± 1.4; resnet20 -0.6 ± 1.6
    digits: minutes to search 0.2, to search by later scores 0.2
      ranks    99.4 ± 0.5 %, balanced 99.4 ± 0.5 %, AUC 1.000 ± 0.000, 94,183 parameters, 1.6 MMACs,
          23.5 s, n = 5
      later    99.5 ± 0.4 %, balanced 99.5 ± 0.4 %, AUC 0.999 ± 0.001, 94,740 parameters, 1.7 MMACs,
          23.9 s, n = 5
      resnet20 99.3 ± 0.8 %, balanced 99.3 ± 0.8 %, AUC 1.000 ± 0.000, 269,434 parameters, 2.5
          MMACs, 29.0 s, n = 5
      random   99.4 ± 0.3 %, balanced 99.4 ± 0.3 %, AUC 1.000 ± 0.000, 42,604 parameters, 0.7 MMACs,
          15.7 s, n = 10
        above random, split by split: ranks -0.0 ± 0.5; later +0.1 ± 0.2; resnet20 -0.1 ± 0.8

With the defaults, a search is worth nothing here beside two random candidates: +1.1 ± 8.3, -0.1 ±
1.6 and 0.0 ± 0.5 points. By later scores and with cells that halve behind, it hands over the best
network of the table on each of the three sets: above random by 4.5 ± 3.7, 1.2 ± 1.4 and 0.1 ± 0.2
points, above ResNet-20 by 0.8, 1.7 and 0.2, with a third of its parameters and multiply-accumulates
(on digits two thirds). The random ones halve inside, as the default does; what random ones that
halve behind come to is to be measured, and so are photographs and CIFAR-10 with today's trainings.

Earlier, trainings had 20 epochs and kept the best one (see epochs.py), which was worse, and chance
had more part in it. All five sets, with choices by a short training, in 68 minutes of one core, at
an earlier commit; the rows are kept in rows/own_images_earlier, with which the study prints them
(`--work studies/rows/own_images_earlier --beside tried`):

    pymoo_nas 0.1.0, torch 2.14.1+cu130, Python 3.11.7, 2 cores, 1 threads; at most 100,000
        parameters and 12,500,000 multiply-accumulates per image
    made: minutes to search 0.3, to choose by training 0.2
      ranks    93.6 ± 1.5 %, balanced 86.8 ± 6.9 %, AUC 0.988 ± 0.011, 89,920 parameters,
          8.6 MMACs, 6.5 s, n = 5
      training 92.3 ± 3.6 %, balanced 81.7 ± 7.9 %, AUC 0.989 ± 0.009, 86,134 parameters,
          8.1 MMACs, 6.4 s, n = 5
      smaller  93.2 ± 3.8 %, balanced 84.8 ± 9.5 %, AUC 0.992 ± 0.009, 89,360 parameters,
          8.0 MMACs, 6.8 s, n = 5
      of all   94.5 ± 5.1 %, balanced 89.1 ± 9.7 %, AUC 0.991 ± 0.014, 79,587 parameters,
          4.8 MMACs, 5.0 s, n = 5
      resnet20 95.3 ± 3.2 %, balanced 87.2 ± 10.5 %, AUC 0.997 ± 0.006, 268,979 parameters,
          30.8 MMACs, 10.2 s, n = 5
      random   85.5 ± 13.8 %, balanced 81.1 ± 17.8 %, AUC 0.925 ± 0.124, 42,014 parameters,
          3.4 MMACs, 4.2 s, n = 10
        above random, split by split: ranks +8.1 ± 11.3; training +6.8 ± 13.0; smaller
            +7.7 ± 12.7; of all +8.9 ± 8.8; resnet20 +9.8 ± 12.5
    breastmnist: minutes to search 0.3, to choose by training 0.5
      ranks    86.0 ± 1.7 %, balanced 79.3 ± 1.7 %, AUC 0.894 ± 0.018, 86,712 parameters,
          8.1 MMACs, 16.0 s, n = 5
      training 83.6 ± 2.7 %, balanced 76.3 ± 3.8 %, AUC 0.875 ± 0.037, 89,378 parameters,
          7.5 MMACs, 14.3 s, n = 5
      smaller  85.3 ± 2.2 %, balanced 78.5 ± 2.1 %, AUC 0.898 ± 0.020, 86,328 parameters,
          6.9 MMACs, 14.9 s, n = 5
      of all   83.2 ± 3.2 %, balanced 77.4 ± 3.3 %, AUC 0.880 ± 0.039, 31,013 parameters,
          2.6 MMACs, 9.0 s, n = 5
      resnet20 86.5 ± 3.3 %, balanced 80.4 ± 5.1 %, AUC 0.884 ± 0.023, 268,914 parameters,
          30.8 MMACs, 23.3 s, n = 5
      random   83.5 ± 3.9 %, balanced 76.5 ± 4.8 %, AUC 0.876 ± 0.039, 41,930 parameters,
          3.4 MMACs, 10.0 s, n = 10
        above random, split by split: ranks +2.5 ± 3.2; training +0.1 ± 1.2; smaller +1.7
            ± 4.0; of all -0.3 ± 1.1; resnet20 +3.0 ± 2.8
    digits: minutes to search 0.2, to choose by training 0.2
      ranks    98.9 ± 0.2 %, balanced 98.9 ± 0.2 %, AUC 1.000 ± 0.000, 94,183 parameters,
          1.6 MMACs, 6.5 s, n = 5
      training 99.0 ± 0.7 %, balanced 99.0 ± 0.7 %, AUC 1.000 ± 0.000, 89,351 parameters,
          1.5 MMACs, 6.0 s, n = 5
      smaller  99.0 ± 0.7 %, balanced 99.0 ± 0.7 %, AUC 1.000 ± 0.000, 89,012 parameters,
          1.5 MMACs, 6.0 s, n = 5
      of all   98.4 ± 0.5 %, balanced 98.4 ± 0.5 %, AUC 1.000 ± 0.000, 41,597 parameters,
          0.7 MMACs, 3.6 s, n = 5
      resnet20 98.7 ± 0.6 %, balanced 98.7 ± 0.6 %, AUC 1.000 ± 0.000, 269,434 parameters,
          2.5 MMACs, 8.1 s, n = 5
      random   99.4 ± 0.5 %, balanced 99.4 ± 0.5 %, AUC 1.000 ± 0.000, 42,604 parameters,
          0.7 MMACs, 4.3 s, n = 10
        above random, split by split: ranks -0.5 ± 0.4; training -0.4 ± 0.7; smaller -0.4
            ± 0.7; of all -0.9 ± 0.3; resnet20 -0.7 ± 0.8
    photographs: minutes to search 0.3, to choose by training 0.7
      ranks    73.9 ± 1.6 %, balanced 73.9 ± 1.6 %, AUC 0.826 ± 0.023, 73,368 parameters,
          10.6 MMACs, 29.4 s, n = 5
      training 74.1 ± 2.4 %, balanced 74.1 ± 2.4 %, AUC 0.818 ± 0.028, 79,477 parameters,
          11.1 MMACs, 25.9 s, n = 5
      smaller  73.3 ± 1.9 %, balanced 73.3 ± 1.9 %, AUC 0.825 ± 0.022, 67,653 parameters,
          10.0 MMACs, 28.8 s, n = 5
      of all   73.2 ± 2.4 %, balanced 73.2 ± 2.4 %, AUC 0.820 ± 0.017, 54,911 parameters,
          7.1 MMACs, 21.3 s, n = 5
      resnet20 69.4 ± 2.3 %, balanced 69.4 ± 2.3 %, AUC 0.769 ± 0.030, 269,202 parameters,
          40.6 MMACs, 51.5 s, n = 5
      random   73.5 ± 3.2 %, balanced 73.5 ± 3.2 %, AUC 0.819 ± 0.029, 45,584 parameters,
          6.3 MMACs, 19.5 s, n = 10
        above random, split by split: ranks +0.5 ± 1.2; training +0.6 ± 3.4; smaller -0.2
            ± 1.5; of all -0.2 ± 1.7; resnet20 -4.0 ± 4.5
    cifar10: minutes to search 0.3, to choose by training 1.1
      ranks    67.7 ± 1.6 %, balanced 67.5 ± 1.7 %, AUC 0.940 ± 0.007, 90,925 parameters,
          10.5 MMACs, 45.5 s, n = 5
      training 65.6 ± 1.4 %, balanced 65.3 ± 1.5 %, AUC 0.940 ± 0.004, 85,949 parameters,
          10.5 MMACs, 48.0 s, n = 5
      smaller  66.6 ± 2.6 %, balanced 66.3 ± 2.5 %, AUC 0.940 ± 0.009, 83,908 parameters,
          9.4 MMACs, 42.6 s, n = 5
      of all   65.5 ± 4.1 %, balanced 65.3 ± 4.3 %, AUC 0.937 ± 0.014, 55,888 parameters,
          7.3 MMACs, 34.8 s, n = 5
      resnet20 66.7 ± 1.1 %, balanced 66.4 ± 1.3 %, AUC 0.940 ± 0.003, 269,722 parameters,
          40.6 MMACs, 87.0 s, n = 5
      random   64.6 ± 3.3 %, balanced 64.3 ± 3.4 %, AUC 0.934 ± 0.008, 46,386 parameters,
          6.3 MMACs, 31.2 s, n = 10
        above random, split by split: ranks +3.1 ± 2.6; training +1.0 ± 2.8; smaller +2.0
            ± 3.6; of all +1.0 ± 1.2; resnet20 +2.1 ± 2.2

By ranks, the default choice, networks were above the random ones by more than a standard deviation
on CIFAR-10 (+3.1 ± 2.6), by less than one on made images and BreastMNIST (+8.1 ± 11.3, +2.5 ± 3.2),
and by nothing on photographs and digits (+0.5 ± 1.2, -0.5 ± 0.4). Beside ranks, a choice among five
by a short training gained at most 0.2 points and lost up to 2.4 ("training"), or gained 0.1 and
lost up to 1.1 ("smaller"): a tenth of so few images judges worse than the scores do. So ranks are
the default, however few the images are. Where random candidates may be handed over too ("of all"),
the network was worse than without them on four sets of five: small random ones are about as good as
the best by chance.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pymoo.optimize import minimize

from common.command import machine, parser
from common.own_images import SETS
from common.rows import rows_by, with_deviation
from pymoo_nas.choice import order_scored, smaller_first, try_out
from pymoo_nas.datasets import Dataset
from pymoo_nas.networks import count_all
from pymoo_nas.scores import LATER_OBJECTIVES, is_sound
from pymoo_nas.search import DartsTournament, EvolutiveNAS, NASProblem, history_to_frame
from pymoo_nas.spaces import Architecture, CellSpace
from pymoo_nas.training import AUTO, train

TOP = 5
"""Candidates that are trained for a short time."""

N_RANDOM = 3
"""Random ones that are trained beside them."""

HELD_OUT = 0.1
"""The share of the training images by which they are judged."""

BY_HAND = "resnet20"

BETWEEN = "between:"
"""What stands before the genotype of a cell that halves the map behind it."""

SPACE_BEHIND = CellSpace(reduction="between")


def by_ranks(
    of: argparse.Namespace, images: Dataset, key: str, **settings: Any
) -> tuple[str, list[str], float]:
    """What a search hands over, two random candidates, and its seconds of one core."""
    seed = int(key.split()[1])
    started = time.process_time()
    _, result = searched(of, images, seed, **settings)
    seconds = time.process_time() - started
    history = history_to_frame(result)
    first = history[(history["generation"] == 1) & history["feasible"] & is_sound(history)]
    order = np.random.default_rng(seed).permutation(len(first))
    drawn = [str(first["genotype"].iloc[place]) for place in order[:2]]
    return str(order_scored(history)["genotype"].iloc[0]), drawn, seconds


def found(of: argparse.Namespace, images: Dataset, key: str) -> dict[str, Any]:
    """The search with the defaults."""
    first, drawn, seconds = by_ranks(of, images, key)
    random = {f"random {n}": text for n, text in enumerate(drawn)}
    return {"ranks": first, **random, "search_seconds": seconds}


def behind(of: argparse.Namespace, images: Dataset, key: str) -> dict[str, Any]:
    """The search of cells that halve the map behind them."""
    first, drawn, seconds = by_ranks(of, images, key, search_space=SPACE_BEHIND)
    random = {f"random behind {n}": BETWEEN + text for n, text in enumerate(drawn)}
    return {"behind": BETWEEN + first, **random, "behind_seconds": seconds}


def later(of: argparse.Namespace, images: Dataset, key: str) -> dict[str, Any]:
    """The search of these cells by later scores."""
    settings = {"search_space": SPACE_BEHIND, "objectives": LATER_OBJECTIVES}
    first, _, seconds = by_ranks(of, images, key, **settings)
    return {"later": BETWEEN + first, "later_seconds": seconds}


def tried(of: argparse.Namespace, images: Dataset, key: str) -> dict[str, Any]:
    """What choices by a short training hand over, and the seconds of these trainings."""
    seed = int(key.split()[1])
    problem, result = searched(of, images, seed)
    ordered = order_scored(history_to_frame(result))
    started = time.process_time()
    rows = try_out(ordered, problem, top=TOP, n_random=N_RANDOM, seed=seed)
    seconds = time.process_time() - started
    n_judging = round(HELD_OUT * len(images.train_labels))
    best = rows[~rows["drawn"]].sort_values("accuracy", ascending=False, kind="stable")
    return {
        "training": best["genotype"].iloc[0],
        "smaller": smaller_first(best, n_judging)["genotype"].iloc[0],
        "of all": smaller_first(rows.drop(columns="drawn"), n_judging)["genotype"].iloc[0],
        "choice_seconds": seconds,
    }


SEARCHES: dict[str, tuple[Callable[..., dict[str, Any]], tuple[str, ...]]] = {
    "searches": (found, ("ranks", "random 0", "random 1")),
    "tried": (tried, ("training", "smaller", "of all")),
    "behind": (behind, ("behind", "random behind 0", "random behind 1")),
    "later": (later, ("later",)),
}
"""File of rows → how a row is made, and its kinds."""

BESIDE = ("tried", "behind", "later")
"""Those of them that may be left out."""

SPENT = {
    "search_seconds": "to search",
    "choice_seconds": "to choose by training",
    "behind_seconds": "to search cells that halve behind",
    "later_seconds": "to search by later scores",
}


def searched(
    of: argparse.Namespace, images: Dataset, seed: int, **settings: Any
) -> tuple[NASProblem, Any]:
    """A search with the defaults of the command line, but for `settings` of its problem."""
    limits = {"max_params": of.max_params, "max_flops": of.max_flops}
    problem = NASProblem(images, **limits, seed=seed, **settings)
    result = minimize(
        problem,
        EvolutiveNAS(),
        ("n_gen", of.generations),
        callback=DartsTournament(),
        seed=seed,
    )
    return problem, result


def trained(images: Dataset, epochs: int | str, key: str) -> dict[str, Any]:
    """What a training comes to."""
    seed, text = int(key.split()[1]), key.split()[2]
    space = SPACE_BEHIND if text.startswith(BETWEEN) else None
    architecture = Architecture.read(text.removeprefix(BETWEEN), space)
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
            for file in ("searches", *of.beside):
                make, kinds = SEARCHES[file]
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
    """A line for each data set and kind."""
    kinds = [kind for file in ("searches", *of.beside) for kind in SEARCHES[file][1]]
    for name in of.sets:
        here = [f"{name} {seed}" for seed in range(of.seeds)]
        minutes = searches.loc[here].filter(like="seconds").mean() / 60
        spent = ", ".join(
            f"{words} {minutes[column]:.1f}" for column, words in SPENT.items() if column in minutes
        )
        print(f"{name}: minutes {spent}")
        rows = {
            kind: trainings.loc[[f"{key} {searches[kind][key]}" for key in here]] for kind in kinds
        }
        rows[BY_HAND] = trainings.loc[[f"{key} {BY_HAND}" for key in here]]
        for kind in ("random behind", "random"):
            if f"{kind} 0" in rows:
                rows[kind] = pd.concat([rows.pop(f"{kind} {n}") for n in range(2)])
        width = 1 + max(map(len, rows))
        for kind, of_kind in rows.items():
            print(f"  {kind:{width}s}{described(of_kind)}")
        report_gains(rows, of.seeds)


def described(rows: pd.DataFrame) -> str:
    """The columns of a kind."""
    mean = rows[["params", "flops", "seconds"]].mean()
    return (
        f"{with_deviation(rows['accuracy'], 1)} %, balanced {with_deviation(rows['balanced'], 1)} "
        f"%, AUC {with_deviation(rows['auc'], 3)}, {mean['params']:,.0f} parameters, "
        f"{mean['flops'] / 1e6:.1f} MMACs, {mean['seconds']:.1f} s, n = {len(rows)}"
    )


def report_gains(rows: Mapping[str, pd.DataFrame], seeds: int) -> None:
    """How much more accurate each choice is than the random ones of the same split."""
    accuracy = {
        kind: of_kind["accuracy"].to_numpy(float).reshape(-1, seeds).mean(0)
        for kind, of_kind in rows.items()
    }
    for drawn in ("random", "random behind"):
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
    made.add_argument("--beside", nargs="*", choices=BESIDE, default=BESIDE)
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
