"""The searches of own_images.py, and what each hands over."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from pymoo.optimize import minimize

from common.halving import INSIDE
from pymoo_nas.choice import order_scored, smaller_first, try_out
from pymoo_nas.datasets import Dataset
from pymoo_nas.scores import LATER_OBJECTIVES, is_sound
from pymoo_nas.search import DartsTournament, EvolutiveNAS, NASProblem, history_to_frame
from pymoo_nas.spaces import CellSpace

TOP = 5
"""Candidates that are trained for a short time."""

N_RANDOM = 3
"""Random ones that are trained beside them."""

HELD_OUT = 0.1
"""The share of the training images by which they are judged."""

SPACES = {"inside": INSIDE, "shortcut": CellSpace(shortcut=True)}
"""What stands, with a colon, before a genotype of another space than the default → that space."""


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


def ours(of: argparse.Namespace, images: Dataset, key: str) -> dict[str, Any]:
    """The search with the defaults."""
    first, drawn, seconds = by_ranks(of, images, key)
    random = {f"random {n}": text for n, text in enumerate(drawn)}
    return {"ours": first, **random, "ours_seconds": seconds}


def later(of: argparse.Namespace, images: Dataset, key: str) -> dict[str, Any]:
    """The search by later scores."""
    first, _, seconds = by_ranks(of, images, key, objectives=LATER_OBJECTIVES)
    return {"later": first, "later_seconds": seconds}


def inside(of: argparse.Namespace, images: Dataset, key: str) -> dict[str, Any]:
    """The search of cells that halve the map inside."""
    first, drawn, seconds = by_ranks(of, images, key, search_space=INSIDE)
    random = {f"random inside {n}": f"inside:{text}" for n, text in enumerate(drawn)}
    return {"inside": f"inside:{first}", **random, "inside_seconds": seconds}


def shortcut(of: argparse.Namespace, images: Dataset, key: str) -> dict[str, Any]:
    """The search of cells with a shortcut around each."""
    first, _, seconds = by_ranks(of, images, key, search_space=SPACES["shortcut"])
    return {"shortcut": f"shortcut:{first}", "shortcut_seconds": seconds}


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
        "tried_seconds": seconds,
    }


SEARCHES: dict[str, tuple[Callable[..., dict[str, Any]], tuple[str, ...], str]] = {
    "ours": (ours, ("ours", "random 0", "random 1"), "to search"),
    "later": (later, ("later",), "by later scores"),
    "inside": (inside, ("inside", "random inside 0", "random inside 1"), "inside"),
    "shortcut": (shortcut, ("shortcut",), "with shortcuts"),
    "tried": (tried, ("training", "smaller", "of all"), "to choose by training"),
}
"""File of rows → how a row is made, its kinds, and what its seconds are for."""


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
