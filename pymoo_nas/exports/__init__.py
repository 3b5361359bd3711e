"""Write a trained network to a file that runs without this package, and run such files."""

from pymoo_nas.exports._comparison import Figures
from pymoo_nas.exports._export import FORMATS, Exported, LabelledImages, export_network
from pymoo_nas.exports._opened import ExportedNetwork, is_exported, open_exported
from pymoo_nas.exports._quantised import Layer
from pymoo_nas.exports._records import read_record, record_of, size_of, write_records

__all__ = [
    "FORMATS",
    "Exported",
    "ExportedNetwork",
    "Figures",
    "LabelledImages",
    "Layer",
    "export_network",
    "is_exported",
    "open_exported",
    "read_record",
    "record_of",
    "size_of",
    "write_records",
]
