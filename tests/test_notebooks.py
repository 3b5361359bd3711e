"""The notebooks run from the first cell to the last, and are kept as they ran."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_there_are_three() -> None:
    """One per task: search and choose, an own objective, from a folder to a device."""
    assert len(NOTEBOOKS) == 3


@every_notebook
def test_kept_as_it_ran(path: Path) -> None:
    """The outputs are of one run from above to below, without errors, and small."""
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert path.stat().st_size < 250_000
    assert not re.search(r"[\"' ]/(home|root|tmp|usr|Users)/", path.read_text("utf-8"))


@pytest.mark.slow
@every_notebook
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    """It runs in an empty folder, with the outputs of the kinds that are kept."""
    shutil.copy(path, tmp_path)  # the kernel runs in the folder of the notebook
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute"]
    finished = subprocess.run(
        [*command, "--output", "run.ipynb", path.name],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    for kept, run in zip(code_cells(path), code_cells(tmp_path / "run.ipynb"), strict=True):
        kinds = [[sorted(o.get("data", ())) for o in cell["outputs"]] for cell in (kept, run)]
        assert kinds[0] == kinds[1], run["source"]
