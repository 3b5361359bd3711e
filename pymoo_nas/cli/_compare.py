"""``pymoo-nas compare``: several runs, with statistics over their seeds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.table import Table

from pymoo_nas.cli._options import cell_text
from pymoo_nas.cli._terminal import terminal
from pymoo_nas.runs import compare as compare_runs


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of searches that score alike.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the tables and pictures; none without it.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(help="CSV of known accuracies, with the columns genotype and accuracy."),
    ] = None,
    evaluations: Annotated[
        int | None,
        typer.Option(help="Compare the first so many candidates of each run; default all.", min=1),
    ] = None,
) -> None:
    """Compare searches by what they have scored: mean ± standard deviation over the runs.

    Runs are grouped by strategy, and within it by what differs in their settings but for the seed.
    The hypervolume lies between 0 and 1: its box reaches from the best value of each objective to
    the value that 90 % of all candidates beat. Groups with the same seeds are compared by
    Wilcoxon's signed-rank test, others by the U test; a12 is how probably a run of the first group
    has more.
    """
    found = compare_runs(runs, truth=truth, evaluations=evaluations)
    console = terminal()
    console.print(_means(found.table))
    if len(found.tests):
        console.print(_tests(found.tests))
    least, most = found.runs["scored"].min(), found.runs["scored"].max()
    if least != most:
        console.print(
            f"the runs have scored {least:,} to {most:,} candidates; compare as many of each with "
            f"--evaluations {least}",
            highlight=False,
            soft_wrap=True,
        )
    for path in [] if out is None else found.save(out):
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)


def _means(means: pd.DataFrame) -> Table:
    """Mean ± standard deviation of every column, a row per label."""
    names = [name for name in means if f"{name}_sd" in means]
    table = Table(title="mean ± standard deviation over the runs")
    for name in ("label", "n", *names):
        table.add_column(str(name), justify="left" if name == "label" else "right", overflow="fold")
    for row in means.to_dict("records"):
        cells = [
            _spread(row[name], row[f"{name}_sd"], row.get(f"{name}_n", math.nan), row["n"])
            for name in names
        ]
        table.add_row(str(row["label"]), str(row["n"]), *cells)
    return table


def _spread(mean: float, deviation: float, n_known: float = math.nan, n: int = 0) -> str:
    """A mean with its standard deviation, and of how many runs it is, where that is not all.

    >>> _spread(0.5, 0.25), _spread(3.0, math.nan, 1, 2), _spread(math.nan, math.nan)
    ('0.5 ± 0.25', '3 (1 of 2)', 'unknown')
    """
    if math.isnan(mean):
        return "unknown"
    spread = "" if math.isnan(deviation) else f" ± {deviation:.2g}"
    return f"{cell_text(mean)}{spread}" + ("" if math.isnan(n_known) else f" ({n_known:g} of {n})")


def _tests(tests: pd.DataFrame) -> Table:
    """One row for each pair of labels."""
    table = Table(title="final hypervolume, by pairs")
    names = ["a", "b", "test", "p", "p_holm", "a12", "rank_biserial", "reason"]
    for name in names:
        table.add_column(name, overflow="fold")
    for row in tests.to_dict("records"):
        table.add_row(*(_cell(row[name]) for name in names))
    return table


def _cell(value: Any) -> str:
    return "" if isinstance(value, float) and math.isnan(value) else cell_text(value)
