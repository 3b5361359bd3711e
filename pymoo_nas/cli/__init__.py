"""The command line, with a module for each command."""

from pymoo_nas.cli._app import main

__all__ = [
    "main",
]
