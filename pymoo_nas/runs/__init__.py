"""Run folders: the files of a search, its continuation, and the networks trained from it."""

from pymoo_nas.runs._choice import Choice
from pymoo_nas.runs._choose import choose, choose_of_run, default_of_run
from pymoo_nas.runs._compare import compare
from pymoo_nas.runs._config import OF_STRATEGY, PLACES, RunConfig, SearchSettings
from pymoo_nas.runs._export import export
from pymoo_nas.runs._final import final_of, network_by_name
from pymoo_nas.runs._folder import RunFolder
from pymoo_nas.runs._report import report
from pymoo_nas.runs._search import Search, resume
from pymoo_nas.runs._tensorboard import TensorBoard
from pymoo_nas.runs._trained import load_trained

__all__ = [
    "OF_STRATEGY",
    "PLACES",
    "Choice",
    "RunConfig",
    "RunFolder",
    "Search",
    "SearchSettings",
    "TensorBoard",
    "choose",
    "choose_of_run",
    "compare",
    "default_of_run",
    "export",
    "final_of",
    "load_trained",
    "network_by_name",
    "report",
    "resume",
]
