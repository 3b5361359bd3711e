"""``pymoo-nas report``: a run as one page of HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pymoo_nas.cli._terminal import terminal
from pymoo_nas.runs import report as write_report


def report(
    run: Annotated[Path, typer.Argument(help="Run folder of a search.")],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write, .html; default: report.html in the run folder."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(help="CSV of known accuracies, with the columns genotype and accuracy."),
    ] = None,
) -> None:
    """Write one page of HTML that shows a run: front, evolution, training, mistakes, exports.

    Its charts are interactive, and need no network. What the run folder lacks is told, with the
    command that makes it. A report that is there already is replaced.
    """
    written = write_report(run, out=out, truth=truth)
    terminal().print(f"wrote {written}", highlight=False, soft_wrap=True)
