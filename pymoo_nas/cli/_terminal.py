"""The terminal, and one-line complaints; imports little, as help has to be quick."""

from __future__ import annotations

from typing import Any

from rich.console import Console


def terminal() -> Console:
    """The terminal; a file or a pipe gets long lines, so that genotypes stay whole."""
    # Brackets in a path or a reason are no instructions, and ":x:" in one is no picture.
    console = Console(markup=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, emoji=False, width=1000)


def show_warning(message: Any, *_: Any, **__: Any) -> None:
    """Show a warning as one line, without the place in the code."""
    complain(f"warning: {message}")


def complain(text: str) -> None:
    """Write a text to stderr, however long; control characters in it are shown, not obeyed."""
    if not text.replace("\n", "").isprintable():
        from pymoo_nas._machine import without_controls  # noqa: PLC0415 - imports torch

        text = without_controls(text, allowed="\n")
    Console(stderr=True, markup=False, emoji=False).print(text, highlight=False, soft_wrap=True)
