"""Is a search worth its time on people's own images?

Five data sets (common/own_images.py), a fifth of each class tested on, another fifth for each seed:
made digits of 28×28 pixels in three classes of 150, 60 and 25 images; BreastMNIST; scikit-learn's
digits; 1,400 photographs of two classes, JPEG files in mixed sizes; 2,500 images of CIFAR-10. For
each seed a search with the defaults of the command line, within limits. What is handed over by
`choose` is trained by `train`, with defaults throughout:

- ranks: the default choice;
- training: the best of the first five by a short training, images held out;
- smaller: of these five the one with the fewest multiply-accumulates that is at most a standard
  error of the best one's accuracy behind it;
- of all: the same of these five and of three candidates of the first generation, as by
  `choose --by training`;
- random: two candidates of the first generation, drawn at random within the same limits;
- resnet20: designed by hand, beyond the limits.

The test images are looked at once per training, at its end. What is there already is not done
again.

Printed for each data set: the minutes of one core to search, and to choose by training; for each
kind its accuracy, its balanced accuracy, AUC, parameters, MMACs and minutes of training; and how
much more accurate it is than the two random ones, above random, split by split.

Command; the rows are to be measured:
    python studies/own_images.py --shared PATH --work own
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
from pymoo.optimize import minimize

from common.command import machine, parser
from common.own_images import SETS
from common.rows import rows_by, with_deviation
from pymoo_nas.choice import order_scored, smaller_first, try_out
from pymoo_nas.datasets import Dataset
from pymoo_nas.networks import count_all
from pymoo_nas.scores import is_sound
from pymoo_nas.search import DartsTournament, EvolutiveNAS, NASProblem, history_to_frame
from pymoo_nas.spaces import Architecture
from pymoo_nas.training import AUTO, train

TOP = 5
"""Candidates that are trained for a short time."""

N_RANDOM = 3
"""Random ones that are trained beside them."""

HELD_OUT = 0.1
"""The share of the training images by which they are judged."""

BY_HAND = "resnet20"

KINDS = ("ranks", "training", "smaller", "of all", "random 0", "random 1", BY_HAND)


def found(of: argparse.Namespace, images: Dataset, key: str) -> dict[str, Any]:
    """What a search and each choice hand over, and what they cost in seconds of one core."""
    seed = int(key.split()[1])
    started = time.process_time()
    problem = NASProblem(images, max_params=of.max_params, max_flops=of.max_flops, seed=seed)
    result = minimize(
        problem,
        EvolutiveNAS(),
        ("n_gen", of.generations),
        callback=DartsTournament(),
        seed=seed,
    )
    searched = time.process_time()
    history = history_to_frame(result)
    ordered = order_scored(history)
    tried = try_out(ordered, problem, top=TOP, n_random=N_RANDOM, seed=seed)
    chosen = time.process_time()
    n_judging = round(HELD_OUT * len(images.train_labels))
    best = tried[~tried["drawn"]].sort_values("accuracy", ascending=False, kind="stable")
    first = history[(history["generation"] == 1) & history["feasible"] & is_sound(history)]
    order = np.random.default_rng(seed).permutation(len(first))
    return {
        "ranks": ordered["genotype"].iloc[0],
        "training": best["genotype"].iloc[0],
        "smaller": smaller_first(best, n_judging)["genotype"].iloc[0],
        "of all": tried["genotype"].iloc[0],
        **{f"random {n}": first["genotype"].iloc[place] for n, place in enumerate(order[:2])},
        "search_seconds": searched - started,
        "choice_seconds": chosen - searched,
    }


def trained(images: Dataset, epochs: int | str, key: str) -> dict[str, Any]:
    """What a training comes to."""
    seed, text = int(key.split()[1]), key.split()[2]
    network = Architecture.read(text).build("trained", images, seed=seed)
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
    """A row per search, and a row per network that is trained."""
    searches = trainings = pd.DataFrame()
    for seed in range(of.seeds):
        for name in of.sets:
            images = SETS[name](of.shared, of.work, seed)
            here = f"{name} {seed}"
            searches = rows_by(
                of.work / "searches.csv", "key", [here], partial(found, of, images), KINDS
            )
            kinds = searches[searches["key"] == here].iloc[0]
            texts = {*(kinds[kind] for kind in KINDS if kind in kinds), BY_HAND}
            trainings = rows_by(
                of.work / "trainings.csv",
                "key",
                [f"{here} {text}" for text in sorted(texts)],
                partial(trained, images, of.epochs),
            )
    return searches.set_index("key"), trainings.set_index("key")


def report(of: argparse.Namespace, searches: pd.DataFrame, trainings: pd.DataFrame) -> None:
    """A line for each data set and kind."""
    for name in of.sets:
        here = [f"{name} {seed}" for seed in range(of.seeds)]
        minutes = searches.loc[here, ["search_seconds", "choice_seconds"]].mean() / 60
        print(
            f"{name}: {minutes['search_seconds']:.1f} minutes to search, "
            f"{minutes['choice_seconds']:.1f} to choose by training"
        )
        rows = {
            kind: trainings.loc[
                [f"{key} {searches[kind][key] if kind != BY_HAND else kind}" for key in here]
            ]
            for kind in KINDS
        }
        rows["random"] = pd.concat([rows.pop("random 0"), rows.pop("random 1")])
        for kind, of_kind in rows.items():
            print(f"  {kind:9s}{described(of_kind)}")
        report_gains(rows, of.seeds)


def described(rows: pd.DataFrame) -> str:
    """The columns of a kind."""
    mean = rows[["params", "flops", "seconds"]].mean()
    return (
        f"{with_deviation(rows['accuracy'], 1)} %, balanced {with_deviation(rows['balanced'], 1)} "
        f"%, AUC {with_deviation(rows['auc'], 3)}, {mean['params']:,.0f} parameters, "
        f"{mean['flops'] / 1e6:.1f} MMACs, {mean['seconds'] / 60:.1f} min, n = {len(rows)}"
    )


def report_gains(rows: Mapping[str, pd.DataFrame], seeds: int) -> None:
    """How much more accurate each choice is than the random ones of the same split."""
    random = rows["random"]["accuracy"].to_numpy(float).reshape(2, seeds).mean(0)
    gains = "; ".join(
        f"{kind} {with_deviation(rows[kind]['accuracy'].reset_index(drop=True) - random, 1, '+')}"
        for kind in rows
        if kind != "random"
    )
    print(f"    above random, split by split: {gains}")


def number_or_auto(text: str) -> int | str:
    """A number of epochs, or "auto"."""
    return text if text == AUTO else int(text)


def main(argv: Sequence[str] | None = None) -> None:
    """Search, choose, train and print."""
    limits = {"max_params": 100_000, "max_flops": 12_500_000}
    made = parser(__doc__, "shared", "work", seeds=5, generations=9, **limits)
    made.add_argument("--sets", nargs="+", choices=SETS, default=[*SETS])
    made.add_argument("--epochs", type=number_or_auto, default=AUTO)
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
