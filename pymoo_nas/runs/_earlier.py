"""Bring the content of run folders of earlier versions into the form of this version.

In earlier versions ``balanced_ntk`` was a setting. It put the values of the objective of that name
into the column ``ntk``. There was one strategy of search, which had no name. Candidates over a
limit were not repaired, and no gradients were measured; a search goes on as it began.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pymoo_nas.scores import ATTRIBUTE, PAPER_OBJECTIVES
from pymoo_nas.search import EVOLUTIVE

BALANCED = "balanced_ntk"


def config_of_today(config: dict[str, Any]) -> dict[str, Any]:
    """Put the names of strategy and objectives, and what was not done yet, where they lack."""
    algorithm = config.get("algorithm")
    if isinstance(algorithm, dict):
        lacking = {"algorithm": EVOLUTIVE, "repair": False, "steady": False}
        config = {**config, "algorithm": {**lacking, **algorithm}}
    problem = config.get("problem")
    if not isinstance(problem, dict) or BALANCED not in problem:
        return config
    kept = {name: value for name, value in problem.items() if name != BALANCED}
    kept["objectives"] = list(PAPER_OBJECTIVES)
    if problem[BALANCED]:
        kept["objectives"][0] = BALANCED
    return {**config, "problem": kept}


def table_of_today(table: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """Put each objective of a front or history into the column of its name.

    Args:
        table: the front or history of a run.
        objectives: names of the objectives of that run.
    """
    if BALANCED in objectives and BALANCED not in table:
        table = table.rename(columns={"ntk": BALANCED})
    if set(objectives) <= {*table.columns}:
        table.attrs[ATTRIBUTE] = list(objectives)
    return table
