"""What the command line writes: texts of the user as they are, and what happens on a full disk."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Run
from rich.console import Console

from pymoo_nas._machine import ConsoleProgress, Report
from pymoo_nas.cli._terminal import complain, terminal

TEXTS = ("run:100:", "nomod:x:", "[bold]b[/x]y", "[red]", ":smile: [/]")


@pytest.mark.parametrize("text", TEXTS)
def test_texts_of_the_user_are_shown_as_they_are(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither brackets nor colons in a path or a reason are taken for instructions."""
    terminal().print(text)
    complain(text)
    for console in (None, Console()):
        with ConsoleProgress(console) as progress:
            progress(Report(text, 1, 2, now=text, found=text))
    shown = capsys.readouterr()
    assert shown.out.split("\n")[0] == text
    assert shown.err == f"{text}\n"
    assert shown.out.count(text) >= 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_an_output_that_is_full() -> None:
    """One line on stderr and exit code 2, in place of a traceback."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pymoo_nas", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: cannot write (No space left on device); make room")


def test_numbers_are_whole_on_a_narrow_terminal(
    run: Run, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of `choose` breaks lines, and cuts nothing off."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    shutil.copytree(finished, "run")
    code, out, _ = run("choose", "run")
    assert code == 0
    assert "…" not in out
