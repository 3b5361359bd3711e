"""The options of a study, and the versions and the machine that it prints first."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import TypeVar

import torch

import pymoo_nas

Parser = TypeVar("Parser", bound=argparse.ArgumentParser)

READ = ("cifar", "shared", "table")
"""Paths that every study only reads. It writes the others, or goes on with what is there."""


def parser(document: str | None, *paths: str, **numbers: int) -> argparse.ArgumentParser:
    """A parser whose help is the header of the study; see `options`."""
    made = argparse.ArgumentParser(
        description=document, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return options(made, *paths, **numbers)


def options(to: Parser, *paths: str, **numbers: int) -> Parser:
    """Add paths that must be given, and integers with their defaults; the same parser."""
    for name in paths:
        to.add_argument(f"--{name}", type=present if name in READ else Path, required=True)
    for name, default in numbers.items():
        to.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    return to


def present(text: str) -> Path:
    """A path to read.

    Raises:
        argparse.ArgumentTypeError: nothing is there; the parser exits with status 2.
    """
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(
            f"got {text}, and nothing is there; expected a file or folder to read, see the header"
        )
    return path


def machine() -> str:
    """Versions, cores and threads, as the first line of what a study prints."""
    return (
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    )
