"""Run folders of earlier versions: what they hold, as this version writes it.

``balanced_ntk`` was a setting then, which put the values of that objective into the column ``ntk``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pymoo_nas.scores import ATTRIBUTE, PAPER_OBJECTIVES

BALANCED = "balanced_ntk"


def config_of_today(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration, with the names of the objectives in place of the setting."""
    problem = config.get("problem")
    if not isinstance(problem, dict) or BALANCED not in problem:
        return config
    kept = {name: value for name, value in problem.items() if name != BALANCED}
    kept["objectives"] = list(PAPER_OBJECTIVES)
    if problem[BALANCED]:
        kept["objectives"][0] = BALANCED
    return {**config, "problem": kept}


def table_of_today(table: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """A front or history, with each objective in the column of its name.

    Args:
        table: of a run.
        objectives: of that run.
    """
    if BALANCED not in objectives or BALANCED in table or "ntk" not in table:
        return table
    table = table.rename(columns={"ntk": BALANCED})
    table.attrs[ATTRIBUTE] = list(objectives)
    return table
