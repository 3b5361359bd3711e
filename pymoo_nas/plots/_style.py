"""Set the look of pictures, and write pictures to files."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, TypeAlias

from matplotlib.figure import Figure
from matplotlib.legend import Legend

from pymoo_nas._machine import atomic_write
from pymoo_nas.errors import RunError

FORMATS = ("png", "pdf", "svg", "jpg", "jpeg", "webp")
"""File formats that `save_figure` writes, by suffix."""

# Okabe 2008: distinct with every kind of colour vision. Yellow, invisible on white, is left out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000")
"""Colours of lines and points, in the order of their use."""

STYLE: dict[Any, Any] = {
    "axes.labelsize": 9.0,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10.0,
    "font.size": 9.0,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "text.usetex": False,
}
"""Settings of matplotlib while a picture is made."""

Look: TypeAlias = dict[str, Any]
"""Keyword arguments of a drawing call."""


HANDLE = 6
"""Letters that the line or point beside a name in a legend takes."""


def letters_across(figure: Figure) -> int:
    """How many letters of the size of a title, or a little smaller, fit beside each other."""
    return int(13 * figure.get_figwidth())


def within_width(figure: Figure, text: str, *, beside: int = 0) -> str:
    """Break a text into lines that the figure can show beside so many other letters."""
    indent = text[: len(text) - len(text.lstrip())]
    lines = textwrap.wrap(text, letters_across(figure) - beside, break_on_hyphens=False)
    return indent + f"\n{indent}".join(line.strip() for line in lines)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure at 150 dots per inch; the suffix decides the format.

    Raises:
        RunError: there is no such folder, it cannot be written, or the suffix is not in `FORMATS`.
    """
    path = Path(path)
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        expected = ", .".join(FORMATS)
        raise RunError(f"picture {path}: suffix {path.suffix!r}; expected one of .{expected}")
    if not path.parent.is_dir():
        raise RunError(f"picture {path}: there is no folder {path.parent}; create it first")
    try:
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=150, format=suffix)
    except OSError as error:
        raise RunError(
            f"picture {path}: cannot be written ({error}); make room, or take another path"
        ) from error


def plain_legend(legend: Legend) -> None:
    """Show a $ in a user's name as a $, not as the start of a formula."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def label_axes(axes: Any, **labels: str) -> None:
    """Name axes, as x="…", with a $ in a user's name as a $."""
    for axis, text in labels.items():
        getattr(axes, f"set_{axis}label")(text, parse_math=False)


def title_figure(figure: Figure, title: str) -> None:
    """Set the title of a figure, in lines that fit, with a $ in a user's name as a $."""
    figure.suptitle(within_width(figure, title), fontsize=10, parse_math=False)
