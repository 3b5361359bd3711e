"""Measure the kernels of a network in one pass; the scores are computed from them."""

from pymoo_nas.kernels._activations import ReluCalls
from pymoo_nas.kernels._calibration import (
    calibrate,
    calibrating,
    preserved,
    recalibrate,
    values_preserved,
)
from pymoo_nas.kernels._checks import check_images, check_network, check_trainable
from pymoo_nas.kernels._measure import Kernels, measure_kernels
from pymoo_nas.kernels._plan_memory import PlanMemory

__all__ = [
    "Kernels",
    "PlanMemory",
    "ReluCalls",
    "calibrate",
    "calibrating",
    "check_images",
    "check_network",
    "check_trainable",
    "measure_kernels",
    "preserved",
    "recalibrate",
    "values_preserved",
]
