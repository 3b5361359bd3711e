"""The search spaces by name, and from the plain values that run folders keep of them.

A space that the package brings goes by its name in `SPACES`, one of a user's own by the name of its
class, ``module:Class``; so does an operation of a user's own. **A run folder, or a folder of a
training, so names code that is imported when it is used: use only folders that you trust.**
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from functools import reduce
from typing import Any

from pymoo_nas.errors import OperationError, SearchError
from pymoo_nas.networks import OPERATIONS
from pymoo_nas.spaces._base import SearchSpace
from pymoo_nas.spaces.cell._space import CellSpace
from pymoo_nas.spaces.nasbench201._space import NASBench201Space

SPACES: Mapping[str, type[SearchSpace[Any]]] = {"cell": CellSpace, "nasbench201": NASBench201Space}


def space_class(name: object) -> type[SearchSpace[Any]]:
    """The class of a search space.

    Args:
        name: in `SPACES`, or ``module:Class`` of a user's own, whose module is imported.

    Raises:
        SearchError: an unknown name, a module that cannot be imported, or another object in it.
    """
    if isinstance(name, str) and ":" in name:
        found = imported(name)
        if not (isinstance(found, type) and issubclass(found, SearchSpace)):
            raise SearchError(f"search space {name}: {found!r} is no subclass of SearchSpace")
        return found
    if not isinstance(name, str) or name not in SPACES:
        raise SearchError(
            f"search space {name!r} is unknown; expected one of {', '.join(SPACES)}, or "
            "module:Class of your own"
        )
    return SPACES[name]


def space_of_text(text: str) -> type[SearchSpace[Any]] | None:
    """The space in `SPACES` of which a text is meant as a genotype; None where it is of none.

    >>> space_of_text("5000|0001|0800").__name__, space_of_text("resnet18")
    ('CellSpace', None)
    """
    return next((kind for kind in SPACES.values() if kind.looks_like(text)), None)


def space_settings(space: SearchSpace[Any]) -> dict[str, Any]:
    """Plain values from which `space_from_settings` makes the same space.

    None stands in place of a class, or of an operation, that has no name to be imported by (it is
    of a script, a notebook or a function), or of a class that its own settings do not make again.
    `space_from_settings` then refuses them.
    """
    settings = {name: value for name, value in space.settings().items() if name != "space"}
    if isinstance(space, CellSpace) and "operations" in settings:
        settings["operations"] = _operation_names(space)
    for name, kind in SPACES.items():
        if type(space) is kind:
            return {"space": name, **settings}
    try:
        settings = json.loads(json.dumps(settings))
        same = _made(type(space), settings).settings() == space.settings()
    except (TypeError, ValueError):
        return {"space": None}
    return {"space": import_name(type(space)) if same else None, **settings}


def space_description(space: SearchSpace[Any]) -> dict[str, Any] | None:
    """As `space_settings`; None where anything of the space has no name."""
    settings = space_settings(space)
    operations = settings.get("operations")
    named = not isinstance(operations, Mapping) or None not in operations.values()
    return settings if named and settings["space"] is not None else None


def space_from_settings(settings: Mapping[str, Any]) -> SearchSpace[Any]:
    """A search space from what `space_settings` returned; imports what is of a user's own.

    Raises:
        SearchError: an unknown space, one that cannot be imported, or settings that it does not
            take or gives otherwise.
        OperationError: an operation that the package does not bring and that cannot be imported.
    """
    arguments = dict(settings)
    name = arguments.pop("space", "")
    if name is None:
        raise SearchError(
            "search space: of a user's own, by a class that cannot be imported, or that its "
            "settings() do not make again; put the class into a module, or give "
            "problem=NASProblem(..., search_space=...) in Python"
        )
    kind = space_class(name)
    if kind is CellSpace:
        # Runs from before there was a choice.
        arguments = {"reduction": "between", "stem": False, **arguments}
    try:
        space = _made(kind, arguments)
    except TypeError as error:
        raise SearchError(
            f"search space {name!r}: settings that it does not take ({error}); search again, or "
            "use the version that wrote them"
        ) from error
    if kind not in SPACES.values():
        _check_same(name, dict(settings), space_settings(space))
    return space


def cell_operations(settings: object) -> list[str] | None:
    """The names of the operations where genotypes are the paper's cells, else None.

    Args:
        settings: see `space_settings`.
    """
    described = settings if isinstance(settings, Mapping) else {}
    try:
        kind = space_class(described.get("space"))
    except SearchError:
        return None
    operations = described.get("operations")
    return list(operations) if issubclass(kind, CellSpace) and operations else None


def scores_what_is_trained(settings: object) -> bool:
    """Whether networks to train are about those that are scored; true where nothing tells.

    Args:
        settings: see `space_settings`.
    """
    described = settings if isinstance(settings, Mapping) else {}
    try:
        return space_class(described.get("space")).limits_final
    except SearchError:
        return True


def import_name(thing: Any) -> str | None:
    """The name, ``module:name``, by which `imported` finds a class or a function; or None."""
    module, name = (getattr(thing, field, None) for field in ("__module__", "__qualname__"))
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return None
    try:
        found = reduce(getattr, name.split("."), sys.modules[module])
    except (KeyError, AttributeError):
        return None
    return f"{module}:{name}" if found is thing else None


def imported(name: str) -> Any:
    """What a name ``module:name`` stands for; imports the module.

    Raises:
        SearchError: no such module, one that fails, or nothing of that name in it.
    """
    module, _, inner = name.partition(":")
    try:
        return reduce(getattr, inner.split("."), importlib.import_module(module))
    except Exception as error:
        raise SearchError(
            f"{name}: cannot be imported ({error!r}); put the folder of the module {module} on "
            "Python's path (PYTHONPATH=FOLDER), or give the problem in Python"
        ) from error


def _made(kind: type[SearchSpace[Any]], settings: Mapping[str, Any]) -> SearchSpace[Any]:
    arguments = dict(settings)
    if isinstance(arguments.get("operations"), Mapping) and issubclass(kind, CellSpace):
        named = arguments["operations"].items()
        arguments["operations"] = {name: _operation(name, where) for name, where in named}
    return kind(**arguments)


def _operation_names(space: CellSpace) -> list[str] | dict[str, str | None]:
    """The names of brought operations; with others among them name → where it is imported from."""
    brought = {name: OPERATIONS.get(name) is own for name, own in space.operations.items()}
    if all(brought.values()):
        return list(brought)
    return {
        name: name if brought[name] else import_name(own) for name, own in space.operations.items()
    }


def _operation(name: str, where: object) -> Any:
    if isinstance(where, str) and ":" in where:
        return imported(where)
    if where not in OPERATIONS:
        raise OperationError(
            f"operation {name!r}: of a user's own, in no module that it can be imported from; put "
            "its function into one, or give problem=NASProblem(..., search_space=...) in Python"
        )
    return OPERATIONS[str(where)]


def _check_same(name: str, given: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
    """Refuse a class that makes another space of its settings than they were kept of."""
    others = [key for key, value in given.items() if kept.get(key) != value]
    if others:
        raise SearchError(
            f"search space {name}: it has other settings than it was given ("
            f"{', '.join(f'{key}: {given[key]!r}, now {kept.get(key)!r}' for key in others)}); "
            "restore the class as it was, or let its settings() return what its constructor takes"
        )
