"""Altair, its JavaScript, and the look of the charts; both packages are an extra."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from functools import cache
from types import ModuleType
from typing import Any

from pymoo_nas.errors import ReportError

BLUE, ORANGE, GREEN, YELLOW, PINK, GREY = (
    "#0B84C6",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#9A9A9A",
)
"""Colours that can be told apart with every kind of colour vision, on light and on dark pages."""

Spec = dict[str, Any]
"""A chart as Vega-Lite reads it."""


def require_altair() -> ModuleType:
    """Import altair, and check that its JavaScript is there.

    Raises:
        ReportError: a package is missing; the message has the command that installs it.
    """
    for name in ("vl_convert", "altair"):
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise ReportError(
                f"a report needs the package {name} ({error}); install it: pip install "
                "'pymoo-nas[report]'"
            ) from error
    return module


@cache
def javascript() -> str:
    """The JavaScript that draws all charts of a page: Vega, Vega-Lite and Vega-Embed."""
    require_altair()
    bundle: str = importlib.import_module("vl_convert").javascript_bundle()
    return bundle.replace("</script", "<\\/script")


def rows_of(values: Iterable[Mapping[str, Any]]) -> Any:
    """Rows as the data of a chart, without a limit of their number."""
    import altair as alt  # noqa: PLC0415 - an extra

    data: Any = alt.Data
    return data(values=[dict(row) for row in values])


def around(values: Iterable[float]) -> list[float]:
    """The ends of an axis around values, with some room; also where all are equal."""
    known = list(values)
    low, high = min(known), max(known)
    room = 0.06 * (high - low) or 0.5
    return [low - room, high + room]


def whole_numbers(last: int, title: str) -> Any:
    """An axis from 1 to a last whole number, with at most about ten marks, all at whole numbers."""
    import altair as alt  # noqa: PLC0415 - an extra

    step = max(1, round(last / 10))
    marks = [number for number in range(1, last + 1) if number == 1 or number % step == 0]
    return alt.Axis(title=title, values=marks, format="d", grid=False)


def spec_of(chart: Any) -> Spec:
    """A chart as plain values; the page brings the look, so the chart has none of its own."""
    spec: Spec = chart.to_dict()
    for name in ("$schema", "config", "usermeta"):
        spec.pop(name, None)
    return spec


def themes() -> dict[str, Any]:
    """The look of the charts on a light and on a dark page."""
    return {"light": _theme("#1d1d1f", "#d9d9de"), "dark": _theme("#e8e8ea", "#47474d")}


def _theme(ink: str, line: str) -> dict[str, Any]:
    font = "system-ui, sans-serif"
    return {
        "background": "transparent",
        "font": font,
        "view": {"stroke": "transparent"},
        "text": {"color": ink, "font": font},
        "axis": {
            "labelColor": ink,
            "titleColor": ink,
            "gridColor": line,
            "domainColor": line,
            "tickColor": line,
            "titleFontWeight": "normal",
            "labelFontSize": 11,
            "titleFontSize": 12,
        },
        "legend": {
            "labelColor": ink,
            "titleColor": ink,
            "orient": "top",
            "columns": 2,
            "labelFontSize": 12,
            "labelLimit": 240,
            "symbolOpacity": 1,
        },
        "title": {"color": ink, "fontWeight": "normal"},
    }
