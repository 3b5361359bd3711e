"""Comparisons of searches: tables, curves, attainment and tests over several seeds."""

from pymoo_nas.comparison._comparison import Comparison, compare_searches
from pymoo_nas.comparison._searched import Searched, common_settings, searched_in
from pymoo_nas.comparison._truth import read_truth

__all__ = [
    "Comparison",
    "Searched",
    "common_settings",
    "compare_searches",
    "read_truth",
    "searched_in",
]
