"""Live progress while the images of a folder are decoded, whichever command needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pymoo_nas._machine import ConsoleProgress, Report
from pymoo_nas.cli._terminal import terminal
from pymoo_nas.datasets import decoding_shown


@contextmanager
def decoding_on_terminal() -> Iterator[None]:
    """Show on the terminal how far the decoding of an image folder is, in the block."""
    with DecodingProgress() as progress, decoding_shown(progress):
        yield


class DecodingProgress:
    """A bar while an image folder is decoded, and the lines that are told of it; a context.

    Nothing is shown before the first report, or after the last one of a pass over the files.
    """

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._bar: ConsoleProgress | None = None

    def __enter__(self) -> DecodingProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def __call__(self, report: Report) -> None:
        """Show a report."""
        console = terminal()
        if not console.is_terminal:
            if report.found:
                console.print(report.found, highlight=False, soft_wrap=True)
            return
        if self._bar is None:
            self._bar = self._shown.enter_context(ConsoleProgress(console))
        self._bar(report)
        if report.done == report.total:
            self._stop()

    def _stop(self) -> None:
        self._shown.close()
        self._bar = None
