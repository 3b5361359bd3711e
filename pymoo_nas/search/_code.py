"""What a user's own code is, as a checksum: changed code is other code.

The memory of scores needs it: a name alone does not tell that a function has changed.
"""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from types import CodeType
from typing import Any

from pymoo_nas.errors import SearchError

PLAIN = (str, bytes, int, float, complex, bool, type(None))
"""Types of values that are told apart by their text."""

OWN_PACKAGE = "pymoo_nas."


def code_of(thing: Any, name: str) -> str:
    """The checksum of a function, of a class, or of an object of a class.

    It changes with the file in which the code stands, with default arguments, with values that a
    function has taken from around it, and with plain global values that it uses. Code of other
    files does not count.

    Args:
        thing: code of the user's; for what this package brings the checksum is empty.
        name: what messages call it.

    Raises:
        SearchError: two versions cannot be told apart: a bound method, an object without a
            representation of its own, values that are not plain, or code without a file.
    """
    module = getattr(thing, "__module__", None) or type(thing).__module__
    if str(module).startswith(OWN_PACKAGE):
        return ""
    told: list[Any] = []
    if inspect.isfunction(thing):
        told = _values_of(thing, name)
    elif not inspect.isclass(thing):
        if "__repr__" not in set().union(*(vars(kind) for kind in type(thing).__mro__[:-1])):
            raise _unknown(name, f"{type(thing).__name__} without a representation of its own")
        if inspect.ismethod(thing) or inspect.isbuiltin(thing) or hasattr(thing, "func"):
            raise _unknown(name, f"a {type(thing).__name__}")
        told = [repr(thing)]
        thing = type(thing)
    text = f"{_source_of(thing, name)}{getattr(thing, '__qualname__', '')}{told}"
    return hashlib.sha256(text.encode()).hexdigest()


def _source_of(thing: Any, name: str) -> str:
    """The text of the file in which code stands; of code in a notebook its own text."""
    try:
        path = inspect.getsourcefile(thing)
        if path is not None and Path(path).is_file():
            return Path(path).read_text("utf-8")
        return inspect.getsource(thing)
    except (OSError, TypeError, UnicodeDecodeError) as error:
        raise _unknown(name, str(error)) from error


def _values_of(function: Any, name: str) -> list[Any]:
    """The plain values that decide what a function computes, beside its text."""
    code: CodeType = function.__code__
    cells = zip(code.co_freevars, function.__closure__ or (), strict=False)
    taken = {where: cell.cell_contents for where, cell in cells}
    given = {f"default {place}": value for place, value in enumerate(function.__defaults__ or ())}
    given |= function.__kwdefaults__ or {}
    for where, value in {**taken, **given}.items():
        if not isinstance(value, PLAIN):
            raise _unknown(name, f"{where} is a {type(value).__name__}")
    used = function.__globals__
    plain = {
        one: used[one] for one in sorted(code.co_names) if isinstance(used.get(one, ...), PLAIN)
    }
    return [code.co_firstlineno, code.co_code.hex(), taken, given, plain]


def _unknown(name: str, why: str) -> SearchError:
    return SearchError(
        f"memory: versions of {name} cannot be told apart ({why}); define a plain function or a "
        "class in a file, or leave memory out"
    )
