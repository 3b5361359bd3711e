"""Every example runs, is short, and stands in the README."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
WITH_ARGUMENTS = {"compare_algorithms"}
"""Examples that need files, and have tests of their own."""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    """At most 40 lines, the first of which says what it shows."""
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) <= 40
    assert lines[0].startswith('"""')


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [p for p in EXAMPLES if p.stem not in WITH_ARGUMENTS], ids=lambda path: path.stem
)
def test_an_example_runs(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It prints what it found."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) >= 3
    assert os.listdir(tmp_path) == []
