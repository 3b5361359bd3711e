"""Scores of a network without training: kernels → objectives."""

from pymoo_nas.scores._candidate import (
    ADDED,
    COLUMNS,
    NOTED,
    SCORED,
    SIZES,
    STEADINESS,
    WHERE_MEASURED,
    Candidate,
    column_types,
)
from pymoo_nas.scores._from_kernels import Judgement
from pymoo_nas.scores._gradient_flow import gradient_flow
from pymoo_nas.scores._latency import (
    BATCH_SIZE,
    Latencies,
    latency_objective,
    measure_latencies,
    measure_latency,
)
from pymoo_nas.scores._objective import Measured, Objective, is_failure, worst_values
from pymoo_nas.scores._objectives import (
    ATTRIBUTE,
    LATENCY,
    LATER_OBJECTIVES,
    OBJECTIVE_SETS,
    OBJECTIVES,
    PAPER_OBJECTIVES,
    between_genotype_and_size,
    is_sound,
    objectives_in,
    read_objectives,
    title_of_objective,
)
from pymoo_nas.scores._probe import Probe, draw_probe
from pymoo_nas.scores._score import NO_MEMORY, Scores, add_noisy, score, score_builds

__all__ = [
    "ADDED",
    "ATTRIBUTE",
    "BATCH_SIZE",
    "COLUMNS",
    "LATENCY",
    "LATER_OBJECTIVES",
    "NOTED",
    "NO_MEMORY",
    "OBJECTIVES",
    "OBJECTIVE_SETS",
    "PAPER_OBJECTIVES",
    "SCORED",
    "SIZES",
    "STEADINESS",
    "WHERE_MEASURED",
    "Candidate",
    "Judgement",
    "Latencies",
    "Measured",
    "Objective",
    "Probe",
    "Scores",
    "add_noisy",
    "between_genotype_and_size",
    "column_types",
    "draw_probe",
    "gradient_flow",
    "is_failure",
    "is_sound",
    "latency_objective",
    "measure_latencies",
    "measure_latency",
    "objectives_in",
    "read_objectives",
    "score",
    "score_builds",
    "title_of_objective",
    "worst_values",
]
