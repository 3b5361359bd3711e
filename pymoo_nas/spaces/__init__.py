"""Search spaces, their architectures, and the networks that architectures spell."""

from pymoo_nas.spaces._architecture import (
    Architecture,
    cells_in_words,
    description_of,
    design_of,
    title_of,
)
from pymoo_nas.spaces._base import SearchSpace
from pymoo_nas.spaces._by_name import (
    cell_operations,
    chosen_by_gradients,
    space_class,
    space_description,
    space_from_settings,
    space_settings,
)
from pymoo_nas.spaces._truth import join_truth
from pymoo_nas.spaces.cell import REDUCTIONS, Cell, CellSpace, Genotype, edges, repair
from pymoo_nas.spaces.darts import DARTSSpace
from pymoo_nas.spaces.nasbench201 import NASBench201Space

__all__ = [
    "REDUCTIONS",
    "Architecture",
    "Cell",
    "CellSpace",
    "DARTSSpace",
    "Genotype",
    "NASBench201Space",
    "SearchSpace",
    "cell_operations",
    "cells_in_words",
    "chosen_by_gradients",
    "description_of",
    "design_of",
    "edges",
    "join_truth",
    "repair",
    "space_class",
    "space_description",
    "space_from_settings",
    "space_settings",
    "title_of",
]
