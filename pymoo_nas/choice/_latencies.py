"""Measure the networks of candidates where a search has not: latency, and all sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from pymoo_nas._machine import Progress, Report
from pymoo_nas.choice._cells import build_final
from pymoo_nas.networks import Counts, count_all
from pymoo_nas.scores import Latencies, is_sound, measure_latencies, measure_latency
from pymoo_nas.search import Limits, NASProblem

LATENCY = "latency"


class Measurements(NamedTuple):
    """Size and latencies of the network that would be trained."""

    counts: Counts
    latencies: Latencies


def measured(genotype: Any, problem: NASProblem, n_cells: int | None = None) -> Measurements:
    """Count and time the network to train that has one genotype at every stage.

    Args:
        genotype: in any form that `build_final` takes.
        problem: gives search space and images; the time is that on its device.
        n_cells: see `build_final`.

    Raises:
        SearchError: see `build_final`.
        GenotypeError: see `build_final`.
    """
    images = problem.probe.images
    network = build_final(genotype, n_cells, problem=problem).to(images.device)
    return Measurements(count_all(network, images), measure_latencies(network, images))


def without_latency(table: pd.DataFrame, limits: Mapping[str, float | None]) -> list[str]:
    """The genotypes that a choice could take, and whose latency was not measured.

    These are the candidates that can be judged and keep all limits but that of the latency.

    Args:
        table: a history or a front.
        limits: ``max_params`` and so on.
    """
    counted = Limits.read({**limits, f"max_{LATENCY}": None})
    usable = is_sound(table) & table.get("feasible", True)
    for name, share in counted.excess({name: table.get(name) for name in counted}).items():
        # A size that is unknown is told by the choice itself.
        usable &= ~(share > 0) if name in table else True
    unknown = usable & _known(table).isna()
    return [str(text) for text in table.loc[unknown, "genotype"].drop_duplicates()]


def with_latencies(
    table: pd.DataFrame,
    problem: NASProblem,
    wanted: Sequence[str],
    *,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Measure the latencies of some candidates of a table.

    Args:
        table: a history or a front.
        problem: gives search space and images; the time is that on its device.
        wanted: the genotypes.
        progress: takes a `Report` after each candidate.

    Returns:
        the table with a column ``latency``, in milliseconds for one image; NaN for the others.
    """
    images, found = problem.probe.images, {}
    for place, text in enumerate(wanted, start=1):
        network = build_final(text, problem=problem).to(images.device)
        found[text] = measure_latency(network, images)
        if progress is not None:
            progress(Report("latencies", place, len(wanted), now=f"{found[text]:.3g} ms"))
    completed = table.assign(**{LATENCY: _known(table).fillna(table["genotype"].map(found))})
    completed.attrs = table.attrs
    return completed


def _known(table: pd.DataFrame) -> pd.Series:
    return table[LATENCY] if LATENCY in table else pd.Series(math.nan, table.index)
