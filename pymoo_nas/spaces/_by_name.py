"""Find search spaces by name, and make them from the plain values that run folders keep.

The name of a package's space is its key in `SPACES`. The name of a user's own space is that of its
class, ``module:Class``, and likewise for a user's own operation. **So the folder of a run or of a
training names code that is imported when the folder is used: use only folders that you trust.**
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pymoo_nas._machine import import_name, imported
from pymoo_nas.errors import OperationError, SearchError
from pymoo_nas.networks import OPERATIONS
from pymoo_nas.spaces._base import SearchSpace
from pymoo_nas.spaces.cell._space import CellSpace
from pymoo_nas.spaces.darts._space import DARTSSpace
from pymoo_nas.spaces.nasbench201._space import NASBench201Space

SPACES: Mapping[str, type[SearchSpace[Any]]] = {
    "cell": CellSpace,
    "nasbench201": NASBench201Space,
    "darts": DARTSSpace,
}


def space_class(name: object) -> type[SearchSpace[Any]]:
    """Find the class of a search space.

    Args:
        name: a name in `SPACES`, or ``module:Class`` of a user's own, whose module is imported.

    Raises:
        SearchError: the name is unknown, the module cannot be imported, or the object in it is no
            search space.
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
    """Find the space in `SPACES` for which a text is meant as a genotype; None where none is.

    >>> space_of_text("5000|0001|0800").__name__, space_of_text("resnet18")
    ('CellSpace', None)
    """
    return next((kind for kind in SPACES.values() if kind.looks_like(text)), None)


def space_settings(space: SearchSpace[Any]) -> dict[str, Any]:
    """Return plain values from which `space_from_settings` makes the same space.

    None stands in place of a class or an operation that cannot be imported by a name (because a
    script, a notebook or a function defines it). None also stands in place of a class that its own
    settings do not make again. `space_from_settings` then refuses the values.
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
    """Return `space_settings`, or None where a part of the space has no name.

    The settings make the same networks for images of any size: where the images decided how often
    they are halved, "halvings" is the number found for them, and is missing where it is 0.
    """
    settings = space_settings(space)
    if type(space) is CellSpace and space.halvings:
        settings["halvings"] = space.halvings
    elif type(space) is CellSpace:
        settings.pop("halvings", None)
    operations = settings.get("operations")
    named = not isinstance(operations, Mapping) or None not in operations.values()
    return settings if named and settings["space"] is not None else None


def space_from_settings(settings: Mapping[str, Any]) -> SearchSpace[Any]:
    """Make a search space from the values of `space_settings`; import a user's own parts.

    Raises:
        SearchError: the space is unknown or cannot be imported, or it does not take the settings
            or has other settings afterwards.
        OperationError: an operation is not the package's, and cannot be imported.
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
        # The settings of earlier runs, which do not name these.
        arguments = {"reduction": "between", "stem": False, "halvings": 0, **arguments}
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
    """List the names of the operations where genotypes are the paper's cells; else None.

    Args:
        settings: values of `space_settings`.
    """
    described = settings if isinstance(settings, Mapping) else {}
    try:
        kind = space_class(described.get("space"))
    except SearchError:
        return None
    operations = described.get("operations")
    return list(operations) if issubclass(kind, CellSpace) and operations else None


def chosen_by_gradients(settings: object) -> bool:
    """The attribute of the class of a search space, see `SearchSpace`; false where it is unknown.

    Args:
        settings: values of `space_settings`.
    """
    described = settings if isinstance(settings, Mapping) else {}
    try:
        return space_class(described.get("space")).chosen_by_gradients
    except SearchError:
        return False


def _made(kind: type[SearchSpace[Any]], settings: Mapping[str, Any]) -> SearchSpace[Any]:
    arguments = dict(settings)
    if isinstance(arguments.get("operations"), Mapping) and issubclass(kind, CellSpace):
        named = arguments["operations"].items()
        arguments["operations"] = {name: _operation(name, where) for name, where in named}
    return kind(**arguments)


def _operation_names(space: CellSpace) -> list[str] | dict[str, str | None]:
    """List the names of the package's operations; with a user's own, name → place of import."""
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
    """Refuse a class that makes a space whose settings differ from the kept settings."""
    others = [key for key, value in given.items() if kept.get(key) != value]
    if others:
        raise SearchError(
            f"search space {name}: it has other settings than it was given ("
            f"{', '.join(f'{key}: {given[key]!r}, now {kept.get(key)!r}' for key in others)}); "
            "restore the class as it was, or let its settings() return what its constructor takes"
        )
