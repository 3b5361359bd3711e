"""Choose one architecture of a search, in Python or for the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pymoo_nas._machine import check_writable, whole
from pymoo_nas.choice import (
    Measurements,
    Worth,
    default_method,
    measured,
    method_named,
    order_by,
    order_scored,
    worth_of,
)
from pymoo_nas.errors import SearchError
from pymoo_nas.runs._choice import Choice
from pymoo_nas.runs._config import RunConfig
from pymoo_nas.runs._folder import RunFolder
from pymoo_nas.scores import PAPER_OBJECTIVES
from pymoo_nas.search import front_to_frame, objective_names, read_table
from pymoo_nas.spaces import chosen_by_gradients


def choose(
    result_or_run: Any,
    by: str | None = None,
    *,
    weights: Mapping[str, float] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Sort the candidates of a search; the architecture to choose comes first.

    "ranks" takes the candidate whose worst rank among the objectives and size is best, see
    `order_scored`; "te-nas" the one whose ranks in `ntk` and `activation` are best, see
    `order_te_nas`. "knee" and "weights" choose from the front, see `order_front`. The other two
    methods start from the order of "ranks". "gradients" takes the most expressive candidate with
    steady gradients, see `steady_first`. "training" trains the first candidates for a short time,
    see `try_out`.

    Args:
        result_or_run: pymoo's result or an algorithm; or the path of a run folder, or a
            `RunFolder`: there the choice is kept, and `train` takes it.
        by: one of "ranks", "te-nas", "knee", "weights", "gradients" and "training". None takes
            "weights" where weights are given; else "gradients" for NAS-Bench-201 and for other
            search spaces with ``chosen_by_gradients`` where the search has measured no gradients,
            and "ranks" for all others.
        weights: objective → importance, for "weights".
        **options: limits, ``max_params`` and so on, as `NASProblem` takes them; and options of the
            method: ``top``, ``seed`` and ``progress`` for "gradients" and "training";
            for "training" also ``n_random``, ``epochs``, ``batch_size``, ``n_cells``, ``precision``
            and ``device``; see `steady_first` and `try_out`.

    Returns:
        one row per candidate, with the columns of a history and the columns that the method adds.

    Raises:
        SearchError: no candidate keeps the limits, an unknown method, or options of another method.
        RunError: no run in the folder, or one that cannot be written to.
    """
    given = _given(weights, options)
    if isinstance(result_or_run, str | Path):
        result_or_run = RunFolder(result_or_run)
    if isinstance(result_or_run, RunFolder):
        return _of_run(result_or_run, by, weights, given).ordered
    if not hasattr(result_or_run, "opt"):
        raise SearchError(
            f"got a {type(result_or_run).__name__} to choose from; pass the result of a search, or "
            "its run folder; order_scored, order_te_nas and order_front take tables"
        )
    problem = result_or_run.problem
    default = partial(
        default_method,
        chosen_by_gradients=getattr(problem.search_space, "chosen_by_gradients", False),
        steady=bool(getattr(getattr(result_or_run, "algorithm", result_or_run), "steady", False)),
        objectives=objective_names(problem),
    )
    method = method_named(by, weights, default)
    return order_by(
        method,
        lambda: read_table(result_or_run),
        lambda: front_to_frame(result_or_run),
        lambda: problem,
        **given,
    )


def default_of_run(config: RunConfig) -> str:
    """The default method for choosing an architecture of a run, see `default_method`."""
    return default_method(
        chosen_by_gradients=chosen_by_gradients(config.get("search_space")),
        steady=bool(config.settings().steady),
        objectives=config.objective_names(),
    )


class ChoiceOfRun(NamedTuple):
    """A choice that is kept in its run folder.

    Attributes:
        ordered: see `choose`.
        measure: counts and times the network that was chosen; it raises `PymooNasError` where the
            images or a search space of the user's own are not found.
        worth: what the choice is worth beside random candidates within the same limits.
    """

    ordered: pd.DataFrame
    measure: Callable[[], Measurements]
    worth: Worth


def choose_of_run(
    folder: RunFolder,
    by: str | None = None,
    *,
    weights: Mapping[str, float] | None = None,
    **options: Any,
) -> ChoiceOfRun:
    """Choose as `choose` does from a run folder; the network that was chosen can be measured.

    Args:
        folder: of the run.
        by: see `choose`.
        weights: see `choose`.
        **options: see `choose`.

    Raises:
        SearchError: see `choose`.
        RunError: see `choose`.
    """
    return _of_run(folder, by, weights, _given(weights, options))


def _given(weights: Mapping[str, float] | None, options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `order_by`, with the limits in one."""
    limits = {name: options.pop(name) for name in list(options) if name.startswith("max_")}
    for name, least in (("top", 1), ("n_random", 0), ("n_cells", 1), ("seed", 0)):
        if options.get(name) is not None:
            options[name] = whole(name, options[name], least)
    return {"weights": weights, "limits": limits, **options}


def _of_run(
    folder: RunFolder, by: str | None, weights: Mapping[str, float] | None, given: dict[str, Any]
) -> ChoiceOfRun:
    """Choose as `choose` does from a run folder; keep the choice and draw the chosen cell there."""
    config = folder.config()
    check_writable(folder.path)
    method = method_named(by, weights, partial(default_of_run, config))
    # Nothing is scored: objectives of a user's own are not needed.
    problem = cache(partial(config.problem, device="cpu", objectives=PAPER_OBJECTIVES))
    ordered = order_by(method, folder.history, folder.front, problem, **given)
    genotype, n_cells = str(ordered["genotype"].iloc[0]), given.get("n_cells")
    choice = Choice([genotype], method, n_cells, config.get("generations_done"))
    kept = None if weights is None else {name: float(value) for name, value in weights.items()}
    asked = {name: value for name, value in given.items() if name not in ("n_cells", "seed")}
    options = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in {**given["limits"], **asked}.items()
        if isinstance(value, int | float | str | np.generic)
    }
    folder.choose(choice, weights=kept, seed=given.get("seed", 0), options=options)
    folder.draw("cell.png")
    # Latencies may be known of some candidates alone.
    sizes = {name: most for name, most in given["limits"].items() if name != "max_latency"}
    worth = worth_of(ordered, order_scored(folder.history(), **sizes))
    return ChoiceOfRun(ordered, lambda: measured(genotype, problem(), n_cells), worth)
