"""The candidate: all that a search knows of one architecture, and the columns of its tables.

Histories, fronts, checkpoints and printed tables have these columns, in this order.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple


class Column(NamedTuple):
    """One column of the tables of a search.

    Attributes:
        kind: pandas' type.
        scored: whether scoring leaves it; else the algorithm notes it, or it is derived.
        added_later: whether tables of earlier versions lack it.
    """

    kind: str
    scored: bool
    added_later: bool


def _column(kind: str, default: Any, *, scored: bool = False, added_later: bool = False) -> Any:
    return field(default=default, metadata=Column(kind, scored, added_later)._asdict())


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is known of an architecture of a search; None where a problem does not record it.

    Attributes:
        generation: in which it was scored, from 1.
        genotype: its text.
        objectives: name → value, minimised.
        params: trainable parameters.
        flops: multiply-accumulates per image.
        acts: see `Counts`.
        peak_memory: bytes, see `Counts`.
        latency: milliseconds for one image, where it was measured.
        seconds: wall time of scoring it.
        degenerate: why its scores are worthless; empty where they are not.
        feasible: whether it keeps the limits.
        mutation: the mutations that made it, see `GenotypeMutation`.
        parents: the rows of the history that its parents have, from 1, separated by semicolons;
            empty where it was drawn at random, or where the parents are not known.
        growth: see `Steadiness`; None where it was not measured.
        smoothness: see `Steadiness`; None where it was not measured.
        survived: whether it outlived its generation.
        alpha: its share in the last tournament that it was in; NaN where it was in none.
    """

    generation: int = _column("int64", 0)
    genotype: str = _column("str", "")
    objectives: Mapping[str, float]
    params: int | None = _column("int64", None, scored=True)
    flops: int | None = _column("int64", None, scored=True)
    acts: int | None = _column("int64", None, scored=True)
    peak_memory: int | None = _column("int64", None, scored=True, added_later=True)
    latency: float | None = _column("float64", None, scored=True, added_later=True)
    seconds: float | None = _column("float64", None, scored=True)
    degenerate: str = _column("str", "", scored=True)
    feasible: bool = _column("bool", True)
    mutation: str = _column("str", "")
    parents: str = _column("str", "", added_later=True)
    growth: float | None = _column("float64", None, added_later=True)
    smoothness: float | None = _column("float64", None, added_later=True)
    survived: bool = _column("bool", False)
    alpha: float = _column("float64", math.nan)

    @classmethod
    def of(cls, individual: Any, genotype: str, objectives: Mapping[str, float]) -> Candidate:
        """The candidate that an evaluated individual of pymoo's is."""
        alpha = individual.get("alpha")
        return cls(
            generation=individual.get("n_gen") or 0,
            genotype=genotype,
            objectives=objectives,
            **{name: _known(individual.get(name)) for name in (*SIZES, "seconds")},
            # On one line: a carriage return within a field would not be read back.
            degenerate=" ".join((individual.get("degenerate") or "").split()),
            feasible=bool(individual.FEAS[0]),
            mutation=str(individual.get("mutation") or ""),
            parents=str(individual.get("parents") or ""),
            growth=_known(individual.get("growth")),
            smoothness=_known(individual.get("smoothness")),
            survived=bool(individual.get("survived")),
            alpha=math.nan if alpha is None else float(alpha),
        )

    def row(self) -> dict[str, Any]:
        """Column → value, in order, each objective in a column of its name."""
        own = {name: value for name, value in self.objectives.items() if name not in SIZES}
        return {**_before(vars(self)), **own, **_after(vars(self))}


COLUMNS: Mapping[str, Column] = {
    item.name: Column(**item.metadata) for item in fields(Candidate) if item.metadata
}
"""Name → column of a history, in order; those of the objectives stand behind the genotype."""

SIZES = ("params", "flops", "acts", "peak_memory", "latency")
"""Columns that tell how large or slow a network is; objectives and limits may have their names."""

SCORED = tuple(name for name, column in COLUMNS.items() if column.scored)
"""What scoring leaves on every individual besides F and G."""

STEADINESS = ("growth", "smoothness")
"""Columns of the steadiness of gradients, in tables of searches and of choices that measure it."""

WHERE_MEASURED = ("latency", *STEADINESS)
"""Columns of tables in which something is measured that is measured when it is asked for."""

NOTED = ("n_gen", "mutation", "parents", *STEADINESS, "survived", "alpha", "rank", "crowding")
"""What the algorithm notes on an individual."""

ADDED = ("rank_sum", "distance", *STEADINESS, "steady", "accuracy", "drawn")
"""Columns that methods of choosing add."""

OBJECTIVES_BEHIND = "genotype"
"""The column behind which the objectives stand."""


def column_types(
    objectives: Collection[str], *, measured: Collection[str] = (), survivors: bool = False
) -> dict[str, str]:
    """Columns of a history of these objectives, in order → pandas' types.

    Args:
        objectives: names, in their order in F.
        measured: those of `WHERE_MEASURED` that have values; latencies as an objective have, too.
        survivors: whether of a front, all of which has survived.
    """
    kinds = {name: column.kind for name, column in COLUMNS.items()}
    for name in {*WHERE_MEASURED} - {*measured, *objectives}:
        del kinds[name]
    if survivors:
        del kinds["survived"]
    own = [name for name in objectives if name not in SIZES]
    return {**_before(kinds), **dict.fromkeys(own, "float64"), **_after(kinds)}


def _known(value: Any) -> Any:
    """None for NaN, which pymoo puts in the place of None."""
    return None if value is not None and math.isnan(value) else value


def _before(values: Mapping[str, Any]) -> dict[str, Any]:
    names = list(COLUMNS)
    return {name: values[name] for name in names[: names.index(OBJECTIVES_BEHIND) + 1]}


def _after(values: Mapping[str, Any]) -> dict[str, Any]:
    names = list(COLUMNS)
    rest = names[names.index(OBJECTIVES_BEHIND) + 1 :]
    return {name: values[name] for name in rest if name in values}
