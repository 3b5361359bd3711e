"""Known accuracies of what searches have scored, such as those of a benchmark's table."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pymoo_nas._machine import expanded
from pymoo_nas.choice import order_scored
from pymoo_nas.comparison._measures import front_of
from pymoo_nas.comparison._searched import Searched, scores_of
from pymoo_nas.errors import DatasetError, SearchError
from pymoo_nas.search import preferred_rows
from pymoo_nas.spaces import join_truth, space_settings

ACCURACY = "accuracy"
"""The column of a table of known accuracies."""

KNOWN = ("accuracy_first", "accuracy_front", "known")
"""Columns that need such a table."""


def read_truth(given: Any) -> pd.DataFrame:
    """A table with the columns genotype and accuracy.

    Args:
        given: a frame, or the path of a CSV file.

    Raises:
        DatasetError: no such file, no table, one without the columns, or something else.
    """
    if not isinstance(given, pd.DataFrame):
        if not isinstance(given, str | Path):
            raise DatasetError(
                f"known accuracies: got a {type(given).__name__}; expected a frame with columns "
                f"genotype and {ACCURACY}, or the path of a CSV file"
            )
        path = expanded(given)
        if not os.path.isfile(path):
            raise DatasetError(f"{path}: no such file; expected a CSV of known accuracies")
        try:
            given = pd.read_csv(path.absolute(), dtype={"genotype": str})
        except (ValueError, OverflowError) as error:
            raise DatasetError(f"{path}: damaged or no table ({error})") from error
    missing = [name for name in ("genotype", ACCURACY) if name not in given]
    if missing:
        raise DatasetError(
            f"known accuracies: the table has the columns {', '.join(map(str, given.columns))}; "
            f"{' and '.join(missing)} missing; rename the ones that hold them"
        )
    if given.empty:
        raise DatasetError("known accuracies: a table without rows; expected at least one")
    table: pd.DataFrame = given[["genotype", ACCURACY]]
    return table


def accuracies_of(
    histories: Sequence[pd.DataFrame], searches: Sequence[Searched], table: pd.DataFrame
) -> list[dict[str, float]]:
    """The known accuracies of each history, genotype → accuracy.

    Args:
        histories: of the searches, as far as they are compared.
        searches: tell the search spaces.
        table: see `read_truth`.

    Raises:
        SearchError: a search that does not tell its space.
        DatasetError: accuracies that are no numbers.
        GenotypeError: a text in the table that spells no genotype of the space.
    """
    spaces: dict[str, Any] = {}
    texts: dict[str, list[str]] = {}
    keys = []
    for history, search in zip(histories, searches, strict=True):
        if search.space is None or "genotype" not in history:
            raise SearchError(
                f"{search.name}: nothing tells the search space of its genotypes, which known "
                "accuracies need; pass space=..., or results or run folders"
            )
        key = json.dumps(space_settings(search.space), sort_keys=True, default=str)
        keys.append(key)
        spaces.setdefault(key, search.space)
        texts.setdefault(key, []).extend(history["genotype"])
    found = {}
    for key, space in spaces.items():
        # Once for all searches of a space: the table may be long.
        frame = pd.DataFrame({"genotype": list(dict.fromkeys(texts[key]))})
        joined = join_truth(frame, table, space).dropna()
        found[key] = dict(zip(joined["genotype"], joined[ACCURACY], strict=True))
    return [found[key] for key in keys]


def known_of(history: pd.DataFrame, known: Mapping[str, float]) -> dict[str, float]:
    """What is known of one search.

    Args:
        history: of the search.
        known: genotype → accuracy.

    Returns:
        ``accuracy_first``, that of the first in the order of `order_scored` whose accuracy is
        known; ``accuracy_front``, the best of the front, without candidates that are known to be
        unsteady, as in a result's archive; ``known``, of how many of its genotypes.
    """
    values, counts = scores_of(history)
    texts = history["genotype"].to_numpy()
    first, best = math.nan, math.nan
    if counts.any():
        ordered = order_scored(history)["genotype"]
        first = next((known[text] for text in ordered if text in known), math.nan)
        counts = preferred_rows(history, counts)
        front = front_of(values[counts])
        in_front = [(point == front).all(axis=1).any() for point in values[counts]]
        reached = [known[text] for text in texts[counts][in_front] if text in known]
        best = max(reached, default=math.nan)
    return dict(zip(KNOWN, (first, best, len(set(texts) & set(known))), strict=True))
