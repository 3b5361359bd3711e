"""Scores of a network without training: kernels → objectives."""

from pymoo_nas.scores._candidate import ADDED, COLUMNS, NOTED, SCORED, Candidate, column_types
from pymoo_nas.scores._from_kernels import Judgement
from pymoo_nas.scores._gradient_flow import gradient_flow
from pymoo_nas.scores._objectives import (
    ATTRIBUTE,
    OBJECTIVES,
    PAPER_OBJECTIVES,
    Measured,
    Objective,
    between_genotype_and_size,
    is_sound,
    objectives_in,
    read_objectives,
    title_of_objective,
    worst_values,
)
from pymoo_nas.scores._score import NO_MEMORY, Probe, Scores, draw_probe, score, score_builds

__all__ = [
    "ADDED",
    "ATTRIBUTE",
    "COLUMNS",
    "NOTED",
    "NO_MEMORY",
    "OBJECTIVES",
    "PAPER_OBJECTIVES",
    "SCORED",
    "Candidate",
    "Judgement",
    "Measured",
    "Objective",
    "Probe",
    "Scores",
    "between_genotype_and_size",
    "column_types",
    "draw_probe",
    "gradient_flow",
    "is_sound",
    "objectives_in",
    "read_objectives",
    "score",
    "score_builds",
    "title_of_objective",
    "worst_values",
]
