"""Known accuracies joined to genotypes, against a loop over both tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nasbench201_cells import SPACE, genotypes, spell

from pymoo_nas.errors import DatasetError, GenotypeError
from pymoo_nas.spaces import join_truth
from pymoo_nas.spaces.nasbench201._genotype import NASBench201Genotype

SAME = [str(spell("3...s.")), str(spell("...3.."))]
"""One canonical form: a convolution to the output, with a skip connection behind it or not."""


def looped(frame: pd.DataFrame, table: pd.DataFrame, column: str) -> list[float]:
    """The mean of a column over the rows of the table whose cell is the same, row by row."""
    means = []
    for text in frame["genotype"]:
        wanted = SPACE.canonical(SPACE.parse(text))
        values = [
            value
            for other, value in zip(table["genotype"], table[column], strict=True)
            if SPACE.canonical(SPACE.parse(other)) == wanted
        ]
        means.append(sum(values) / len(values) if values else np.nan)
    return means


cells = st.lists(genotypes, max_size=12)


@given(cells, cells, st.integers(0, 2**31))
def test_join_is_the_loop(
    wanted: list[NASBench201Genotype], known: list[NASBench201Genotype], seed: int
) -> None:
    """Every column is the mean over equal cells, however they are spelt, or NaN without any."""
    rng = np.random.default_rng(seed)
    texts = [str(cell) for cell in known]
    values = {"accuracy": rng.random(len(known)), "n": rng.integers(9, size=len(known))}
    table = pd.DataFrame({"genotype": texts, **values})
    # Cells of the table, in canonical form, are among those that are asked for.
    canonical = [str(cell.canonical()) for cell in known]
    frame = pd.DataFrame({"genotype": [str(cell) for cell in wanted] + canonical})
    joined = join_truth(frame, table, SPACE)
    assert list(joined.columns) == ["genotype", "accuracy", "n"]
    for column in ("accuracy", "n"):
        np.testing.assert_allclose(joined[column], looped(frame, table, column))


def test_rows_of_the_frame_stay_as_they_are() -> None:
    """Order, index and columns are those of the frame, also where a row stands in it twice."""
    text = str(spell("..3..."))
    frame = pd.DataFrame({"ntk": [3.0, 1.0, 2.0], "genotype": [text] * 3}, index=[7, 7, 0])
    joined = join_truth(frame, pd.DataFrame({"genotype": [text], "accuracy": [90.0]}), SPACE)
    pd.testing.assert_frame_equal(joined[["ntk", "genotype"]], frame)
    assert joined["accuracy"].tolist() == [90.0] * 3


def test_spellings_of_one_cell_meet() -> None:
    """A cell that is written otherwise than in the table gets the mean of its class."""
    table = pd.DataFrame({"genotype": SAME, "accuracy": [80.0, 90.0]})
    joined = join_truth(pd.DataFrame({"genotype": SAME}), table, SPACE)
    assert joined["accuracy"].tolist() == [85.0, 85.0]


@pytest.mark.parametrize(
    ("frame", "table", "named"),
    [
        ({"arch": []}, {"genotype": []}, "frame has the columns arch"),
        ({"genotype": []}, {"arch": []}, "table has the columns arch"),
        ({"genotype": [], "ntk": []}, {"genotype": [], "ntk": []}, "column ntk"),
        ({"genotype": []}, {"genotype": ["a"], "source": ["paper"]}, "column source"),
    ],
)
def test_tables_that_cannot_be_joined_are_refused(
    frame: dict[str, list[str]], table: dict[str, list[str]], named: str
) -> None:
    """The error names the column that is missing, that is there twice, or that holds no numbers."""
    with pytest.raises(DatasetError, match=named):
        join_truth(pd.DataFrame(frame), pd.DataFrame(table), SPACE)


def test_texts_must_be_genotypes() -> None:
    """A text that spells no cell is an error of its own, on either side."""
    good = pd.DataFrame({"genotype": SAME})
    bad = pd.DataFrame({"genotype": ["conv"]})
    for frame, table in ((good, bad), (bad, good)):
        with pytest.raises(GenotypeError, match="conv"):
            join_truth(frame, table, SPACE)
