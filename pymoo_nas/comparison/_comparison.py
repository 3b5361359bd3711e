"""Comparisons of several searches per label: one table, tests, curves and pictures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pymoo_nas._machine import expanded, make_folder, unwritable, whole, write_csv
from pymoo_nas.comparison._measures import Box, attainment_surface, front_of, hypervolume_curve
from pymoo_nas.comparison._searched import Searched, check_groups, scores_of
from pymoo_nas.comparison._statistics import compare_pairs
from pymoo_nas.comparison._truth import KNOWN, accuracies_of, known_of, read_truth
from pymoo_nas.errors import SearchError

OWN = ("label", "run", "seed", "n", "scored", "hypervolume", "front")
"""Columns of the table of runs beside objectives and known accuracies."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came of several searches.

    The hypervolume is normalised: its ideal point has the best value of each objective over all
    sound and feasible candidates of all searches, its reference point their quantile of 0.9, so
    that no outlier decides. It counts all that a search has scored, not only what survived.

    Attributes:
        table: a row per label with the number n of its runs, and for each column of `runs` its mean
            and, with ``_sd`` behind the name, its standard deviation (NaN for one run). Where some
            runs have no value, such as a run that found nothing sound, ``_n`` behind the name has
            the number of runs that have one.
        tests: a row per pair of labels, on the final hypervolume: Wilcoxon's signed-rank test where
            both have the same seeds, else the U test; p values, corrected by Holm 1979 in
            ``p_holm``; ``a12``, how probably a run of a has more than one of b (Vargha 2000), and
            the rank-biserial correlation; the reason where there is no p value.
        curves: a row per label and number of evaluations: mean, min and max of the hypervolume.
        attainment: corners of the region that half of the runs attain, for every two objectives.
        runs: a row per run: candidates scored, hypervolume, size of the front, best of each
            objective. With known accuracies also that of the first known one in the order of
            `order_scored`, the best of the front, and of how many of its genotypes it is known.
            Where a search has measured gradients, candidates that are known to be unsteady are left
            out of this front, as in the result's archive; hypervolume, size and best values count
            them.
        objectives: names, all minimised.
        ideal: objective → best value.
        reference: objective → worst value that counts in the hypervolume.
    """

    table: pd.DataFrame
    tests: pd.DataFrame
    curves: pd.DataFrame
    attainment: pd.DataFrame
    runs: pd.DataFrame
    objectives: list[str]
    ideal: dict[str, float]
    reference: dict[str, float]

    def save(self, folder: str | Path) -> list[Path]:
        """Write the tables as CSV and the pictures, in place of earlier ones.

        Args:
            folder: made where it is not there.

        Returns:
            the files: table.csv, tests.csv, curves.csv, attainment.csv, runs.csv, hypervolume.png,
            and of two objectives or more attainment.png.

        Raises:
            RunError: the folder cannot be made or written to.
        """
        from pymoo_nas.plots import (  # noqa: PLC0415 - matplotlib is heavy
            plot_attainment,
            plot_hypervolume,
            save_figure,
        )

        path = expanded(folder)
        make_folder(path)
        written = []
        try:
            for name in ("table", "tests", "curves", "attainment", "runs"):
                written.append(path / f"{name}.csv")
                write_csv(written[-1], getattr(self, name))
            figures = {"hypervolume.png": plot_hypervolume(self.curves)}
            if len(self.objectives) > 1:
                figures["attainment.png"] = plot_attainment(self.attainment)
            for name, figure in figures.items():
                written.append(path / name)
                save_figure(figure, written[-1])
        except OSError as error:
            raise unwritable(path, error) from error
        return written


def compare_searches(
    groups: Mapping[str, Sequence[Searched]],
    *,
    truth: Any = None,
    evaluations: int | None = None,
) -> Comparison:
    """Compare searches that score alike.

    Args:
        groups: label → its searches, such as one per seed.
        truth: known accuracies, a table with the columns genotype and accuracy, or the CSV file of
            one.
        evaluations: candidates of each search that are compared, the first so many; None takes all.

    Raises:
        SearchError: searches that cannot be compared, see `check_groups`; or fewer candidates than
            `evaluations`.
        DatasetError: no such table, or one without the columns.
    """
    check_groups(groups)
    asked = next(chain(*groups.values())).objectives
    made = {f"{name}{end}" for name in (*OWN, *KNOWN, *asked) for end in ("_sd", "_n")}
    clashes = [name for name in asked if name in made or name in (*OWN, *KNOWN)]
    if clashes:
        raise SearchError(
            f"objectives {', '.join(clashes)}: tables of comparisons have other columns of these "
            "names; rename the objectives"
        )
    if evaluations is not None:
        evaluations = whole("evaluations", evaluations)
    labels = [label for label, searches in groups.items() for _ in searches]
    searches = list(chain(*groups.values()))
    objectives = searches[0].objectives
    histories = [search.head(evaluations) for search in searches]
    read = [scores_of(history) for history in histories]
    points = [values[counts] for values, counts in read]
    box = Box.around(np.vstack(points))
    curves = [hypervolume_curve(values, counts, box) for values, counts in read]
    rows = [
        {"label": label, "run": search.name, "seed": search.seed, **_measured(curve, of_run)}
        | _best(of_run, objectives)
        for label, search, curve, of_run in zip(labels, searches, curves, points, strict=True)
    ]
    if truth is not None:
        known = accuracies_of(histories, searches, read_truth(truth))
        found = [known_of(*pair) for pair in zip(histories, known, strict=True)]
        rows = [row | more for row, more in zip(rows, found, strict=True)]
    seeds = [search.seed for search in searches]
    fit = all(seed is None or seed < 2**63 for seed in seeds)  # pymoo takes larger ones too
    runs = pd.DataFrame(rows).assign(seed=pd.array(seeds, dtype="Int64" if fit else object))
    places = {label: np.flatnonzero([other == label for other in labels]) for label in groups}
    return Comparison(
        table=_table(runs, objectives),
        tests=compare_pairs(runs, "hypervolume"),
        curves=_curves({label: [curves[i] for i in mine] for label, mine in places.items()}),
        attainment=_attainment(
            {label: [points[i] for i in mine] for label, mine in places.items()}, objectives
        ),
        runs=runs,
        objectives=objectives,
        ideal=dict(zip(objectives, box.ideal.tolist(), strict=True)),
        reference=dict(zip(objectives, box.reference.tolist(), strict=True)),
    )


def _measured(curve: Any, points: Any) -> dict[str, Any]:
    """What is measured of one search: its curve, and its sound and feasible candidates (n, m)."""
    final = float(curve[-1]) if len(curve) else 0.0
    return {"scored": len(curve), "hypervolume": final, "front": len(front_of(points))}


def _best(points: Any, objectives: Sequence[str]) -> dict[str, float]:
    """The best value of each objective; NaN without a candidate."""
    best = points.min(axis=0) if len(points) else np.full(len(objectives), math.nan)
    return dict(zip(objectives, best.tolist(), strict=True))


def _table(runs: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """Mean and standard deviation of the columns of runs, a row per label."""
    measured = ["scored", "hypervolume", "front", *objectives]
    measured += [name for name in KNOWN if name in runs]
    rows = []
    for label, group in runs.groupby("label", sort=False):
        row: dict[str, Any] = {"label": label, "n": len(group)}
        for name in measured:
            row |= {name: group[name].mean(), f"{name}_sd": group[name].std()}
            if group[name].isna().any():
                row[f"{name}_n"] = int(group[name].notna().sum())
        rows.append(row)
    return pd.DataFrame(rows)


def _curves(groups: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Mean and extremes over the runs of each label, as far as all of them go."""
    frames = []
    for label, curves in groups.items():
        length = min(map(len, curves))
        stacked = np.array([curve[:length] for curve in curves]).reshape(len(curves), length)
        columns = {"label": label, "evaluations": np.arange(1, length + 1), "n": len(curves)}
        found = {name: getattr(stacked, name)(axis=0) for name in ("mean", "min", "max")}
        frames.append(pd.DataFrame({**columns, **found}))
    return pd.concat(frames, ignore_index=True)


def _attainment(groups: Mapping[str, Sequence[Any]], objectives: Sequence[str]) -> pd.DataFrame:
    """The median attainment of each label, for every two objectives."""
    rows = []
    for a, b in itertools.combinations(range(len(objectives)), 2):
        for label, points in groups.items():
            fronts = [front_of(of_run[:, [a, b]]) for of_run in points]
            pair = {"label": label, "n": len(fronts)}
            pair |= {"objective_x": objectives[a], "objective_y": objectives[b]}
            rows += [{**pair, "x": x, "y": y} for x, y in attainment_surface(fronts).tolist()]
    columns = ["label", "n", "objective_x", "objective_y", "x", "y"]
    return pd.DataFrame(rows, columns=columns)
