"""The command line: ``pymoo-nas search | choose | train | predict | export | score | …``."""

from __future__ import annotations

import errno
import inspect
import io
import os
import sys
import warnings
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import pymoo_nas
from pymoo_nas.cli._terminal import complain, show_warning, terminal
from pymoo_nas.errors import PymooNasError

COMMANDS = {
    "search": "Search architectures for a data set, and write a run folder with tables and "
    "pictures.",
    "choose": "Choose an architecture; `train` then takes it for every stage.",
    "train": "Build the final network of a run, train it, test it, and write its weights as "
    "safetensors.",
    "predict": "Name the class of every image, with the probability that the network gives it.",
    "export": "Write a trained network to a file that takes raw pixels and returns probabilities.",
    "compare": "Compare searches by what they have scored: mean ± standard deviation over the "
    "runs.",
    "report": "Write one page of HTML that shows a run: front, evolution, training, mistakes, "
    "exports.",
    "score": "Score any networks without training: the objectives, their spread, size and time.",
    "plot": "Draw the pictures of a run again from its tables.",
    "operations": "List the operations that a cell can be made of.",
}
"""Command → first line of its help, which the overview shows without importing the command."""

MODULES = {"plot": "score", "operations": "score"}
"""Command → module of another name than its own, without the underscore."""

FUNCTIONS = {"score": "score_models"}
"""Command → function of another name than its own."""


def load_command(name: str) -> Any:
    """Import a command: its module imports torch, which takes seconds."""
    module = import_module(f"pymoo_nas.cli._{MODULES.get(name, name)}")
    function = getattr(module, FUNCTIONS.get(name, name))
    # Its lines end where those of the source do; the terminal's end elsewhere.
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    alone = typer.Typer(add_completion=False)
    alone.command(name, help="\n\n".join(" ".join(text.split()) for text in paragraphs))(function)
    return typer.main.get_command(alone)


class _LazyGroup(TyperGroup):
    """A group of commands that imports a command when it is called, not for the overview."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Put the command itself in the place of its line in the overview."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, command, rest
        command = load_command(name)
        from pymoo_nas.cli._decoding import decoding_on_terminal  # noqa: PLC0415 - imports torch

        ctx.with_resource(decoding_on_terminal())
        return name, command, rest


app = typer.Typer(
    cls=_LazyGroup,
    help="Multi-objective, training-free neural architecture search on pymoo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for _name, _line in COMMANDS.items():
    app.command(_name, help=_line)(lambda: None)


WAIT_POLICY = ("OMP_WAIT_POLICY", "PASSIVE")
"""Variable of OpenMP, and its value in the processes of the command line: a thread that waits
sleeps at once. By default it spins, and beside other work two threads then take eight times as long
as one (studies/contention.py). Sleeping changes no result."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of writing, to the terminal's file too, that are no fault of a name."""


def _close_output() -> None:
    """Drop what could not be written; Python would try again at its end, and raise."""
    if sys.__stdout__ is not None:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.__stdout__.fileno())


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    if "torch" not in sys.modules:  # later, it would have no effect
        os.environ.setdefault(*WAIT_POLICY)
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
            if error.errno in FULL:
                complain(f"error: cannot write ({error.strerror}); make room, and try again")
                _close_output()
                sys.exit(2)
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
