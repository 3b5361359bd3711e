"""Rows that studies keep in files, for themselves and beside other processes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from common.rows import append, kept_rows, read_rows, rows_by


def test_genotypes_of_digits_stay_texts(tmp_path: Path) -> None:
    """A genotype such as 0800 is read from the rows as it was written, however often."""
    texts = ["0800", "8000", "16,0,0,0", "0800|0000|0080"]
    path = tmp_path / "rows.csv"
    for n in range(1, 5):
        rows = rows_by(path, "key", texts[:n], lambda key: {"genotype": key, "own": key}, ["own"])
        assert rows["key"].tolist() == rows["own"].tolist() == texts[:n]
    numbers = rows_by(tmp_path / "more.csv", "key", ["0800"], lambda key: {"genotype": key})
    assert numbers["genotype"].tolist() == ["0800"]
    kept = tmp_path / "kept.csv"
    for n in range(1, 5):
        found = kept_rows(kept, texts[:n], lambda text: {"genotype": text})
        assert found["genotype"].tolist() == texts[:n]
    assert read_rows(kept)["genotype"].tolist() == texts


def test_processes_that_share_rows_keep_each_value_once(tmp_path: Path) -> None:
    """What another process appends before or during a measurement is kept, and kept alone."""
    path = tmp_path / "rows.csv"
    measured = []

    def measure(key: str) -> dict[str, str]:
        measured.append(key)
        if key == "a":  # another process appends this value and a later one
            append(path, pd.DataFrame([{"key": other, "by": "other"} for other in ("a", "c")]))
        return {"by": "own"}

    rows = rows_by(path, "key", ["a", "b", "c", "d"], measure)
    assert measured == ["a", "b", "d"]
    assert dict(zip(rows["key"], rows["by"], strict=True)) == {
        "a": "other",
        "b": "own",
        "c": "other",
        "d": "own",
    }
    assert len(rows) == 4


def test_rows_of_two_at_once_are_whole(tmp_path: Path) -> None:
    """Two that measure the same values at the same time keep one whole row of each."""
    path, both = tmp_path / "rows.csv", threading.Barrier(2)

    def measure(key: str) -> dict[str, str]:
        both.wait(timeout=30)
        return {"text": key * 1000}

    keys = [f"key {n}" for n in range(5)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: rows_by(path, "key", keys, measure), range(2)))
    for rows in (*found, read_rows(path)):
        assert rows["key"].tolist() == keys
        assert rows["text"].tolist() == [key * 1000 for key in keys]


def test_rows_are_appended_by_the_names_of_columns(tmp_path: Path) -> None:
    """Rows whose columns are in another order keep their values; rows of other columns raise."""
    path = tmp_path / "rows.csv"
    append(path, pd.DataFrame([{"key": "a", "own": 1, "more": 2}]))
    append(path, pd.DataFrame([{"more": 3, "key": "b", "own": 4}]))
    rows = read_rows(path)
    assert rows.to_dict("list") == {"key": ["a", "b"], "own": [1, 4], "more": [2, 3]}
    for other in ({"key": "c", "own": 5}, {"key": "c", "own": 5, "more": 6, "new": 7}, {"new": 8}):
        with pytest.raises(ValueError, match="columns"):
            append(path, pd.DataFrame([other]))
        with pytest.raises(ValueError, match="columns"):
            rows_by(path, "key", ["c"], lambda _, of=other: of)
    assert read_rows(path).equals(rows)


def test_no_rows_are_an_empty_table(tmp_path: Path) -> None:
    """Where nothing is to be measured and nothing is kept, the table is empty and no file made."""
    path = tmp_path / "none.csv"
    none = rows_by(path, "key", [], dict, ["own"])
    assert (list(none.columns), len(none), path.exists()) == (["key", "own"], 0, False)
