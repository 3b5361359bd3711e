"""Choose one architecture of a search, and build its network."""

from pymoo_nas.choice._cells import build_final, choose_cells, keeps_limits
from pymoo_nas.choice._latencies import Measurements, measured
from pymoo_nas.choice._methods import (
    METHODS,
    OPTIONS_OF,
    default_method,
    method_named,
    order_by,
    refused_options,
)
from pymoo_nas.choice._orders import order_front, order_scored, order_te_nas, steady_first
from pymoo_nas.choice._trials import smaller_first, try_out
from pymoo_nas.choice._worth import Worth, worth_of

__all__ = [
    "METHODS",
    "OPTIONS_OF",
    "Measurements",
    "Worth",
    "build_final",
    "choose_cells",
    "default_method",
    "keeps_limits",
    "measured",
    "method_named",
    "order_by",
    "order_front",
    "order_scored",
    "order_te_nas",
    "refused_options",
    "smaller_first",
    "steady_first",
    "try_out",
    "worth_of",
]
