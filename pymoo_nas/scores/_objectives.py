"""Objectives, by which the candidates of a search are judged; each is declared once.

All objectives are minimised. The three of the paper are the default, in their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from pymoo_nas._machine import imported
from pymoo_nas.errors import SearchError
from pymoo_nas.scores._candidate import ADDED, COLUMNS, OBJECTIVES_BEHIND, SIZES
from pymoo_nas.scores._from_kernels import (
    Judgement,
    activation_score,
    correlation_score,
    ntk_score,
    worst_activation,
    worst_correlation,
    worst_ntk,
)
from pymoo_nas.scores._jacobian_covariance import jacob_cov, worst_jacob_cov
from pymoo_nas.scores._latency import BATCH_SIZE, latency_objective
from pymoo_nas.scores._objective import Measured, Objective, numbers
from pymoo_nas.scores._participation import participation, worst_participation
from pymoo_nas.scores._spectra import correlation_entropy, ntk_entropy, worst_entropy
from pymoo_nas.scores._synflow import synflow, worst_synflow
from pymoo_nas.scores._zico import worst_zico, zico

ATTRIBUTE = "objectives"
"""Key in a table's ``attrs`` that holds the names of its objectives."""


def _ntk(measured: Measured) -> Judgement:
    return _of_kernel(measured, measured.kernels.ntk)


def _balanced_ntk(measured: Measured) -> Judgement:
    return _of_kernel(measured, measured.kernels.balanced)


def _of_kernel(measured: Measured, kernel: Tensor) -> Judgement:
    """Score a tangent kernel; too few parameters are the reason why a kernel is singular."""
    judgement = ntk_score(numbers(kernel))
    if measured.kernels.n_parameters < len(measured.images):
        return judgement._replace(reason="fewer parameters than images")
    return judgement


def _activation(measured: Measured) -> Judgement:
    return activation_score(numbers(measured.kernels.agreement))


def _correlation(measured: Measured) -> Judgement:
    return correlation_score(measured.gradients, measured.distances)


NTK = Objective("ntk", "log10 condition number", worst_ntk, _ntk)
"""Condition number of the neural tangent kernel (Chen 2021, TE-NAS)."""


@dataclass(frozen=True)
class _Count:
    """The size of a network by one of its `Counts`; a class, so that it can be pickled."""

    name: str

    def __call__(self, measured: Measured) -> float:
        return float(getattr(measured.counts, self.name))


def worst_count(n_images: int) -> float:
    """Above every size that a machine can hold."""
    del n_images
    return 1e18


LATENCY = latency_objective()
"""Objective `latency`: milliseconds for one image on one thread, see `latency_objective`."""

OBJECTIVES = {
    objective.name: objective
    for objective in (
        NTK,
        Objective("activation", "−log det", worst_activation, _activation),
        Objective("correlation", "−log det", worst_correlation, _correlation),
        replace(NTK, name="balanced_ntk", compute=_balanced_ntk),
        Objective("ntk_entropy", "−entropy of the spectrum", worst_entropy, ntk_entropy),
        Objective("participation", "−participation", worst_participation, participation),
        Objective("correlation_entropy", "−entropy", worst_entropy, correlation_entropy),
        Objective("jacob_cov", "Jacobian covariance", worst_jacob_cov, jacob_cov),
        Objective("synflow", "−log10 SynFlow", worst_synflow, synflow),
        Objective("zico", "−ZiCo", worst_zico, zico),
        Objective("params", "trainable parameters", worst_count, _Count("params")),
        Objective("flops", "multiply-accumulates", worst_count, _Count("flops")),
        Objective("acts", "numbers in maps", worst_count, _Count("acts")),
        Objective("peak_memory", "maps at one time", worst_count, _Count("peak_memory"), "bytes"),
        LATENCY,
        latency_objective("batch_latency", batch_size=BATCH_SIZE),
    )
}
"""Name → objective.

The first three are the paper's. ``balanced_ntk`` is the condition number of the kernel in which
every parameter tensor weighs alike, so that no layer hides the others (see `Kernels`); it ranks
NAS-Bench-201 better than ``ntk`` (see studies/score_quality.py). ``ntk_entropy``, ``participation``
and ``correlation_entropy`` are later forms of the three, `LATER_OBJECTIVES`. ``activation`` is also
the score of NASWOT (Mellor 2021); ``jacob_cov``, ``synflow`` and ``zico`` are published scores of
others. The rest are sizes and times of the network whose size the search counts.
"""

PAPER_OBJECTIVES = ("ntk", "activation", "correlation")
"""Names of the paper's three objectives, in their order in F."""

LATER_OBJECTIVES = ("ntk_entropy", "participation", "correlation_entropy")
"""Names of later forms of the paper's three objectives, which rank NAS-Bench-201 better (see
studies/score_quality.py)."""

OBJECTIVE_SETS = {"paper": PAPER_OBJECTIVES, "later": LATER_OBJECTIVES}
"""One name → the names of several objectives, in order."""


def read_objectives(given: Any) -> tuple[Objective, ...]:
    """Read the objectives of a search, in their order in F.

    Args:
        given: names of `OBJECTIVES` and of `OBJECTIVE_SETS`, objectives of the user's own, and
            names ``module:name`` of these, which are imported; or a text of names, separated by
            commas or spaces.

    Raises:
        SearchError: a name is unknown, there is no name, or a name stands twice.

    Examples:
        >>> [objective.name for objective in read_objectives("balanced_ntk,activation")]
        ['balanced_ntk', 'activation']
        >>> [objective.name for objective in read_objectives(["later", "flops"])]
        ['ntk_entropy', 'participation', 'correlation_entropy', 'flops']
    """
    items = given.replace(",", " ").split() if isinstance(given, str) else given
    if isinstance(items, Objective) or not isinstance(items, Iterable):
        raise SearchError(f"objectives={given!r}; expected a list of names or objectives")
    read = tuple(objective for item in items for objective in _read(item))
    for objective in read:
        if objective != OBJECTIVES.get(objective.name, objective):
            raise SearchError(
                f"objective {objective.name!r}: the package has another one of that name; choose "
                "another name"
            )
    names = [objective.name for objective in read]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SearchError(f"objectives={names}: {', '.join(twice)} stands twice; expected once")
    if not read:
        raise SearchError(
            f"objectives={given!r}; expected at least one: your own, or some of "
            f"{', '.join(OBJECTIVES)}"
        )
    return read


def title_of_objective(name: str) -> str:
    """Return the label of an axis; for an objective that is not the package's, its name."""
    return OBJECTIVES[name].title if name in OBJECTIVES else name


def objectives_in(table: pd.DataFrame) -> list[str]:
    """List the objectives of a table, in order.

    A table that this package made or read knows its objectives (`pandas.DataFrame.attrs`). In any
    other table they are the columns of numbers between genotype and size that mean nothing else.
    If there are no such columns, they are all columns with names of the package's objectives.
    """
    known = [name for name in table.attrs.get(ATTRIBUTE, ()) if name in table]
    if known:
        return known
    between = [
        name
        for name in between_genotype_and_size(list(map(str, table.columns)))
        if table.empty or name in OBJECTIVES or pd.api.types.is_numeric_dtype(table[name])
    ]
    brought = [name for name in OBJECTIVES if name not in SIZES]
    return between or [str(name) for name in table.columns if name in brought]


def between_genotype_and_size(names: list[str]) -> list[str]:
    """List the columns where objectives stand, without columns that mean something else."""
    columns = list(COLUMNS)
    behind = columns[columns.index(OBJECTIVES_BEHIND) + 1 :]
    if OBJECTIVES_BEHIND not in names:
        return []
    rest = names[names.index(OBJECTIVES_BEHIND) + 1 :]
    stops = [place for place, name in enumerate(rest) if name in behind]
    return [name for name in rest[: min(stops, default=0)] if name not in (*COLUMNS, *ADDED)]


def is_sound(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell which rows (n,) have finite objectives and no reason why they are degenerate.

    An empty text means that there is no reason, and so does NaN, as CSV files give it back.
    """
    values = table[objectives_in(table)].to_numpy(float)
    sound = np.asarray(np.isfinite(values).all(axis=1))
    if "degenerate" in table:
        reason = table["degenerate"]
        sound &= (reason.isna() | reason.astype(str).eq("")).to_numpy(dtype=bool)
    return sound


def _read(item: Any) -> Iterable[Objective]:
    """The objectives that an item stands for: itself, or those of its name."""
    if isinstance(item, Objective):
        return [item]
    several = OBJECTIVE_SETS.get(item) if isinstance(item, str) else None
    return [OBJECTIVES[name] for name in several] if several else [_named(item)]


def _named(name: Any) -> Objective:
    if isinstance(name, str) and ":" in name:
        return _imported(name)
    if not isinstance(name, str) or name not in OBJECTIVES:
        known = [*OBJECTIVES, *OBJECTIVE_SETS]
        close = get_close_matches(str(name), known, n=1)
        meant = f"did you mean {close[0]}? Expected" if close else "expected"
        raise SearchError(
            f"objective {name!r} is unknown; {meant} some of {', '.join(known)}, module:name of "
            "your own, or an Objective"
        )
    return OBJECTIVES[name]


def _imported(name: str) -> Objective:
    """Import an objective of a user's own, which has the name of its variable."""
    found = imported(name)
    if not isinstance(found, Objective):
        raise SearchError(f"objective {name}: {found!r} is no Objective")
    if name.rpartition(":")[2] != found.name:
        raise SearchError(
            f"objective {name}: it is called {found.name!r}; give the variable that name"
        )
    return replace(found, source=name)
