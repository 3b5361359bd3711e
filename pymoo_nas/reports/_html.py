"""HTML from plain values; every text of a user is escaped on its way in."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

VOID = frozenset({"img", "meta", "br"})
"""Elements without an end."""


class Html(str):
    """Text that is HTML already; every other text is escaped."""

    __slots__ = ()


def element(name: str, /, *children: Any, **attributes: Any) -> Html:
    """Make an element of children and attributes; None is left out, ``_`` in a name becomes ``-``.

    >>> element("p", "a < b", class_="note", data_chart="front", id=None)
    '<p class="note" data-chart="front">a &lt; b</p>'
    """
    written = "".join(
        f' {key.strip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{joined(children)}</{name}>")


def joined(children: Iterable[Any], between: str = "") -> Html:
    """Put children one behind the other, escaped unless they are `Html`."""
    texts = (
        child if isinstance(child, Html) else html.escape(str(child))
        for child in children
        if child is not None
    )
    return Html(between.join(texts))


def code(text: Any) -> Html:
    """A genotype, a name or a path."""
    return element("code", text)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str) -> Html:
    """Make a table that scrolls on its own where it is wider than the page.

    Args:
        columns: names of the columns.
        rows: values; numbers are formatted, and stand at the right.
        caption: what the table shows.
    """
    head = element("tr", *(element("th", name, scope="col") for name in columns))
    body = [element("tr", *(_cell(value) for value in row)) for row in rows]
    made = element(
        "table", element("caption", caption), element("thead", head), element("tbody", *body)
    )
    return element("div", made, class_="scroll", tabindex="0", role="region", aria_label=caption)


def pairs(values: Mapping[str, Any]) -> Html:
    """Make a list of names and their values; those that are None or empty are left out."""
    shown = {name: value for name, value in values.items() if value is not None and value != ""}
    return element(
        "dl",
        *(
            element("div", element("dt", name), element("dd", _shown(value)))
            for name, value in shown.items()
        ),
    )


def number(value: Any, digits: int = 4) -> str:
    """Format a number for people; NaN and None are a dash.

    >>> number(1234567), number(0.123456), number(float("nan")), number(12.0)
    ('1,234,567', '0.1235', '–', '12')
    """
    if value is None or (isinstance(value, Real) and not math.isfinite(float(value))):
        return "–"
    return f"{value:,}" if isinstance(value, Integral) else f"{float(value):.{digits}g}"


def percent(fraction: Any) -> str:
    """Format a fraction as per cent.

    >>> percent(0.98052), percent(None)
    ('98.05 %', '–')
    """
    known = fraction is not None and math.isfinite(float(fraction))
    return f"{100 * float(fraction):.2f} %" if known else "–"


def duration(seconds: float | None) -> str:
    """Format a time for people.

    >>> duration(4.21), duration(101.2), duration(7300), duration(None)
    ('4.2 s', '1 min 41 s', '2 h 1 min', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def json_script(name: str, values: Any) -> Html:
    r"""Put plain values into the page; no text in them can end the script.

    >>> json_script("a", {"b": "</script>"})
    '<script type="application/json" id="a">{"b":"\\u003c/script>"}</script>'
    """
    text = json.dumps(values, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    escaped = Html(text.replace("<", "\\u003c"))
    return element("script", escaped, type="application/json", id=name)


def _cell(value: Any) -> Html:
    if isinstance(value, Html | str):
        return element("td", value)
    return element("td", _shown(value), class_="number")


def _shown(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if value is None or isinstance(value, Real) else value
