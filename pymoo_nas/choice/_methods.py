"""Choosing by one of the methods: which there are, what each takes, and which is the default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from pymoo_nas.choice._orders import order_front, order_scored, steady_first, try_out
from pymoo_nas.errors import SearchError
from pymoo_nas.search import NASProblem

METHODS = ("ranks", "knee", "weights", "gradients", "training")
"""Methods of choosing an architecture."""

OPTIONS_OF: Mapping[str, tuple[str, ...]] = {
    "gradients": ("top", "seed"),
    "training": ("top", "epochs", "batch_size", "n_cells", "precision", "seed", "device"),
}
"""Method → the options that it takes; the other methods take none."""


def method_named(by: str | None, weights: Mapping[str, float] | None, *, limits_final: bool) -> str:
    """The method that is asked for, or the default one.

    Without a method, weights choose where they are given. Else it is "gradients" where another
    network is trained than the one that was scored, and "ranks" elsewhere: on NAS-Bench-201,
    trained five times as deep, "gradients" hands over better ones (studies/rivals.py).

    Args:
        by: one of `METHODS`; None for the default.
        weights: of objectives.
        limits_final: see `SearchSpace`.

    Raises:
        SearchError: an unknown method, or weights that are missing or would be ignored.
    """
    method = by or ("weights" if weights else "ranks" if limits_final else "gradients")
    if method not in METHODS:
        raise SearchError(f"--by {method!r} (by); expected one of {', '.join(METHODS)}")
    if method == "weights" and not weights:
        raise SearchError("--by weights needs --weights (weights), such as ntk=2 activation=1")
    if weights and method != "weights":
        raise SearchError(f"--weights (weights) with --by {method} (by); leave one out")
    return method


def refused_options(method: str) -> list[str]:
    """Options of other methods, which this one would ignore."""
    return [name for name in OPTIONS_OF["training"] if name not in OPTIONS_OF.get(method, ())]


def order_by(
    method: str,
    history: Callable[[], pd.DataFrame],
    front: Callable[[], pd.DataFrame],
    problem: Callable[[], NASProblem],
    *,
    weights: Mapping[str, float] | None = None,
    limits: Mapping[str, float | None] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """The candidates of a search, the one to choose first.

    Args:
        method: one of `METHODS`.
        history: gives all that was scored.
        front: gives what the search kept, for "knee" and "weights".
        problem: gives search space and images, for "gradients" and "training".
        weights: see `order_front`.
        limits: ``max_params`` and the like, see `order_scored`.
        **options: of `steady_first` and `try_out`.

    Raises:
        SearchError: options that the method would ignore; see also `order_scored`, `order_front`,
            `steady_first` and `try_out`.
    """
    ignored = [name for name in options if name in refused_options(method)]
    if ignored:
        raise SearchError(f"{', '.join(ignored)} with by={method!r}; leave them out")
    within = dict(limits or {})
    if method in ("knee", "weights"):
        return order_front(front(), weights=weights, **within)
    ordered = order_scored(history(), **within)
    if method == "gradients":
        return steady_first(ordered, problem(), **options)
    if method == "training":
        return try_out(ordered, problem(), **options)
    return ordered
