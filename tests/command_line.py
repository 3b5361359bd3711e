"""Small searches from the command line, for several test files."""

from __future__ import annotations

from collections.abc import Callable

TINY = ["--generations", "3", "--offspring", "6", "--population", "2", "--images", "16"]
ONE = ["--generations", "1", "--tournament-every", "1"]

ALONE = ["--tournament-every", "0"]

Run = Callable[..., tuple[int, str, str]]
"""Arguments → exit code, output, errors; see the fixture `run`."""
