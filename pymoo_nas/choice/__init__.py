"""From a front to one network."""

from pymoo_nas.choice._cells import build_final, choose_cells, keeps_limits
from pymoo_nas.choice._orders import METHODS, order_front, order_scored, steady_first, try_out
from pymoo_nas.choice._steadiness import Steadiness

__all__ = [
    "METHODS",
    "Steadiness",
    "build_final",
    "choose_cells",
    "keeps_limits",
    "order_front",
    "order_scored",
    "steady_first",
    "try_out",
]
