"""The search spaces by name, and from the plain values that run folders keep of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymoo_nas.errors import SearchError
from pymoo_nas.nasbench201 import NASBench201Space
from pymoo_nas.operations import OPERATIONS
from pymoo_nas.search_space import CellSpace, SearchSpace

SPACES: Mapping[str, type[SearchSpace[Any]]] = {"cell": CellSpace, "nasbench201": NASBench201Space}


def space_description(space: SearchSpace[Any]) -> dict[str, Any] | None:
    """Plain values from which `space_from_settings` makes the same space.

    None where there are none: for a space of another class, or with operations that the package
    does not bring, whatever their names.
    """
    if type(space) not in SPACES.values():
        return None
    operations = space.operations if isinstance(space, CellSpace) else {}
    brought = all(OPERATIONS.get(name) is factory for name, factory in operations.items())
    return space.settings() if brought else None


def space_from_settings(settings: Mapping[str, Any]) -> SearchSpace[Any]:
    """A search space from what its `settings` returned.

    Raises:
        SearchError: an unknown space, or settings that it does not take.
        OperationError: an operation that the package does not bring.
    """
    arguments = dict(settings)
    name = arguments.pop("space", None)
    if name not in SPACES:
        raise SearchError(f"search space {name!r} is unknown; expected one of {', '.join(SPACES)}")
    if SPACES[name] is CellSpace:
        # Runs from before there was a choice.
        arguments = {"reduction": "between", "stem": False, **arguments}
    try:
        return SPACES[name](**arguments)
    except TypeError as error:
        raise SearchError(
            f"search space {name!r}: settings that it does not take ({error}); search again, or "
            "use the version that wrote them"
        ) from error
