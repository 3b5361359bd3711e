"""Join known accuracies to genotypes by the canonical form."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pymoo_nas.errors import DatasetError
from pymoo_nas.spaces._base import SearchSpace

GENOTYPE = "genotype"


def join_truth(frame: pd.DataFrame, table: pd.DataFrame, space: SearchSpace[Any]) -> pd.DataFrame:
    """Add known values, such as accuracies after training, to the genotypes of a frame.

    A row of the frame gets the mean over all rows of the table with the same canonical form, so
    that two spellings of one cell meet. Where the table has no such row, the values are NaN.

    Args:
        frame: a history, a front, or any other table with a column ``genotype`` of texts.
        table: a table with a column ``genotype`` of texts; all its other columns hold numbers.
        space: search space that reads the texts and knows their canonical form.

    Returns:
        The rows of the frame, in their order and with their index; the columns of the table follow
        the frame's own columns. ``attrs["known"]`` is the number of rows with known values.

    Raises:
        DatasetError: a column ``genotype`` is missing, both tables have a column of the same name,
            or a column of the table holds values that are not numbers.
        GenotypeError: a text spells no genotype.

    >>> from pymoo_nas import CellSpace
    >>> front = pd.DataFrame({"genotype": ["8,0,0,0", "0,8,0,0"]})
    >>> known = pd.DataFrame({"genotype": ["8,0,0,0", "8,0,0,0"], "accuracy": [70.0, 72.0]})
    >>> join_truth(front, known, CellSpace())
      genotype  accuracy
    0  8,0,0,0      71.0
    1  0,8,0,0       NaN
    """
    columns = _value_columns(frame, table)
    classes = [space.canonical(space.parse(text)) for text in table[GENOTYPE]]
    # Genotypes are numbered, because pandas takes a genotype that is a tuple for several keys.
    numbers = {genotype: number for number, genotype in enumerate(dict.fromkeys(classes))}
    means = table[columns].groupby([numbers[genotype] for genotype in classes]).mean()
    wanted = [numbers.get(space.canonical(space.parse(text)), -1) for text in frame[GENOTYPE]]
    found = means.reindex(wanted).set_axis(frame.index)
    joined = pd.concat([frame, found], axis=1)
    joined.attrs = {**frame.attrs, "known": sum(number >= 0 for number in wanted)}
    return joined


def _value_columns(frame: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """List the columns of a table that can be joined to a frame."""
    for name, given in (("frame", frame), ("table", table)):
        if GENOTYPE not in given.columns:
            raise DatasetError(
                f"join_truth: {name} has the columns {', '.join(map(str, given.columns))}; "
                f"expected one of them to be {GENOTYPE}; rename the one that holds the texts"
            )
    columns = [column for column in table.columns if column != GENOTYPE]
    for column in columns:
        if column in frame.columns:
            raise DatasetError(
                f"join_truth: both have a column {column}; expected other names in the table than "
                "in the frame; rename it, or take only what you want to join"
            )
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise DatasetError(
                f"join_truth: column {column} of the table holds something that is no number; "
                "expected numbers beside the genotypes; leave it out"
            )
    return columns
