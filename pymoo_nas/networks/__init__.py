"""Networks, the operations that they are made of, and their sizes."""

from pymoo_nas.networks._cell_network import CellNetwork
from pymoo_nas.networks._cifar_resnet import BLOCKS, CifarResNet
from pymoo_nas.networks._maps import MIN_SIZE, check_size, concatenate, halve, halve_features
from pymoo_nas.networks._operations import (
    FACTORY_ERRORS,
    OPERATIONS,
    PAPER_OPERATIONS,
    AveragePooling,
    MaxPooling,
    Operation,
    build_operation,
    conv_bn_relu,
    operation_table,
)
from pymoo_nas.networks._size import Counts, count_all, count_flops, count_parameters
from pymoo_nas.networks._stem import PatchStem, ReducingStem
from pymoo_nas.networks._tournament_network import TournamentNetwork

__all__ = [
    "BLOCKS",
    "FACTORY_ERRORS",
    "MIN_SIZE",
    "OPERATIONS",
    "PAPER_OPERATIONS",
    "AveragePooling",
    "CellNetwork",
    "CifarResNet",
    "Counts",
    "MaxPooling",
    "Operation",
    "PatchStem",
    "ReducingStem",
    "TournamentNetwork",
    "build_operation",
    "check_size",
    "concatenate",
    "conv_bn_relu",
    "count_all",
    "count_flops",
    "count_parameters",
    "halve",
    "halve_features",
    "operation_table",
]
