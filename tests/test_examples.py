"""Every example is short and runs, and leaves what its docstring says."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pymoo_nas.spaces.nasbench201._genotype import connected_representatives

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
WITH_ARGUMENTS = {"compare_algorithms"}
"""Examples that need files, and have tests of their own."""
TABLE = Path(__file__).parents[2] / "shared" / "datasets" / "nasbench201_5000.csv"
SMALL = ["--seeds", "1", "--generations", "1", "--images", "8"]


def made_table(path: Path) -> Path:
    """Made accuracies of a part of NAS-Bench-201."""
    genotypes = list(map(str, connected_representatives()))[::7]
    accuracies = np.random.default_rng(0).uniform(80, 94, len(genotypes))
    pd.DataFrame({"genotype": genotypes, "accuracy": accuracies}).to_csv(path, index=False)
    return path


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


@pytest.mark.slow
@pytest.mark.parametrize("table", ["made", "shared"])
def test_compare_algorithms(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three strategies are compared, with accuracies, tables and pictures."""
    if table == "shared" and not TABLE.is_file():
        pytest.skip(f"{TABLE} is absent")
    path = TABLE if table == "shared" else made_table(tmp_path / "table.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["compare_algorithms.py", str(path), *SMALL])
    runpy.run_path(str(FOLDER / "compare_algorithms.py"), run_name="__main__")
    means = pd.read_csv("comparison/table.csv")
    assert means["label"].tolist() == ["RandomSearch", "NSGA2Search", "EvolutiveNAS"]
    assert (means["known"] > 0).all()
    assert Path("comparison/attainment.png").is_file()
    assert "a p value needs 5 runs" in capsys.readouterr().out
