"""What is imported when: heavy packages only by what needs them."""

from __future__ import annotations

import importlib.util
import inspect
import json
import pickle
import re
import subprocess
import sys
from typing import Any

import pytest
from command_line import Run

import pymoo_nas
from pymoo_nas.cli import _app as cli

HEAVY = {
    *("torch", "torchvision", "pymoo", "matplotlib", "pandas", "numpy", "sklearn", "scipy"),
    *("PIL", "dask", "distributed", "altair", "onnx", "onnxruntime", "tensorboard"),
}
"""Packages whose import takes a tenth of a second or more."""

WARNINGS = ["-W", "error", "-W", "ignore:Please import:DeprecationWarning"]
"""All are errors but that of pymoo 0.6.2's own import."""

WATCHED = """
import json, sys
try:
    {code}
except SystemExit:
    pass
print(json.dumps(sorted(name for name in sys.modules)))
"""


def imported(code: str, *arguments: str) -> set[str]:
    """What a fresh interpreter, to which warnings are errors, has imported after a line of code."""
    done = subprocess.run(
        [sys.executable, *WARNINGS, "-c", WATCHED.format(code=code), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], [], ["--version"], ["serch"]])
def test_the_overview_imports_nothing_heavy(arguments: list[str]) -> None:
    """Help, the version and a mistyped command wait for no package of the search."""
    modules = imported("from pymoo_nas.cli import main; main()", *arguments)
    assert "pymoo_nas.cli._app" in modules
    assert not modules & HEAVY


@pytest.mark.parametrize("own", [None, "ACTIVE"])
def test_threads_that_wait_sleep(own: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMP loads with the command line's policy of waiting, or with the user's."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if own is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", own)
    monkeypatch.setenv("OMP_DISPLAY_ENV", "TRUE")
    code = f"import pymoo_nas, os; assert os.environ.get('OMP_WAIT_POLICY') == {own!r}"
    command = f"{code}; from pymoo_nas.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "operations"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    loaded = re.findall(r"OMP_WAIT_POLICY ?= ?'(\w+)'", done.stderr)
    assert loaded, done.stderr
    assert set(loaded) == {own or "PASSIVE"}


def test_the_package_imports_nothing_heavy() -> None:
    """The package, its names and its version are there before anything else is imported."""
    code = "import pymoo_nas; dir(pymoo_nas); pymoo_nas.__all__; pymoo_nas.__version__"
    assert not imported(code) & HEAVY


def test_searching_needs_nothing_that_draws() -> None:
    """The problem and the options of `search` import no pictures, data sets or statistics."""
    code = (
        "import pymoo_nas; pymoo_nas.NASProblem; "
        "from pymoo_nas.cli._app import load_command; load_command('search')"
    )
    modules = imported(code)
    assert "torch" in modules
    assert not modules & {"matplotlib", "torchvision", "sklearn", "scipy.stats", "distributed"}


def test_every_name_can_be_had() -> None:
    """Each name of `__all__` is listed by `dir`, and is what its module has under the name."""
    assert set(pymoo_nas.__all__) <= set(dir(pymoo_nas))
    assert len(set(pymoo_nas.__all__)) == len(pymoo_nas.__all__)
    for name in pymoo_nas.__all__:
        thing = getattr(pymoo_nas, name)
        assert getattr(pymoo_nas, name) is thing
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert pickle.loads(pickle.dumps(thing)) is thing


def test_the_stub_exports_what_it_imports() -> None:
    """Type checkers see the names that the package has."""
    spec: Any = importlib.util.find_spec("pymoo_nas")
    with open(spec.origin + "i", encoding="utf-8") as file:
        text = file.read()
    seen: dict[str, Any] = {}
    exec(text[text.index("__all__ = [") :], seen)
    assert seen["__all__"] == sorted(seen["__all__"], key=_as_ruff_sorts)
    assert set(seen["__all__"]) == set(pymoo_nas.__all__)


def _as_ruff_sorts(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_unknown_names_are_attribute_errors() -> None:
    """A name that is none fails as it does in any module; a sub-package is found."""
    with pytest.raises(AttributeError, match="'pymoo_nas' has no attribute 'NASProblm'"):
        pymoo_nas.NASProblm  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="NASProblm"):
        exec("from pymoo_nas import NASProblm")
    assert not hasattr(pymoo_nas, "_nothing")
    modules = imported("import pymoo_nas; pymoo_nas.cli")
    assert "pymoo_nas.cli" in modules


def test_import_of_all_names() -> None:
    """``from pymoo_nas import *`` gives every name of `__all__`, and nothing else."""
    given: dict[str, Any] = {}
    exec("from pymoo_nas import *", given)
    assert set(given) - {"__builtins__"} == set(pymoo_nas.__all__)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_lines_of_the_overview(name: str) -> None:
    """A command's line in the overview is the first of its own help."""
    command = cli.load_command(name)
    assert command.name == name
    paragraphs = command.help.split("\n\n")
    assert paragraphs[0] == cli.COMMANDS[name]
    # The terminal breaks lines where it is as wide, not where the source is.
    assert not any("\n" in paragraph for paragraph in paragraphs)


def test_the_overview_shows_every_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The overview has each command with its line; a mistyped command is guessed."""
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run("--help")
    assert code == 0
    shown = [" ".join(line.strip("│ ").split()) for line in out.splitlines()]
    assert [f"{name} {line}" for name, line in cli.COMMANDS.items()] == [
        line for line in shown if line.split(" ")[0] in cli.COMMANDS
    ]
    code, _, err = run("serch")
    assert code == 2
    assert "'search'" in err
