"""The time of work that may be remembered, told as if all of it were done anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Meter:
    """Two sums of seconds; the user sets both to 0 by `begin`.

    Attributes:
        charged: of all that was asked for; what is remembered has the seconds that it once took.
        spent: processor time that new work has taken here, with the writing of its rows.
    """

    charged: float = 0.0
    spent: float = 0.0

    def begin(self) -> None:
        """Set both sums to 0."""
        self.charged = self.spent = 0.0

    @contextmanager
    def new_work(self) -> Iterator[None]:
        """Count the processor time of a block as spent."""
        started = time.process_time()
        try:
            yield
        finally:
            self.spent += time.process_time() - started
