"""Multi-objective, training-free neural architecture search on pymoo."""

import ast
import pkgutil
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pymoo_nas._version import VERSION


def _modules_of_names() -> dict[str, str]:
    """Name → module, by the imports of ``__init__.pyi`` (as in Scientific Python's SPEC 1)."""
    stub = ast.parse(pkgutil.get_data(__name__, "__init__.pyi"))
    imports = (node for node in stub.body if isinstance(node, ast.ImportFrom))
    return {name.name: f"{__name__}.{node.module}" for node in imports for name in node.names}


_MODULES = _modules_of_names()

__version__ = VERSION
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """Import a name, or a sub-package, when it is first asked for: torch alone takes seconds."""
    if name in _MODULES:
        found = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return found
    if not name.startswith("_") and find_spec(f"{__name__}.{name}"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
