"""Objectives, by which the candidates of a search are judged; each is declared once.

All objectives are minimised. The three of the paper are the default, in their order.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor, nn

from pymoo_nas._machine import is_out_of_memory
from pymoo_nas.errors import PymooNasError, ScoreError, SearchError
from pymoo_nas.kernels import Kernels
from pymoo_nas.networks import Counts
from pymoo_nas.scores._candidate import ADDED, COLUMNS, OBJECTIVES_BEHIND
from pymoo_nas.scores._from_kernels import (
    Judgement,
    Matrix,
    activation_score,
    correlation_score,
    ntk_score,
    worst_activation,
    worst_correlation,
    worst_ntk,
)


@dataclass(frozen=True, eq=False)
class Measured:
    """A network at one initialisation, and the measurements of one pass over the probe.

    Attributes:
        network: (N, C, H, W) → logits (N, n_classes); an objective must not change it.
        images: the probe, (N, C, H, W).
        kernels: see `measure_kernels`.
        distances: (N, N), squared distances of the images.
        count: function that counts the size of the network.
    """

    network: nn.Module
    images: Tensor
    kernels: Kernels
    distances: Matrix
    count: Callable[[], Counts]

    @cached_property
    def counts(self) -> Counts:
        """Size of the network, counted when an objective asks for it."""
        return self.count()

    @cached_property
    def gradients(self) -> Matrix:
        """(N, D), gradients of the summed logits at the images."""
        return numbers(self.kernels.input_gradients)


RESERVED = ("objectives", "spread", "values")
"""Attributes of `Scores`, whose names no objective may have."""

ATTRIBUTE = "objectives"
"""Key in a table's ``attrs`` that holds the names of its objectives."""


def numbers(tensor: Tensor) -> Matrix:
    """Convert a tensor on any device to numpy's float64."""
    array: Matrix = tensor.double().cpu().numpy()
    return array


@dataclass(frozen=True)
class Objective:
    """One quantity that a search minimises.

    Attributes:
        name: name of the column in tables; a Python identifier.
        label: short description of the quantity, for the axes of pictures.
        worst: function: number of images of the probe → finite value of a degenerate candidate,
            which no proper network reaches.
        compute: function: network at one initialisation → its value, with a reason (`Judgement`)
            where it is degenerate. Workers in other processes need a function of a module.
        unit: unit of the value; empty for a number without unit.

    Raises:
        SearchError: the name is no identifier or means something else, or a function is missing.
    """

    name: str
    label: str
    worst: Callable[[int], float]
    compute: Callable[[Measured], Judgement | float]
    unit: str = ""

    def __post_init__(self) -> None:
        """Refuse names that cannot be the name of a column and of an attribute."""
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise SearchError(
                f"objective {self.name!r}; expected a name of letters, digits and underscores"
            )
        taken = self.name in (*COLUMNS, *ADDED, *RESERVED) or keyword.iskeyword(self.name)
        if taken or re.fullmatch(r"_.*|f\d+", self.name):
            raise SearchError(
                f"objective {self.name!r}: the name stands for something else in tables, in pymoo "
                "or in Python; choose another"
            )
        for part in ("worst", "compute"):
            if not callable(getattr(self, part)):
                raise SearchError(
                    f"objective {self.name!r}: {part}={getattr(self, part)!r}; expected a function"
                )

    @property
    def title(self) -> str:
        """Name, label and unit, for the axis of a picture."""
        return f"{self.name}: {self.label}" + (f" [{self.unit}]" if self.unit else "")

    def judge(self, measured: Measured) -> Judgement:
        """Return the value of `compute`; the worst value and a reason if it is NaN or infinite.

        Raises:
            ScoreError: `compute` fails, or does not return a number.
        """
        try:
            found = self.compute(measured)
            value, reason = found if isinstance(found, Judgement) else (found, "")
            value = value.detach() if isinstance(value, Tensor) else value
            judgement = Judgement(float(value), reason)
        except Exception as error:
            if isinstance(error, PymooNasError) or is_out_of_memory(error):
                raise
            raise ScoreError(
                f"objective {self.name!r} cannot be computed ({type(error).__name__}: {error}); "
                "expected `compute` to return a number, or a Judgement"
            ) from error
        if not math.isfinite(judgement.value):
            reason = judgement.reason or f"{self.name} is {judgement.value}"
            return Judgement(self.worst(len(measured.images)), reason)
        return judgement


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

OBJECTIVES = {
    objective.name: objective
    for objective in (
        NTK,
        Objective("activation", "−log det", worst_activation, _activation),
        Objective("correlation", "−log det", worst_correlation, _correlation),
        replace(NTK, name="balanced_ntk", compute=_balanced_ntk),
    )
}
"""Name → objective: the paper's three; and ``balanced_ntk``, the condition number of the kernel in
which every parameter tensor weighs alike, so that no layer hides the others (see `Kernels`). It
ranks NAS-Bench-201 better than ``ntk`` (see studies/score_quality.py)."""

PAPER_OBJECTIVES = ("ntk", "activation", "correlation")
"""Names of the paper's three objectives, in their order in F."""


def read_objectives(given: Any) -> tuple[Objective, ...]:
    """Read the objectives of a search, in their order in F.

    Args:
        given: names of `OBJECTIVES`, and objectives of the user's own; or a text of names,
            separated by commas or spaces.

    Raises:
        SearchError: a name is unknown, there is no name, or a name stands twice.

    >>> [objective.name for objective in read_objectives("balanced_ntk,activation")]
    ['balanced_ntk', 'activation']
    """
    items = given.replace(",", " ").split() if isinstance(given, str) else given
    if isinstance(items, Objective) or not isinstance(items, Iterable):
        raise SearchError(f"objectives={given!r}; expected a list of names or objectives")
    read = tuple(item if isinstance(item, Objective) else _named(item) for item in items)
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


def worst_values(objectives: Iterable[Objective], n_images: int) -> tuple[float, ...]:
    """Return the value of each objective that stands for a degenerate network of N images.

    Raises:
        SearchError: a value is not finite.
    """
    values = {objective.name: float(objective.worst(n_images)) for objective in objectives}
    for name, value in values.items():
        if not math.isfinite(value):
            raise SearchError(f"objective {name!r}: worst({n_images})={value}; expected a number")
    return tuple(values.values())


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
    return between or [str(name) for name in table.columns if name in OBJECTIVES]


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


def _named(name: Any) -> Objective:
    if not isinstance(name, str) or name not in OBJECTIVES:
        raise SearchError(
            f"objective {name!r} is unknown; expected some of {', '.join(OBJECTIVES)}, or an "
            "Objective of your own"
        )
    return OBJECTIVES[name]
