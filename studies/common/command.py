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


def parser(document: str | None, *paths: str, **numbers: int) -> argparse.ArgumentParser:
    """A parser whose help is the header of the study; see `options`."""
    made = argparse.ArgumentParser(
        description=document, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return options(made, *paths, **numbers)


def options(to: Parser, *paths: str, **numbers: int) -> Parser:
    """Add options that must be paths, and integers with their defaults; the same parser."""
    for name in paths:
        to.add_argument(f"--{name}", type=Path, required=True)
    for name, default in numbers.items():
        to.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    return to


def machine() -> str:
    """Versions, cores and threads, as the first line of what a study prints."""
    return (
        f"pymoo_nas {pymoo_nas.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    )
