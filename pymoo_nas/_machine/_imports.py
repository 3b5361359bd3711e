"""Importing what a user has written, by a name ``module:name``."""

from __future__ import annotations

import importlib
import sys
from functools import reduce
from typing import Any

from pymoo_nas.errors import SearchError


def import_name(thing: Any) -> str | None:
    """Find the name ``module:name`` by which `imported` finds a class or a function; or None."""
    module, name = (getattr(thing, field, None) for field in ("__module__", "__qualname__"))
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return None
    try:
        found = reduce(getattr, name.split("."), sys.modules[module])
    except (KeyError, AttributeError):
        return None
    return f"{module}:{name}" if found is thing else None


def imported(name: str) -> Any:
    """Import the object that a name ``module:name`` stands for.

    Raises:
        SearchError: there is no such module, the module fails, or it has no object of that name.
    """
    module, _, inner = name.partition(":")
    try:
        return reduce(getattr, inner.split("."), importlib.import_module(module))
    except Exception as error:
        raise SearchError(
            f"{name}: cannot be imported ({error!r}); put the folder of the module {module} on "
            "Python's path (PYTHONPATH=FOLDER), or give the problem in Python"
        ) from error
