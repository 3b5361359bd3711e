"""The command line: one module a command."""

from pymoo_nas.cli._app import main

__all__ = [
    "main",
]
