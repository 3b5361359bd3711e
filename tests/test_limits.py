"""Limits: which sizes keep them, by how much others do not."""

from __future__ import annotations

import pickle
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymoo_nas.errors import SearchError
from pymoo_nas.search import Limits

NUMBERS = st.fixed_dictionaries(
    {name: st.integers(0, 10**9) for name in ("params", "flops", "acts")}
)
MOST = st.fixed_dictionaries(
    {}, optional={name: st.integers(1, 10**9) for name in ("params", "flops", "acts")}
)


@given(MOST, NUMBERS)
def test_kept_where_no_count_is_larger(most: dict[str, int], counts: dict[str, int]) -> None:
    """`kept_by` is what a loop over the limits says, and `excess` is positive where it is not."""
    limits = Limits(**most)
    assert dict(limits) == most
    assert limits.kept_by(counts) == (not [name for name in most if counts[name] > most[name]])
    for name, share in limits.excess(counts).items():
        assert share == (counts[name] - most[name]) / most[name]


def test_columns_are_taken() -> None:
    """Of a table, the excess is a column for each limit."""
    table = pd.DataFrame({"params": [50, 100, 200], "acts": [1, 1, 1]})
    assert Limits(params=100).excess(table)["params"].tolist() == [-0.5, 0.0, 1.0]


def test_no_limits_are_kept_by_anything() -> None:
    """None is no limit."""
    assert Limits(params=None, flops=None) == {} == Limits()
    assert Limits().kept_by({})


def test_written_as_arguments() -> None:
    """The text is that of the arguments; whole numbers, however they were given."""
    limits = Limits(params=2e5, acts=3)
    assert str(limits) == "max_params=200000, max_acts=3"
    assert pickle.loads(pickle.dumps(limits)) == limits


@pytest.mark.parametrize("given", [{"params": 0}, {"flops": -1}, {"acts": "3"}, {"params": True}])
def test_no_numbers_are_refused(given: dict[str, Any]) -> None:
    """A limit is a number of at least 1; the message names the argument."""
    with pytest.raises(SearchError, match=f"max_{next(iter(given))}"):
        Limits(**given)


def test_unknown_counts_are_refused() -> None:
    """What is not counted cannot be limited."""
    with pytest.raises(SearchError, match="layers"):
        Limits(layers=3)
