"""The command line: ``pymoo-nas search | choose | train | predict | export | score | …``."""

from __future__ import annotations

import io
import sys
import warnings
from typing import Annotated

import typer

import pymoo_nas
from pymoo_nas.cli._choose import choose
from pymoo_nas.cli._compare import compare
from pymoo_nas.cli._export import export
from pymoo_nas.cli._options import complain, show_warning, terminal
from pymoo_nas.cli._predict import predict
from pymoo_nas.cli._report import report
from pymoo_nas.cli._score import operations, plot, score_models
from pymoo_nas.cli._search import search
from pymoo_nas.cli._train import train
from pymoo_nas.errors import PymooNasError

app = typer.Typer(
    help="Multi-objective, training-free neural architecture search on pymoo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(search)
app.command()(choose)
app.command()(train)
app.command()(predict)
app.command()(export)
app.command()(compare)
app.command()(report)
app.command(name="score")(score_models)
app.command()(plot)
app.command()(operations)


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding cannot show must not end a training.
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = show_warning
        try:
            app()
        except PymooNasError as error:
            complain(f"error: {error}")
            sys.exit(2)
        except OSError as error:
            if error.filename is None:  # no file's fault
                raise
            complain(
                f"error: {error.filename}: {error.strerror}; expected a name that can be read and "
                "written here; check it, and its rights"
            )
            sys.exit(2)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        terminal().print(f"pymoo-nas {pymoo_nas.__version__}", highlight=False)
        raise typer.Exit
