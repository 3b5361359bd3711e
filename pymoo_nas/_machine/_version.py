"""Versions of the packages that a result depends on."""

from __future__ import annotations

import platform
from importlib import metadata

import torch


def versions() -> dict[str, str]:
    """List the versions of Python and of the packages that a result depends on."""
    packages = ("pymoo-nas", "pymoo", "torchvision", "numpy", "pandas")
    # Torch's own version text names its build too.
    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            # A source tree on the path works as well as an installed package.
            found[package] = "not installed"
    return found
