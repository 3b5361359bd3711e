"""The search: problem, operators, survival, algorithm, tournament, workers, tables."""

from pymoo_nas.search._algorithm import EvolutiveNAS, number_scored
from pymoo_nas.search._candidates import CandidateScorer, Executor
from pymoo_nas.search._dask_workers import Workers, scoring_processes
from pymoo_nas.search._duplicates import GenotypeDuplicates
from pymoo_nas.search._ending import NothingFoundWarning, nothing_found
from pymoo_nas.search._given import as_column, read_genotype, read_genotypes
from pymoo_nas.search._limits import Limits
from pymoo_nas.search._operators import (
    GenotypeCrossover,
    GenotypeMutation,
    GenotypeSampling,
    operators,
)
from pymoo_nas.search._problem import NASProblem
from pymoo_nas.search._repair import GenotypeRepair
from pymoo_nas.search._steadiness import Steadiness, preferred_rows, steadiness_of_rows
from pymoo_nas.search._steady import SteadyFirst, told_of_steadiness
from pymoo_nas.search._strategies import (
    EVOLUTIVE,
    STRATEGIES,
    NSGA2Search,
    RandomSearch,
    RegularisedEvolution,
    make_strategy,
    strategy_named,
)
from pymoo_nas.search._survival import (
    BEFORE_EQUALS,
    RankSumSurvival,
    log_rank_sum,
    non_dominated,
)
from pymoo_nas.search._tables import (
    front_to_frame,
    history_to_frame,
    missing_columns,
    objective_names,
    read_frame,
    read_table,
    write_frame,
)
from pymoo_nas.search._tournament import CallbackChain, DartsTournament, tournaments_in

__all__ = [
    "BEFORE_EQUALS",
    "EVOLUTIVE",
    "STRATEGIES",
    "CallbackChain",
    "CandidateScorer",
    "DartsTournament",
    "EvolutiveNAS",
    "Executor",
    "GenotypeCrossover",
    "GenotypeDuplicates",
    "GenotypeMutation",
    "GenotypeRepair",
    "GenotypeSampling",
    "Limits",
    "NASProblem",
    "NSGA2Search",
    "NothingFoundWarning",
    "RandomSearch",
    "RankSumSurvival",
    "RegularisedEvolution",
    "Steadiness",
    "SteadyFirst",
    "Workers",
    "as_column",
    "front_to_frame",
    "history_to_frame",
    "log_rank_sum",
    "make_strategy",
    "missing_columns",
    "non_dominated",
    "nothing_found",
    "number_scored",
    "objective_names",
    "operators",
    "preferred_rows",
    "read_frame",
    "read_genotype",
    "read_genotypes",
    "read_table",
    "scoring_processes",
    "steadiness_of_rows",
    "strategy_named",
    "told_of_steadiness",
    "tournaments_in",
    "write_frame",
]
