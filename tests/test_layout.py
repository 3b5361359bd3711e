"""The rooms of the package: modules are private, and a room is entered by its `__init__`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pymoo_nas

PACKAGE = Path(pymoo_nas.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The modules of the package that a file imports from, each with the names."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pymoo_nas."):
            yield str(node.module), [alias.name for alias in node.names]


def test_modules_are_private() -> None:
    """Only the errors are a module of their own; the others stand behind a room's `__init__`."""
    public = {path.name for path in SOURCES if not path.name.startswith("_")}
    assert public == {"errors.py"}


def test_rooms_are_entered_by_their_init() -> None:
    """Other rooms import what the `__init__` of a room exports, and nothing behind it."""
    wrong = []
    for path in SOURCES:
        mine = path.relative_to(PACKAGE).parts[0]
        for module, names in imported(path):
            room = module.split(".")[1]
            if room not in {mine, "errors"}:
                exported = getattr(import_module(f"pymoo_nas.{room}"), "__all__", [])
                if module.count(".") > 1 or not set(names) <= set(exported):
                    wrong.append((str(path.relative_to(PACKAGE)), module, names))
    assert not wrong
