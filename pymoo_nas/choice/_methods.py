"""The methods of choosing an architecture: their names, their options, and the default."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import pandas as pd

from pymoo_nas._machine import Progress
from pymoo_nas.choice._latencies import with_latencies, without_latency
from pymoo_nas.choice._orders import order_front, order_scored, order_te_nas, steady_first
from pymoo_nas.choice._trials import try_out
from pymoo_nas.errors import SearchError
from pymoo_nas.search import NASProblem

METHODS = ("ranks", "te-nas", "knee", "weights", "gradients", "training")
"""Methods of choosing an architecture."""

OPTIONS_OF: Mapping[str, tuple[str, ...]] = {
    "gradients": ("top", "seed"),
    "training": (
        "top",
        "n_random",
        "epochs",
        "batch_size",
        "n_cells",
        "precision",
        "seed",
        "device",
    ),
}
"""Method → the options that it takes; the other methods take none."""


def method_named(
    by: str | None, weights: Mapping[str, float] | None, default: Callable[[], str]
) -> str:
    """The method that is asked for: `by`; or "weights" where weights are given; or the default.

    Args:
        by: one of `METHODS`; None leaves the method to the other arguments.
        weights: objective → importance.
        default: gives the method without `by` and `weights`, see `default_method`.

    Raises:
        SearchError: an unknown method, or weights that are missing or would be ignored.
    """
    method = by or ("weights" if weights is not None else default())
    if method not in METHODS:
        raise SearchError(f"--by {method!r} (by); expected one of {', '.join(METHODS)}")
    if weights is not None and not isinstance(weights, Mapping):
        raise SearchError(f'weights={weights!r}; expected objective → number, such as {{"ntk": 2}}')
    if method == "weights" and weights is None:
        raise SearchError("--by weights needs --weights (weights), such as ntk=2 activation=1")
    if weights is not None and method != "weights":
        raise SearchError(f"--weights (weights) with --by {method} (by); leave one out")
    return method


def default_method(*, chosen_by_gradients: bool, steady: bool, objectives: Collection[str]) -> str:
    """The default method: "gradients" where these are known to tell which networks train well.

    Networks of NAS-Bench-201 are trained five times as deep as they are scored. There "gradients"
    finds better architectures than "ranks" (studies/rivals.py). The method needs the objective
    "activation"; without it, and where the networks are the same, "ranks" is the default. So it is
    where the search has measured the gradients itself, as "ranks" puts steady candidates first.

    Args:
        chosen_by_gradients: see `SearchSpace`.
        steady: whether steady candidates survived first in the search.
        objectives: names of the objectives of the search.
    """
    by_gradients = chosen_by_gradients and not steady and "activation" in objectives
    return "gradients" if by_gradients else "ranks"


def refused_options(method: str) -> list[str]:
    """The options of other methods, which this method would ignore."""
    return [name for name in OPTIONS_OF["training"] if name not in OPTIONS_OF.get(method, ())]


def order_by(
    method: str,
    history: Callable[[], pd.DataFrame],
    front: Callable[[], pd.DataFrame],
    problem: Callable[[], NASProblem],
    *,
    weights: Mapping[str, float] | None = None,
    limits: Mapping[str, float | None] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Sort the candidates of a search by a method; the candidate to choose comes first.

    Args:
        method: one of `METHODS`.
        history: gives all scored candidates.
        front: gives the front that the search kept, for "knee" and "weights".
        problem: gives search space and images, for "gradients" and "training".
        weights: see `order_front`.
        limits: ``max_params`` and the like, see `order_scored`. Latencies that the search has not
            measured are measured here, of all candidates that keep the other limits.
        progress: takes the reports of "gradients", of "training", and of measured latencies.
        **options: options of `steady_first` and `try_out`.

    Raises:
        SearchError: options that the method would ignore; see also `order_scored`, `order_te_nas`,
            `order_front`, `steady_first` and `try_out`.
    """
    taken = OPTIONS_OF.get(method, ())
    wrong = [name for name in options if name not in taken]
    if wrong:
        expected = f"expected some of {', '.join(taken)}" if taken else "expected no options"
        raise SearchError(f"{', '.join(wrong)} with by={method!r}; {expected}")
    within = dict(limits or {})
    if within.get("max_latency") is not None:
        history, front = (
            partial(_timed, read, problem, within, progress) for read in (history, front)
        )
    if method in ("knee", "weights"):
        return order_front(front(), weights=weights, **within)
    if method == "te-nas":
        return order_te_nas(history(), **within)
    ordered = order_scored(history(), **within)
    if method == "gradients":
        return steady_first(ordered, problem(), progress=progress, **options)
    if method == "training":
        return try_out(ordered, problem(), limits=within, progress=progress, **options)
    return ordered


def _timed(
    read: Callable[[], pd.DataFrame],
    problem: Callable[[], NASProblem],
    limits: Mapping[str, float | None],
    progress: Progress | None,
) -> pd.DataFrame:
    """A table with the latencies that a limit needs; the images are read where some are missing."""
    table = read()
    unknown = without_latency(table, limits)
    return with_latencies(table, problem(), unknown, progress=progress) if len(unknown) else table
