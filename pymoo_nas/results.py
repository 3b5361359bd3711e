"""Fronts and histories of a search as pandas frames, and as CSV files that read back exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pymoo_nas.errors import RunError, SearchError
from pymoo_nas.files import write_csv
from pymoo_nas.scores import OBJECTIVES
from pymoo_nas.survival import order_population

HISTORY_TYPES: dict[str, Any] = {
    "generation": "int64",
    "genotype": "str",
    **dict.fromkeys(OBJECTIVES, "float64"),
    "params": "int64",
    "flops": "int64",
    "acts": "int64",
    "seconds": "float64",
    "degenerate": "str",
    "feasible": "bool",
    "mutation": "str",
    "survived": "bool",
    "alpha": "float64",
}
"""Columns of a history, in order. Scores are minimised; seconds are wall time of one candidate;
``alpha`` is the share in the last tournament that the candidate was in (empty: in none)."""

FRONT_TYPES = {name: kind for name, kind in HISTORY_TYPES.items() if name != "survived"}
"""Columns of a front: those of a history, but all have survived."""


def front_to_frame(result: Any) -> pd.DataFrame:
    """The front of a search, best rank sum first: one row per architecture.

    Args:
        result: pymoo's ``Result``, or an algorithm. Without any candidate that keeps the limits the
            frame is empty.
    """
    front = result.opt
    rows = [] if front is None else [i for i in order_population(front) if i.FEAS[0]]
    return _frame(rows, result.problem, FRONT_TYPES)


def history_to_frame(result: Any) -> pd.DataFrame:
    """Every candidate that a search scored, in the order of scoring.

    Args:
        result: pymoo's ``Result`` of an `EvolutiveNAS` run, or the algorithm.

    Raises:
        SearchError: another algorithm, which keeps no such list.
    """
    algorithm = getattr(result, "algorithm", result)
    if not hasattr(algorithm, "scored"):
        raise SearchError(
            f"{type(algorithm).__name__} keeps no list of what it scored; use EvolutiveNAS, or "
            "save_history=True and result.history"
        )
    return _frame(algorithm.scored, algorithm.problem, HISTORY_TYPES)


def write_frame(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a front or history as CSV, under a temporary name first."""
    write_csv(Path(path), frame)


def read_frame(path: str | Path) -> pd.DataFrame:
    """Read what `write_frame` wrote: equal to the bit, genotypes as text.

    Raises:
        RunError: no such file, not a table, or one without the columns.
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(f"{path}: no such file; expected what pymoo-nas search writes")
    try:
        # Genotypes such as 0804 would be taken for numbers, the word "nan" for a missing value.
        frame = pd.read_csv(
            path, dtype=HISTORY_TYPES, keep_default_na=False, na_values={"alpha": [""]}
        )
    except (ValueError, OverflowError) as error:
        raise RunError(f"{path}: damaged or no such table ({error}); search again") from error
    missing = [name for name in FRONT_TYPES if name not in frame]
    if missing:
        raise RunError(
            f"{path}: columns {missing} are missing; expected a front.csv or history.csv"
        )
    return frame


def _frame(individuals: Any, problem: Any, types: dict[str, Any]) -> pd.DataFrame:
    rows = [_row(individual, problem) for individual in individuals]
    return pd.DataFrame(rows, columns=list(HISTORY_TYPES)).astype(HISTORY_TYPES)[list(types)]


def _row(individual: Any, problem: Any) -> dict[str, Any]:
    alpha = individual.get("alpha")
    return {
        "generation": individual.get("n_gen") or 0,
        "genotype": problem.search_space.format(individual.X[0]),
        **dict(zip(OBJECTIVES, map(float, individual.F), strict=True)),
        "params": int(individual.get("params")),
        "flops": int(individual.get("flops")),
        "acts": int(individual.get("acts")),
        "seconds": float(individual.get("seconds")),
        # On one line: a carriage return within a field would not be read back.
        "degenerate": " ".join((individual.get("degenerate") or "").split()),
        "feasible": bool(individual.FEAS[0]),
        "mutation": individual.get("mutation") or "",
        "survived": bool(individual.get("survived")),
        "alpha": np.nan if alpha is None else float(alpha),
    }
