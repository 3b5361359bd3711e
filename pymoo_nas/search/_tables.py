"""Fronts and histories of a search as pandas frames, and as CSV files that read back exactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.util.optimum import filter_optimum

from pymoo_nas._machine import write_csv
from pymoo_nas.errors import RunError, SearchError
from pymoo_nas.scores import (
    ADDED,
    ATTRIBUTE,
    COLUMNS,
    PAPER_OBJECTIVES,
    SIZES,
    STEADINESS,
    WHERE_MEASURED,
    Candidate,
    column_types,
    objectives_in,
)
from pymoo_nas.search._given import parsed
from pymoo_nas.search._steady import preferred
from pymoo_nas.search._survival import standings_of


def front_to_frame(result: Any, problem: Any = None) -> pd.DataFrame:
    """Make a table of the front of a search, best rank sum first: one row per architecture.

    A problem that is no `NASProblem` names its objectives by ``objective_names``, else they are f1,
    f2, …; values that it does not record have no column. One of pymoo's wrappers around a
    `NASProblem` may have other objectives, which come last.

    Args:
        result: pymoo's ``Result``, an algorithm, or a population, whose front is taken. The table
            is empty where no candidate keeps the limits.
        problem: needed with a population only.

    Raises:
        SearchError: something else, or a population without a problem.
    """
    if isinstance(result, Population):
        front = filter_optimum(preferred(result))
    elif hasattr(result, "opt"):
        front, problem = result.opt, result.problem
    else:
        raise SearchError(
            f"got a {type(result).__name__} for a front; pass pymoo's result, the algorithm, or a "
            "population with problem=..."
        )
    if problem is None:
        raise SearchError(
            "a population does not know its search space; pass the result itself, or problem=..."
        )
    # Nothing is noted on the individuals, whose rank and crowding other survivals may have set.
    ordered = [] if front is None else [front[place] for place, *_ in standings_of(front)]
    rows = [individual for individual in ordered if individual.FEAS[0]]
    return _frame([_row(individual, problem) for individual in rows], problem, survivors=True)


def history_to_frame(result: Any) -> pd.DataFrame:
    """Make a table of every candidate that a search scored, in the order of scoring.

    Args:
        result: pymoo's ``Result``, the algorithm, or the list ``result.history``, of a run of
            `EvolutiveNAS`, or of another algorithm with ``save_history=True``.

    Raises:
        SearchError: something else, or another algorithm whose history is not kept or not whole.
    """
    entries = result if isinstance(result, list) else getattr(result, "history", None)
    algorithm = getattr(result, "algorithm", result)
    if not hasattr(algorithm, "scored") and entries:
        algorithm = entries[-1]
    if hasattr(algorithm, "scored"):
        rows = [_row(individual, algorithm.problem) for individual in algorithm.scored]
    elif entries and all(hasattr(entry, "off") for entry in entries):
        rows = [row for entry in entries for row in _generation(entry)]
        n_scored = entries[-1].evaluator.n_eval
        if len(rows) < n_scored:
            raise SearchError(
                f"the history of {type(algorithm).__name__} holds {len(rows)} of the {n_scored} "
                "candidates that it scored; use EvolutiveNAS"
            )
    else:
        raise SearchError(
            f"{type(algorithm).__name__} keeps no list of what it scored; use EvolutiveNAS, or "
            "save_history=True, and pass the result"
        )
    return _frame(rows, algorithm.problem)


def read_table(given: Any) -> pd.DataFrame:
    """Return the given table, or the history or the front of the given search.

    Args:
        given: a table, which is returned; or pymoo's result, an algorithm or its history, which
            give the history where it was kept, else the front.

    Raises:
        SearchError: something else.
    """
    if isinstance(given, pd.DataFrame):
        return given
    algorithm = getattr(given, "algorithm", given)
    if hasattr(algorithm, "scored") or getattr(given, "history", None) or isinstance(given, list):
        return history_to_frame(given)
    if hasattr(given, "opt"):
        return front_to_frame(given)
    raise SearchError(
        f"got a {type(given).__name__}; pass the result of a search, history_to_frame(result) or "
        "front_to_frame(result)"
    )


def objective_names(problem: Any) -> list[str]:
    """Names of the columns of F: the problem's ``objective_names`` where they fit, or f1, f2."""
    names = getattr(problem, "objective_names", None) or []
    names = [str(name) for name in names]
    mean_something_else = set(names) & ({*COLUMNS} - {*SIZES} | {*ADDED})
    if len(names) == problem.n_obj == len(set(names)) and not mean_something_else:
        return names
    return [f"f{index + 1}" for index in range(problem.n_obj)]


def write_frame(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a front or history as CSV, under a temporary name first.

    Raises:
        SearchError: something else than a frame.
    """
    if not isinstance(frame, pd.DataFrame):
        raise SearchError(
            f"got a {type(frame).__name__} to write; pass front_to_frame(result) or "
            "history_to_frame(result)"
        )
    write_csv(Path(path), frame)


def read_frame(path: str | Path, objectives: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table that `write_frame` wrote: equal to the bit, genotypes as text.

    Args:
        path: CSV file.
        objectives: names of the objectives. None takes the columns between genotype and sizes; so
            objectives that are sizes or times themselves, such as "params", have to be named. Where
            they are named, sizes and seconds, which a problem of the user's own may not tell, may
            be absent.

    Raises:
        RunError: no such file, no table, or a table without the columns of a front or history.
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(f"{path}: no such file; expected what pymoo-nas search writes")
    try:
        # Pandas reads a leading tilde as the home folder; an absolute path has none.
        header = pd.read_csv(path.absolute(), nrows=0, keep_default_na=False)
        named = list(objectives or ())
        objectives = named if named and {*named} <= {*header} else objectives_in(header)
        # Genotypes such as 0804 would be taken for numbers, the word "nan" for a missing value.
        # Texts are never missing, only empty.
        later = [
            name for name, column in COLUMNS.items() if column.added_later and column.kind != "str"
        ]
        kinds = column_types(objectives)
        # A problem of the user's own may tell them of some candidates only, see `_frame`.
        sizes = [name for name in SIZES if kinds.get(name) == "int64"]
        frame = pd.read_csv(
            path.absolute(),
            # A run of an earlier version that went on has these columns in its later rows only.
            dtype={name: kind for name, kind in kinds.items() if name not in later}
            | dict.fromkeys(sizes, "float64"),
            keep_default_na=False,
            na_values={name: [""] for name in ("alpha", "seconds", *sizes, *later, *ADDED)},
        )
        sizes = [name for name in sizes if name in frame]
        for name in sizes:
            told = frame[name].dropna()
            if not (told.abs() < 2**53).all() or (told % 1 != 0).any():
                raise ValueError(f"a number in the column {name} that counts nothing")
        whole = [name for name in sizes if frame[name].notna().all()]
        frame = frame.astype(dict.fromkeys(whole, "int64"))
        steadiness = [name for name in STEADINESS if name in frame]
        frame = frame.astype(dict.fromkeys(steadiness, "float64"))
        if frame.empty:
            frame = frame.astype({name: kinds[name] for name in later if name in frame})
    except (ValueError, OverflowError) as error:
        raise RunError(f"{path}: damaged or no such table ({error}); search again") from error
    missing = missing_columns(frame, objectives or PAPER_OBJECTIVES)
    if {*missing} - ({*SIZES, "seconds"} if named else set()):
        raise RunError(
            f"{path}: columns {missing} are missing; expected a front.csv or history.csv; "
            "objectives that are sizes have to be named: read_frame(path, objectives=[...])"
        )
    frame.attrs[ATTRIBUTE] = objectives
    return frame


def missing_columns(table: pd.DataFrame, objectives: Sequence[str]) -> list[str]:
    """The columns of a front that a table lacks, but for those that earlier versions did not have.

    Args:
        table: a front or a history.
        objectives: names, as columns.
    """
    return [
        name
        for name in column_types(objectives, survivors=True)
        if name not in table and not (name in COLUMNS and COLUMNS[name].added_later)
    ]


def _frame(rows: list[_Row], problem: Any, *, survivors: bool = False) -> pd.DataFrame:
    """Make a table with the columns of `Candidate`, and with the further columns of the rows."""
    names = list(rows[0].objectives) if rows else objective_names(problem)
    measured = [
        name for name in WHERE_MEASURED if any(row.values[name] is not None for row in rows)
    ]
    kinds = column_types(names, measured=measured, survivors=survivors)
    for name in (*SIZES, "seconds"):
        present = [row.values[name] is not None for row in rows]
        if not all(present):
            # A column without any value is left out; a column with gaps cannot hold integers.
            kinds[name] = "float64"
            if not any(present):
                kinds.pop(name, None)
    kinds |= dict.fromkeys(rows[0].others if rows else (), "float64")
    table = pd.DataFrame([row.values for row in rows], columns=list(kinds)).astype(kinds)
    table.attrs[ATTRIBUTE] = names
    return table


class _Row(NamedTuple):
    """The row of a candidate.

    Attributes:
        values: column → value.
        objectives: names of the objectives of its `NASProblem`, in order.
        others: columns of the other objectives of one of pymoo's wrappers, which come last.
    """

    values: dict[str, Any]
    objectives: list[str]
    others: list[str]


def _generation(entry: Any) -> list[_Row]:
    """The rows of one entry of a history: its scored candidates, and whether each survived."""
    survivors = {id(individual) for individual in entry.pop}
    rows = []
    scored = [] if entry.off is None else entry.off
    for individual in [scored] if isinstance(scored, Individual) else scored:
        row = _row(individual, entry.problem)
        row.values["survived"] = id(individual) in survivors
        rows.append(row)
    return rows


def _row(individual: Any, problem: Any) -> _Row:
    space = problem.search_space
    values = dict(zip(objective_names(problem), map(float, individual.F), strict=True))
    scores: dict[str, float] = individual.get("scores") or values
    objectives = {name: values.get(name, score) for name, score in scores.items()}
    genotype = space.format(parsed(space, individual.X[0]))
    row = Candidate.of(individual, genotype, objectives).row()
    others = {name: value for name, value in values.items() if name not in scores}
    # A problem that records no sizes may have an objective of that name.
    unknown = {name: values[name] for name in values if row.get(name) is None and name in row}
    return _Row({**row, **unknown, **others}, list(objectives), list(others))
