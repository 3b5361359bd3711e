"""`pymoo-nas compare`: tables on the terminal and in a folder, and mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from cheap_problems import made_run
from command_line import Run

NAMES = [f"{strategy}-{seed}" for strategy in ("random", "nsga2") for seed in range(2)]


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Folders of two strategies, two seeds each; the last one has scored one generation less."""
    for name in NAMES:
        strategy, seed = name.split("-")
        generations = 1 if name == NAMES[-1] else 2
        made_run(tmp_path / name, algorithm=strategy, seed=int(seed), generations=generations)
    return NAMES


def test_compare_prints_and_writes(run: Run, runs: list[str]) -> None:
    """Means with deviations, tests with the reason, a note on unequal runs, and the files."""
    code, out, err = run("compare", *runs, "--out", "comparison")
    assert (code, err) == (0, "")
    words = ("nsga2, generations 1", "nsga2, generations 2", "random", "±", "Mann-Whitney U")
    for text in (*words, "a p value needs 5 runs", "3 to 6 candidates", "--evaluations 3"):
        assert text in out
    files = sorted(path.name for path in Path("comparison").iterdir())
    assert [Path(line.split()[-1]).name for line in out.splitlines() if "wrote" in line]
    assert len(files) == 7
    table = pd.read_csv("comparison/table.csv")
    assert table["n"].tolist() == [2, 1, 1]


def test_first_evaluations(run: Run, runs: list[str]) -> None:
    """With --evaluations every run is cut, nothing is written without --out."""
    before = set(Path().iterdir())
    code, out, _ = run("compare", *runs, "--evaluations", "3")
    assert code == 0
    assert "candidates; compare as many" not in out
    assert set(Path().iterdir()) == before
    code, _, err = run("compare", *runs, "--evaluations", "4")
    assert code == 2
    assert "nsga2-1: 3 candidates are scored, 4 are to be compared" in err


def test_known_accuracies(run: Run, runs: list[str]) -> None:
    """With --truth the accuracies of what is known are shown."""
    genotype = pd.read_csv("random-0/history.csv", dtype={"genotype": str})["genotype"][0]
    Path("truth.csv").write_text(f"genotype,accuracy\n{genotype},91.25\n", "utf-8")
    code, out, _ = run("compare", *runs[:2], "--truth", "truth.csv")
    assert code == 0
    assert "accuracy_first" in out
    assert "91.25" in out


def test_one_run(run: Run, runs: list[str]) -> None:
    """One run has a table and no tests."""
    code, out, _ = run("compare", runs[0])
    assert code == 0
    assert "final hypervolume, by pairs" not in out


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["random-0", "./random-0"], "given twice"),
        (["random-0", "other"], "other images than"),
        (["random-0", "--truth", "none.csv"], "no such file"),
        (["random-0", "--truth", "random-0/history.csv"], "accuracy missing"),
        (["random-0", "--evaluations", "0"], "evaluations"),
        ([], "Missing argument"),
        (["random-0", "--out", "random-0/config.json"], "cannot be made"),
    ],
)
def test_mistakes_exit_with_2(run: Run, runs: list[str], arguments: list[str], match: str) -> None:
    """A mistake is said in words, with exit code 2 and no traceback."""
    del runs
    path = made_run(Path("other"), seed=9) / "config.json"
    config = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**config, "data": {"sha256": "x"}}), "utf-8")
    code, _, err = run("compare", *arguments)
    assert code == 2
    assert match in err
    assert "Traceback" not in err
