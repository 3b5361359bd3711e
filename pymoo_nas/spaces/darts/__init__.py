"""DARTS as a search space."""

from pymoo_nas.spaces.darts._space import DARTSSpace

__all__ = [
    "DARTSSpace",
]
