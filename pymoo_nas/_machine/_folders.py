"""Folders that are made, and kept for one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pymoo_nas.errors import RunError

LOCK = ".lock"


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where there is none.

    Raises:
        RunError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"folder {path} cannot be made ({error}); choose another --out") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from working on a folder; the system frees it if this one dies.

    Raises:
        RunError: another process works on it, or it cannot be made.
    """
    make_folder(path)
    lock = FileLock(path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunError(
            f"folder {path} is in use by another process; wait for it, or choose another folder"
        ) from error
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def unwritable(path: Path, error: OSError) -> RunError:
    """The error of a folder that cannot be written to."""
    return RunError(
        f"folder {path} cannot be written to ({error}); make room, get the rights, or copy it to "
        "where you have them"
    )
