"""The cell of the paper: its genotype, and the module that it spells."""

from pymoo_nas.spaces.cell._cell import Cell
from pymoo_nas.spaces.cell._genotype import Genotype, edges, repair
from pymoo_nas.spaces.cell._space import REDUCTIONS, CellSpace

__all__ = [
    "REDUCTIONS",
    "Cell",
    "CellSpace",
    "Genotype",
    "edges",
    "repair",
]
