"""``pymoo-nas choose``: one architecture of a run, for `train`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from pymoo_nas._machine import in_shell
from pymoo_nas.choice import METHODS, Steadiness, order_front, order_scored, steady_first, try_out
from pymoo_nas.cli._options import (
    BatchSize,
    Device,
    FinalCells,
    MaxActs,
    MaxFlops,
    MaxParams,
    Precision,
    Seed,
    cell_text,
    number_or_auto,
    refuse_given,
    terminal,
)
from pymoo_nas.errors import SearchError
from pymoo_nas.networks import Counts
from pymoo_nas.runs import Choice, RunFolder
from pymoo_nas.scores import ADDED, objectives_in
from pymoo_nas.spaces import scores_what_is_trained
from pymoo_nas.training import AUTO

SHOWN = 10
"""Rows of the printed table."""


OPTIONS_OF = {
    "gradients": ("top", "seed"),
    "training": ("top", "epochs", "batch_size", "cells", "precision", "seed", "device"),
}
"""Options that only these methods take."""


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
            help="ranks, knee, weights, gradients, or training; default weights if given, "
            "gradients for NAS-Bench-201, else ranks."
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Importance of objectives, such as ntk=2 activation=1."),
    ] = None,
    max_params: MaxParams = None,
    max_flops: MaxFlops = None,
    max_acts: MaxActs = None,
    top: Annotated[
        int | None,
        typer.Option(
            help="For training: how many are tried (5). For gradients: how many steady ones are "
            "looked for (10).",
            min=1,
        ),
    ] = None,
    epochs: Annotated[
        str, typer.Option(help="For training: epochs of each; auto: 2, or more for few images.")
    ] = AUTO,
    batch_size: BatchSize = AUTO,
    cells: FinalCells = None,
    precision: Precision = "float32",
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Choose an architecture; `train` then takes it for every stage.

    "ranks" takes the candidate whose worst rank is best, of all that were scored, among the
    objectives and size: the smallest rank_sum of the table, a sum of high powers of these ranks.
    "training" trains the first --top of them for a short while, "gradients" takes the most
    expressive (activation score and size) of the first --top whose gradients are steady: neither
    grow nor blur in the network that is trained. "knee" and "weights" choose from front.csv, what
    the search kept.
    """
    weights = [*(weights or []), *(more or [])]
    folder = RunFolder(run)
    method = _method(ctx, folder, by, weights)
    console = terminal()
    parsed = parse_weights(weights) if weights else None
    limits = {"max_params": max_params, "max_flops": max_flops, "max_acts": max_acts}
    most = {} if top is None else {"top": top}
    if method in ("knee", "weights"):
        ordered = order_front(folder.front(), weights=parsed, **limits)
    else:
        ordered = order_scored(folder.history(), **limits)
    if method == "gradients":
        ordered = steady_first(
            ordered,
            folder.problem(device="cpu"),
            **most,
            seed=seed,
            progress=partial(_tell_gradients, console),
        )
    if method == "training":
        ordered = try_out(
            ordered,
            folder.problem(device="cpu"),
            **most,
            epochs=number_or_auto("epochs", epochs),
            batch_size=number_or_auto("batch-size", batch_size),
            n_cells=cells,
            precision=precision,
            seed=seed,
            device=device,
            plan=partial(console.print, highlight=False, soft_wrap=True),
            progress=partial(_tell_accuracy, console),
        )
    chosen = str(ordered["genotype"].iloc[0])
    made = Choice([chosen], method, cells, folder.config().get("generations_done"))
    folder.choose(made, weights=parsed, seed=seed)
    _show(console, ordered, method)
    console.print(f"chosen: {chosen}", highlight=False, soft_wrap=True)
    for path in folder.draw("cell.png"):
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    console.print(f"next: pymoo-nas train {in_shell(run)}", highlight=False, soft_wrap=True)


def _method(ctx: typer.Context, folder: RunFolder, by: str | None, weights: list[str]) -> str:
    """The method that is asked for.

    Raises:
        SearchError: there is none of that name, or options that belong to others.
    """
    method = by or ("weights" if weights else _default_method(folder))
    if method not in METHODS:
        raise SearchError(f"--by {method!r}; expected one of {', '.join(METHODS)}")
    used = OPTIONS_OF.get(method, ())
    refuse_given(ctx, [n for n in OPTIONS_OF["training"] if n not in used], f"with --by {method}")
    if method == "weights" and not weights:
        raise SearchError("--by weights needs --weights, such as ntk=2 activation=1")
    if weights and method != "weights":
        raise SearchError(f"--weights {' '.join(weights)} with --by {method}; leave one out")
    return method


def _tell_gradients(console: Console, genotype: str, found: Steadiness) -> None:
    console.print(
        f"{genotype}: growth {found.growth:.2f}, smoothness {found.smoothness:.3f}"
        f"{', steady' if found.steady else ''}",
        highlight=False,
        soft_wrap=True,
    )


def _tell_accuracy(console: Console, genotype: str, accuracy: float) -> None:
    console.print(
        f"{genotype}: {accuracy:.1%} of the held-out images", highlight=False, soft_wrap=True
    )


def _default_method(folder: RunFolder) -> str:
    """Gradients where another network is trained than the one that was scored, ranks elsewhere.

    On NAS-Bench-201, trained five times as deep, that hands over better ones (studies/rivals.py).
    """
    alike = scores_what_is_trained(folder.config().get("search_space"))
    return "ranks" if alike else "gradients"


def parse_weights(texts: list[str]) -> dict[str, float]:
    """``ntk=2`` and the like; several may stand in one text, separated by spaces or commas.

    Raises:
        SearchError: no such form.

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
    columns = [*objectives_in(ordered), *Counts._fields]
    columns += [name for name in ADDED if name in ordered]
    table.add_column("genotype", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right")
    for _, row in ordered.head(SHOWN).iterrows():
        table.add_row(str(row["genotype"]), *(cell_text(row[name]) for name in columns))
    console.print(table)
