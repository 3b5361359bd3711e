"""The published accuracies, as the studies read and halve them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from nasbench201_cells import BEST

from common.nasbench201 import half_of, load_table
from pymoo_nas.errors import DatasetError


def test_table_is_read(tmp_path: Path) -> None:
    """The four columns come back in order, other columns are left out, numbers are exact."""
    path = tmp_path / "table.csv"
    path.write_text(f"x,params_m,flops_m,arch,cifar10_test\n1,0.1,7.78305,{BEST},93.7567\n")
    table = load_table(path)
    assert list(table.columns) == ["arch", "cifar10_test", "params_m", "flops_m"]
    assert table.iloc[0].tolist() == [BEST, 93.7567, 0.1, 7.78305]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"arch,params_m,flops_m\n", "no column cifar10_test; it has arch, params_m, flops_m"),
        (b"", "expected a CSV file with arch, cifar10_test"),
        (b"\xff\xfe\x00", "expected a CSV file with arch, cifar10_test"),
        (b"arch,cifar10_test,params_m,flops_m\na,b,1,2\n", "column cifar10_test holds something"),
        (b"arch,cifar10_test,params_m,flops_m\na,1,2\n", "column flops_m holds something"),
    ],
)
def test_malformed_tables_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """A file that is no such table gives an error with its path and what was expected."""
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        load_table(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_absent_table_is_a_dataset_error(tmp_path: Path) -> None:
    """The error for a table that is not there names the path."""
    with pytest.raises(DatasetError, match=r"nowhere\.csv"):
        load_table(tmp_path / "nowhere.csv")


def test_halves() -> None:
    """The halves share nothing, are all of the table, and are the same each time."""
    table = pd.DataFrame({"arch": list("abcdefg")})
    halves = [half_of(table, name)["arch"].tolist() for name in ("tune", "report")]
    assert [len(half) for half in halves] == [3, 4]
    assert sorted(halves[0] + halves[1]) == list("abcdefg")
    assert half_of(table, "tune")["arch"].tolist() == halves[0]
    with pytest.raises(DatasetError, match="tune or report"):
        half_of(table, "all")
