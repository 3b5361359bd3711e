"""A report of a run as one page of HTML: from plain values to interactive charts."""

from pymoo_nas.reports._altair import require_altair
from pymoo_nas.reports._candidates import candidates_of
from pymoo_nas.reports._content import Command, Content, ExportedFile, Mistake, TrainedContent
from pymoo_nas.reports._descent import descent
from pymoo_nas.reports._page import is_report
from pymoo_nas.reports._report import page_of

__all__ = [
    "Command",
    "Content",
    "ExportedFile",
    "Mistake",
    "TrainedContent",
    "candidates_of",
    "descent",
    "is_report",
    "page_of",
    "require_altair",
]
