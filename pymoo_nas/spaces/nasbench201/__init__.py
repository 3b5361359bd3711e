"""NAS-Bench-201 as a search space."""

from pymoo_nas.spaces.nasbench201._space import NASBench201Space

__all__ = [
    "NASBench201Space",
]
