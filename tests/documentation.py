"""The README and the pages of the site: their blocks of code, their links, their options."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pymoo_nas.cli import _app as cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NOT_RUN = "Not run by the tests: "
INSTALL = re.compile(r"python3 -m venv \.venv && \.venv/bin/pip install [^&]+ && ")
PROGRAMS = ("pymoo-nas", "python", "dask")

COMMANDS: dict[str, set[str]] = {
    name: {
        "--help",
        *(
            option
            for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        ),
    }
    for name, command in ((name, cli.load_command(name)) for name in cli.COMMANDS)
}
"""Command → its options."""


class Block(NamedTuple):
    """A block of code: its language, its title, and its text."""

    language: str
    title: str
    text: str

    @property
    def is_run(self) -> bool:
        """Whether a reader can run it on one machine without a card."""
        return self.language != "text" and not self.title.startswith(NOT_RUN)


def blocks(page: Path) -> list[Block]:
    """The blocks of code of a page, in order."""
    found = []
    for language, info, text in FENCE.findall(page.read_text("utf-8")):
        title = re.search(r'title="([^"]*)"', info)
        found.append(Block(language, title[1] if title else "", text))
    return found


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", page.read_text("utf-8"))


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def links(page: Path) -> Iterator[str]:
    """The targets of links and pictures that are not on the web."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not target.startswith(("https://", "http://")):
            yield target


def anchors(page: Path) -> set[str]:
    """The names that the site gives to the titles of a page."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", title.replace("`", "")).strip().lower() for title in titles)
    return {re.sub(r"[\s]+", "-", title) for title in plain}


def calls(shell: str) -> Iterator[tuple[str, set[str]]]:
    """The calls of pymoo-nas in a block: command, and the options that are given to it."""
    joined = shell.replace("\\\n", " ")
    for part in re.split(r"&&|;|\n|\|(?!\d)", joined):
        called = re.search(r"pymoo-nas\s+([a-z]+)(.*)", part)
        if called:
            yield called[1], options_in(called[2])


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


def run_shell(block: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a block in a folder, with the interpreter of the tests in place of the reader's."""
    scripts = folder / ".venv" / "bin"
    scripts.mkdir(parents=True, exist_ok=True)
    (scripts / "activate").touch()
    for name in PROGRAMS:
        source = shutil.which(name, path=str(Path(sys.executable).parent))
        assert source is not None, f"{name} is not installed beside {sys.executable}"
        script = scripts / name
        if not script.exists():  # no link: Python would not know its environment by one
            script.write_text(f'#!/bin/sh\nexec {shlex.quote(source)} "$@"\n', encoding="utf-8")
            script.chmod(0o755)
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-c", INSTALL.sub("", block)],
        cwd=folder,
        env={"OMP_NUM_THREADS": "2", **os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def script(path: Path) -> Any:
    """A script of the site as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
