"""A report: all sections of a page, from plain values."""

from __future__ import annotations

from pymoo_nas.reports._altair import require_altair
from pymoo_nas.reports._content import Content
from pymoo_nas.reports._html import element, pairs
from pymoo_nas.reports._page import Page
from pymoo_nas.reports._search_sections import (
    add_descent,
    add_evolution,
    add_front,
    add_network,
    add_searched,
    add_tournaments,
)
from pymoo_nas.reports._training_sections import (
    add_exports,
    add_rivals,
    add_training,
)


def page_of(content: Content) -> str:
    """Write the report of a run as one page of HTML, which needs no network.

    Equal contents give equal pages to the byte.

    Args:
        content: all that the report tells.

    Raises:
        ReportError: a package of the extra ``pymoo-nas[report]`` is missing.
    """
    require_altair()
    page = Page(f"Report of {content.name}")
    for add in (
        add_front,
        add_evolution,
        add_descent,
        add_tournaments,
        add_network,
        add_training,
        add_rivals,
        add_exports,
        add_searched,
    ):
        add(page, content)
    introduction = element("div", pairs(content.summary))
    return page.html(introduction, content.drawings)
