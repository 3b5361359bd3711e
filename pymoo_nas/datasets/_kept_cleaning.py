"""Remove kept pixels that are of no more use, and what killed processes have left unfinished.

Several machines and environments may share the folder of the caches. What another one has kept goes
only when it was not used for long; a folder of images that is not there may be there for others.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from pymoo_nas._machine import LOCK

DAY = 24 * 3600

UNUSED = 30 * DAY
"""Seconds after their last use when pixels are removed, whoever has kept them."""

UNFINISHED = DAY
"""Seconds after which unfinished pixels are removed on which no process works."""


class Origin(NamedTuple):
    """Who has kept pixels.

    Attributes:
        host: name of the machine.
        reader: what decides the pixels of given files, such as the version of Pillow.
    """

    host: str
    reader: str


def clean(place: Path, key: str, origin: Origin) -> None:
    """Remove what is of no more use in the folder of a cache, and in those beside it.

    Args:
        place: folder of the cache, whose lock the caller holds.
        key: key of the pixels that are to be made anew.
        origin: who makes them; its pixels of other keys are older ones.

    Raises:
        OSError: `place` cannot be written to.
    """
    old = {
        account.stem
        for account in _accounts(place)
        if account.stem == key or _origin(account) == origin or _is_older(account, UNUSED)
    }
    _remove_all(place, old, float("-inf"))  # with the lock held, nobody works on them
    for other in place.parent.iterdir():
        # What cannot be removed now may be removed by the next process.
        with contextlib.suppress(OSError, Timeout):
            if other != place and other.is_dir():
                with FileLock(other / LOCK, timeout=0, fallback_to_soft=False):
                    old = {path.stem for path in _accounts(other) if _is_older(path, UNUSED)}
                    _remove_all(other, old, UNFINISHED)


def remove(path: Path) -> None:
    """Remove a file; on Windows one that is in use stays until the next time."""
    with contextlib.suppress(PermissionError, IsADirectoryError):
        path.unlink(missing_ok=True)


def _accounts(place: Path) -> list[Path]:
    return [path for path in place.glob("*.json") if "." not in path.stem]


def _origin(account: Path) -> Origin | None:
    try:
        kept = json.loads(account.read_text("ascii"))
        return Origin(kept["host"], kept["reader"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # damaged, or of an older version


def _is_older(path: Path, seconds: float) -> bool:
    """Tell whether a file was neither written nor read for some time."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False  # it had its final name in the meantime
    return time.time() - max(found.st_mtime, found.st_atime) > seconds


def _remove_all(place: Path, old: set[str], unfinished: float) -> None:
    """Remove the files of some keys, and those without an account after some seconds."""
    for key in old:
        remove(place / f"{key}.json")  # first: pixels with an account are whole
    whole = {account.stem for account in _accounts(place)}
    for path in place.iterdir():
        key = path.name.partition(".")[0]
        if path.name != LOCK and key not in whole and (key in old or _is_older(path, unfinished)):
            remove(path)
