"""``pymoo-nas choose``: one architecture of a run, for `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from pymoo_nas._machine import ConsoleProgress, in_shell, threads_set
from pymoo_nas.choice import OPTIONS_OF, Measurements, method_named, refused_options
from pymoo_nas.cli._options import (
    BatchSize,
    Device,
    FinalCells,
    MaxActs,
    MaxFlops,
    MaxLatency,
    MaxMemory,
    MaxParams,
    Precision,
    Seed,
    Threads,
    cell_text,
    number_or_auto,
    refuse_given,
)
from pymoo_nas.cli._terminal import complain, terminal
from pymoo_nas.errors import PymooNasError, SearchError
from pymoo_nas.runs import RunFolder, choose_of_run, default_of_run
from pymoo_nas.scores import ADDED, SIZES, objectives_in
from pymoo_nas.training import AUTO

SHOWN = 10
"""Rows of the printed table."""


def choose(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(help="Run folder of a search.")],
    more: Annotated[
        list[str] | None,
        typer.Argument(help="Further weights, after --weights.", metavar="[NAME=NUMBER]..."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="ranks, te-nas, knee, weights, gradients, or training; default weights if given, "
            "gradients for NAS-Bench-201 where the search has measured none, else ranks."
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Importance of objectives, such as ntk=2 activation=1."),
    ] = None,
    max_params: MaxParams = None,
    max_flops: MaxFlops = None,
    max_acts: MaxActs = None,
    max_memory: MaxMemory = None,
    max_latency: MaxLatency = None,
    top: Annotated[
        int | None,
        typer.Option(
            help="For training: how many are tried (5). For gradients: how many steady ones are "
            "looked for (10).",
            min=1,
        ),
    ] = None,
    random: Annotated[
        int | None,
        typer.Option(
            help="For training: how many candidates of the first generation, drawn at random "
            "within the limits, are tried beside them (3).",
            min=0,
        ),
    ] = None,
    epochs: Annotated[
        str, typer.Option(help="For training: epochs of each; auto: 2, or more for few images.")
    ] = AUTO,
    batch_size: BatchSize = AUTO,
    cells: FinalCells = None,
    precision: Precision = AUTO,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Choose an architecture; `train` then takes it for every stage.

    "ranks" takes the best of all scored candidates: its worst rank among the objectives and size is
    best. It has the smallest rank_sum of the table, a sum of high powers of these ranks. "training"
    trains the first --top candidates of this table and --random others for a short time, and takes
    the smallest of those that are about as good as the best. "gradients" looks in this table for
    --top candidates with steady gradients, which neither grow nor blur in the network that is
    trained, and takes the most expressive (activation score and size). "te-nas" takes the best of
    all scored candidates by the ranks in ntk and activation, whatever the size: the sum of their
    logarithms is smallest. "knee" and "weights" choose from front.csv, the front that the search
    kept.

    --max-latency measures the latencies that the search has not measured, of all candidates that
    keep the other limits.
    """
    texts = [*(weights or []), *(more or [])]
    parsed = parse_weights(texts) if texts else None
    folder, console = RunFolder(run), terminal()
    method = method_named(by, parsed, lambda: default_of_run(folder.config()))
    names = {"n_cells": "cells", "n_random": "random"}
    refused = [names.get(name, name) for name in refused_options(method)]
    refuse_given(ctx, refused, f"with --by {method}")
    values: dict[str, Any] = {
        "top": top,
        "n_random": random,
        "epochs": number_or_auto("epochs", epochs),
        "batch_size": number_or_auto("batch-size", batch_size),
        "n_cells": cells,
        "precision": precision,
        "seed": seed,
        "device": device,
    }
    options = {
        name: values[name] for name in OPTIONS_OF.get(method, ()) if values[name] is not None
    }
    limits = {
        "max_params": max_params,
        "max_flops": max_flops,
        "max_acts": max_acts,
        "max_peak_memory": max_memory,
        "max_latency": max_latency,
    }
    with threads_set(threads), ConsoleProgress(console) as progress:
        ordered, measure, worth = choose_of_run(
            folder, method, weights=parsed, progress=progress, **limits, **options
        )
    _show(console, ordered, method)
    chosen = ordered["genotype"].iloc[0]
    console.print(f"chosen: {chosen}", highlight=False, soft_wrap=True)
    console.print(f"worth: {worth}", highlight=False, soft_wrap=True)
    try:
        console.print(_sizes(measure()), highlight=False, soft_wrap=True)
    except PymooNasError as error:
        complain(f"warning: its latency is not known: {error}")
    drawn = folder.path / "cell.png"
    if drawn.exists():
        console.print(f"wrote {drawn}", highlight=False, soft_wrap=True)
    console.print(f"next: pymoo-nas train {in_shell(run)}", highlight=False, soft_wrap=True)


def _sizes(found: Measurements) -> str:
    counts, times = found.counts, found.latencies
    return (
        f"to train: {counts.params:,} parameters, {counts.flops:,} multiply-accumulates and "
        f"{counts.peak_memory:,} bytes of feature maps per image; {times}"
    )


def parse_weights(texts: list[str]) -> dict[str, float]:
    """Read weights such as ``ntk=2``; a text may hold several, separated by spaces or commas.

    Raises:
        SearchError: a text of another form.

    >>> parse_weights(["ntk=2", "activation=1,correlation=.5"])
    {'ntk': 2.0, 'activation': 1.0, 'correlation': 0.5}
    """
    weights: dict[str, float] = {}
    for part in " ".join(texts).replace(",", " ").split():
        name, equals, value = part.partition("=")
        try:
            weights[name] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise SearchError(f"--weights {part!r}; expected name=number, such as ntk=2")
    return weights


def _show(console: Console, ordered: pd.DataFrame, method: str) -> None:
    table = Table(title=f"best by {method} first")
    others = [name for name in (*SIZES, *ADDED) if name in ordered]
    columns = list(dict.fromkeys([*objectives_in(ordered), *others]))
    table.add_column("genotype", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    for _, row in ordered.head(SHOWN).iterrows():
        table.add_row(str(row["genotype"]), *(cell_text(row[name]) for name in columns))
    console.print(table)
